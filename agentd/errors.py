"""The one error tree. The class of an error decides what becomes of the message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class AgentdError(Exception):
    """Every error that agentd raises on purpose. `str(error)` is written for a person."""


class UsageError(AgentdError):
    """The files or the command line are wrong. The command exits with 2."""


class StartError(AgentdError):
    """The process cannot start (no server, wrong server, port taken). It exits with 3."""


class SubjectError(AgentdError):
    """A name that cannot be part of a NATS subject. Raised before anything is sent."""


class DecodeError(AgentdError):
    """Bytes that are not a message of protocol 1.0. A delivery of them is dead-lettered.

    `path` names the wrong field (`payload.content`), or is empty. `message_id` is the id of the
    message if it could be read: the sender's error result is published under it.
    """

    def __init__(self, problem: str, *, path: str = "", message_id: str | None = None) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.message_id = message_id


class TaskError(AgentdError):
    """The task ends with an error: its result has `code` and the text.

    `retryable` means that the same task may succeed later, on any replica.
    """

    def __init__(self, text: str, *, code: str, retryable: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.retryable = retryable


class Undeliverable(TaskError):
    """The task is not run, or no longer: it is dead-lettered, and `code` is the reason.

    * `malformed`: its bytes are not a valid task.
    * `expired`: its time was over.
    * `hops`: it was passed on too often.
    * `loop`: the agent emitted it itself.
    * `no_taker`, `overloaded`: it is for another agent, which could not be reached.
    * `cancelled`: a person cancelled the task or its conversation.
    * `budget`: too little money, or too few tokens, are left.
    * `turns`: `limits.turns` was reached without an answer.
    * `repeated_calls`: the model made the same tool call again and again.
    * `exhausted`: every attempt failed with an error that might have passed.
    * `poisonous`: its attempts ended together with the process.
    * `given_up`: the server stopped delivering it.
    """


class PromptError(TaskError):
    """The prompt cannot be rendered for this message (code `prompt`)."""

    def __init__(self, text: str) -> None:
        super().__init__(text, code="prompt")


class Again(AgentdError):
    """This attempt failed. The task is handed back, to be attempted again after `delay` seconds."""

    def __init__(self, error: TaskError, *, delay: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.delay = delay


class Paused(AgentdError):
    """The run needs approvals: the task is suspended until they are decided, or until `timeout`
    seconds have passed.

    `calls` are the tool calls of `turn` that need a decision, each with `index`, `name` and
    `arguments`, and with a `question` if it asks a person. Without any, the task is suspended
    already. `schemas` are those of the arguments, by the name of the tool.
    """

    def __init__(
        self,
        turn: int,
        calls: Sequence[Mapping[str, Any]] = (),
        *,
        schemas: Mapping[str, Any] | None = None,
        timeout: float = 0.0,
    ) -> None:
        names = ", ".join(str(call["name"]) for call in calls)
        super().__init__(f"waits for a decision on {names or 'its calls'} in turn {turn}")
        self.schemas = schemas or {}
        self.turn = turn
        self.calls = calls
        self.timeout = timeout


# After these errors the provider may have answered, and charge for it; after others it has not.
_ANSWERED = ("model_timeout", "model_truncated", "model_too_large", "model_garbage")


class ModelError(TaskError):
    """A model call gave no usable answer.

    Attributes:
        code: `model_auth`, `model_config`, `model_not_found`, `model_rejected` (a 4xx),
            `model_refused` (by a content policy), `model_rate_limited`, `model_overloaded` (a 5xx,
            or no connection), `model_timeout`, `model_truncated` (the stream broke off),
            `model_cut_off` (by `max_tokens` or a full context), `model_empty`, `model_too_large`,
            `model_garbage`; or what a sender may not choose: `model_not_allowed`,
            `parameter_not_allowed`.
        status: the HTTP status, if there was one; 200 for an answer that cannot be used.
        retry_after: the seconds that the provider asked us to wait.
        answered: the provider had begun to answer.
        usage: the tokens that were used nevertheless (a `models.port.Usage`), if they are known.
        cost: what was charged nevertheless, in USD, if it is known.
        unavailable: the server is not there, or not ready: no connection, or a 503. Nothing was
            done, and the call may wait for it.
    """

    answered = False
    usage: Any = None
    cost: float | None = None
    unavailable: bool = False

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
        """Whether the provider may have answered, and charge for it."""
        return self.answered or self.code in _ANSWERED


class NotCalled(ModelError):
    """The endpoint had no free slot in time, or is in cooldown. Nothing was sent or paid."""

    @property
    def may_cost(self) -> bool:
        """False: nothing was sent."""
        return False


class Throttled(NotCalled):
    """A rate of the manifest is used up, or the money left is reserved for other tasks. The task
    waits, and the wait does not count as an attempt."""


class BusError(AgentdError):
    """NATS did not store or return something. The delivery is handed back, never lost."""


class Forbidden(BusError):
    """The permissions of the NATS user do not allow to publish or subscribe to a subject. It
    stays so until an administrator changes them."""

    def __init__(self, action: str, subject: str) -> None:
        super().__init__(f'the permissions of this NATS user do not allow to {action} "{subject}"')
        self.subject = subject


class Conflict(BusError):
    """A record that can be created only once exists already: another replica stored it."""


class NotStored(BusError):
    """No stream stores this subject, or the server refused to store the message."""


class Unheard(NotStored):
    """No subscription and no stream receives the subject; its stream may have been deleted."""


class TooLarge(BusError):
    """Headers and payload are larger than the server accepts. Raised before anything is sent."""

    def __init__(self, subject: str, *, size: int, limit: int) -> None:
        super().__init__(f"{subject}: {size:,} bytes with headers; the server takes {limit:,}")
        self.size = size
        self.limit = limit
