"""Dead letters over HTTP: listed, shown, sent again, dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agentd.doors.api.described import DescribedRoute, Operation
from agentd.doors.backend import Backend
from agentd.doors.caller import Caller
from agentd.doors.refusal import Refusal
from agentd.errors import UsageError
from agentd.protocol.subjects import AGENT_DOMAIN
from agentd.queue import dead_letters
from agentd.queue.dead_letters import Action, DeadLetter

MOST = 500  # letters in one answer
_LARGEST = 64 * 1024  # bytes of a message that are shown


class Letter(BaseModel):
    """A task that could not be done."""

    letter: int = Field(description="Its number.")
    buried: str = Field(description="When it was stored (RFC 3339).")
    task: str
    reason: str = Field(description="One word, such as `expired` or `exhausted`.")
    error: str
    attempts: int
    subject: str = Field(description="Where the task was published.")
    headers: dict[str, str] | None = Field(default=None, description="Those of its sender.")
    message: str | None = Field(default=None, description="The original message; cut at 64 KB.")


class Letters(BaseModel):
    """Dead letters."""

    letters: list[Letter] = Field(description=f"The newest {MOST}, newest first.")
    total: int


class Done(BaseModel):
    """What was done with a dead letter."""

    letter: int
    task: str
    done: str = Field(description="`retried` or `dropped`.")


LIST = Operation(
    name="listDeadLetters",
    summary="List the dead letters",
    gives={200: ("The dead letters, newest first.", Letters)},
    right="read",
)
READ = Operation(
    name="getDeadLetter",
    summary="Read a dead letter with its original message",
    gives={200: ("The dead letter.", Letter)},
    right="read",
)
RETRY = Operation(
    name="retryDeadLetter",
    summary="Send the task of a dead letter again",
    text="Unchanged; the task still gets one result. If it has one, the status is 409.",
    gives={200: ("It was sent again.", Done)},
    right="operate",
)
DROP = Operation(
    name="dropDeadLetter",
    summary="Delete a dead letter permanently",
    gives={200: ("It was deleted.", Done)},
    right="operate",
)


def routes(backend: Backend) -> Sequence[DescribedRoute]:
    """`/api/dead-letters`."""
    door = _LetterDoor(backend)
    return [
        DescribedRoute("GET", "/api/dead-letters", door.list, LIST),
        DescribedRoute("GET", "/api/dead-letters/{letter}", door.read, READ),
        DescribedRoute("POST", "/api/dead-letters/{letter}/retry", door.retry, RETRY),
        DescribedRoute("POST", "/api/dead-letters/{letter}/drop", door.drop, DROP),
    ]


class _LetterDoor:
    def __init__(self, backend: Backend) -> None:
        self._bus, self._subjects = backend.bus, backend.subjects

    async def list(self, request: Request) -> Response:
        """The newest dead letters that the key is for."""
        caller: Caller = request.state.caller
        caller.require("read")
        newest: deque[DeadLetter] = deque(maxlen=MOST)
        total = 0
        async for each in dead_letters.listed(self._bus, self._subjects):
            if _reaches(caller, each):
                total += 1
                newest.append(replace(each, data=b""))
        shown = [_document(each) for each in reversed(newest)]
        return JSONResponse({"letters": shown, "total": total})

    async def read(self, request: Request) -> Response:
        """One dead letter, with its message."""
        caller: Caller = request.state.caller
        caller.require("read")
        letter = await self._found(request)
        data = await dead_letters.original(self._bus, letter)
        text = data[:_LARGEST].decode(errors="replace")
        more = {"headers": dict(letter.headers), "message": text}
        return JSONResponse({**_document(letter), **more})

    async def retry(self, request: Request) -> Response:
        """Sends a dead letter again."""
        return await self._done(request, dead_letters.send_again, "retried")

    async def drop(self, request: Request) -> Response:
        """Deletes a dead letter."""
        return await self._done(request, dead_letters.drop, "dropped")

    async def _done(
        self,
        request: Request,
        action: Action,
        done: str,
    ) -> Response:
        caller: Caller = request.state.caller
        caller.require("operate")
        letter = await self._found(request)
        try:
            await action(self._bus, self._subjects, letter, by=caller.actor)
        except UsageError as error:
            raise Refusal(409, "not_" + done, str(error)) from None
        return JSONResponse({"letter": letter.sequence, "task": letter.task_id, "done": done})

    async def _found(self, request: Request) -> DeadLetter:
        """The dead letter with the number of the path.

        Raises:
            Refusal: 404; there is none that the key is for.
        """
        name = request.path_params["letter"]
        try:
            # By number only: the id of a task may stand for several letters.
            found = await dead_letters.find(self._bus, self._subjects, str(int(name)))
        except (UsageError, ValueError):
            found = None
        if found is None or not _reaches(request.state.caller, found):
            raise Refusal(404, "unknown_letter", f"there is no dead letter {name[:40]!r}")
        return found


def _reaches(caller: Caller, letter: DeadLetter) -> bool:
    """Whether a key is for a letter: one for some agents, if the task was sent to one by name."""
    if caller.agents is None:
        return True
    subject = letter.subject
    return subject.domain == AGENT_DOMAIN and caller.reaches(subject.specificity)


def _document(letter: DeadLetter) -> dict[str, Any]:
    """A `Letter`, as JSON."""
    return {
        "letter": letter.sequence,
        "buried": letter.at,
        "task": letter.task_id,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "subject": letter.published_to,
    }
