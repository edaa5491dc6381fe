"""The one error tree. Where an error stands in it says what becomes of the message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class AgentdError(Exception):
    """Anything that agentd raises on purpose. `str(error)` is meant for a person to read."""


class UsageError(AgentdError):
    """The files or the command line are wrong; the command exits with 2."""


class StartError(AgentdError):
    """The process cannot start (no server, wrong server, port taken); it exits with 3."""


class SubjectError(AgentdError):
    """A name that cannot stand in a NATS subject; raised before anything is sent."""


class DecodeError(AgentdError):
    """Bytes that are not a message of protocol 1.0: the delivery goes to the dead letters.

    `path` is where in the message the mistake is (`payload.content`), "" when it has no place;
    `message_id` is the id of the message where one could be read, so that its sender can be told.
    """

    def __init__(self, problem: str, *, path: str = "", message_id: str | None = None) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.message_id = message_id


class TaskError(AgentdError):
    """The task ends with an error outcome: `code` and the text are in its result.

    `retryable` says that the same task may succeed later, on any replica.
    """

    def __init__(self, text: str, *, code: str, retryable: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.retryable = retryable


class Undeliverable(TaskError):
    """The task is not run (any more): it goes to the dead letters, and `code` is the reason.

    `expired`, `poisonous` (its attempts ended with the process), `exhausted` (every attempt failed
    with an error that might have passed), `hops`, `loop`, `budget`, `stopped`.
    """


class PromptError(TaskError):
    """A prompt that cannot be rendered for this message (code `prompt`)."""

    def __init__(self, text: str) -> None:
        super().__init__(text, code="prompt")


class Again(AgentdError):
    """This attempt failed, and another is worth it after `delay` seconds: the task goes back."""

    def __init__(self, error: TaskError, *, delay: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.delay = delay


class Paused(AgentdError):
    """The run waits for a person: the task is laid by, and delivered again when it is decided or
    `timeout` seconds are over.

    `calls` are those of `turn` to be decided: `index`, `name` and `arguments` each. Without any,
    the task is laid by already.
    """

    def __init__(
        self, turn: int, calls: Sequence[Mapping[str, Any]] = (), *, timeout: float = 0.0
    ) -> None:
        names = ", ".join(str(call["name"]) for call in calls)
        super().__init__(f"waits for approval of {names or 'its calls'} in turn {turn}")
        self.turn = turn
        self.calls = calls
        self.timeout = timeout


# After these errors the provider may have answered; after the others it has not.
_ANSWERED = ("model_timeout", "model_truncated", "model_too_large", "model_garbage")


class ModelError(TaskError):
    """A model call without a usable answer.

    `code` is one of `model_auth`, `model_config`, `model_not_allowed` and
    `parameter_not_allowed` (for a sender to choose),
    `model_not_found`, `model_rejected` (a 4xx), `model_refused` (by a content policy),
    `model_rate_limited`, `model_overloaded` (a 5xx or no connection), `model_timeout`,
    `model_truncated`, `model_too_large`, `model_garbage`. `status` is the HTTP status where there
    was one, `retry_after` the seconds the provider asked us to wait. `cost` is what was paid all
    the same, in USD, as far as somebody knows.
    """

    cost: float | None = None

    def __init__(
        self,
        text: str,
        *,
        code: str,
        retryable: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text, code=code, retryable=retryable)
        self.status = status
        self.retry_after = retry_after

    @property
    def may_cost(self) -> bool:
        """Whether the provider may have answered, and be paid."""
        return self.code in _ANSWERED


class NotCalled(ModelError):
    """The endpoint had no slot in time, or is left alone for now: nothing was asked or paid."""

    @property
    def may_cost(self) -> bool:
        """No."""
        return False


class Throttled(NotCalled):
    """A rate of the manifest's own is used up, or money is set aside for others: the task waits its
    turn, which is no attempt."""


class BusError(AgentdError):
    """NATS did not take or give something. The delivery is handed back, never lost."""


class Conflict(BusError):
    """A create-only record exists already: somebody else's outcome stands."""


class NotStored(BusError):
    """No stream takes this subject, or the server refused to store the message."""


class Unheard(NotStored):
    """Nobody listens to the subject: the stream that took it is gone, or never was."""


class TooLarge(BusError):
    """Header and payload are over what the server accepts; caught before the wire."""

    def __init__(self, subject: str, *, size: int, limit: int) -> None:
        super().__init__(f"{subject}: {size:,} bytes with headers; the server takes {limit:,}")
        self.size = size
        self.limit = limit
