"""People in the loop over HTTP: what waits for a person, and the decisions about it.

Who decides is the name of the key. A decision is what it is on NATS: any process takes it, and the
first one on a call counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agentd.doors.api.approval_models import (
    Approval,
    Approvals,
    Decided,
    NewDecision,
    approval_document,
    decided_document,
    record_document,
)
from agentd.doors.api.described import DescribedRoute, Operation
from agentd.doors.api.models import parsed
from agentd.doors.backend import Backend
from agentd.doors.caller import Caller
from agentd.doors.refusal import Refusal
from agentd.protocol.subjects import is_token
from agentd.queue import approvals, decisions
from agentd.queue.decisions import ApprovalRequest, Dialogue

LIST = Operation(
    name="listApprovals",
    summary="List the calls and questions that wait for a person",
    text="A key with the right `read` sees them, too.",
    gives={200: ("The requests, oldest first.", Approvals)},
    right="approve",
)
READ = Operation(
    name="getApproval",
    summary="Read what a task has asked people, and what they decided",
    text="A key with the right `read` sees it, too.",
    gives={200: ("The newest request with the decisions on it.", Approval)},
    right="approve",
)
DECIDE = Operation(
    name="decide",
    summary="Approve, edit or deny a call, or answer a question",
    text="The first decision on a call counts. If none is left to decide, the status is 409.",
    takes=NewDecision,
    gives={200: ("What was decided about each call.", Decided)},
    right="approve",
)


def routes(backend: Backend) -> Sequence[DescribedRoute]:
    """`/api/approvals`."""
    door = _ApprovalDoor(backend)
    return [
        DescribedRoute("GET", "/api/approvals", door.list, LIST),
        DescribedRoute("GET", "/api/approvals/{id}", door.read, READ),
        DescribedRoute("POST", "/api/approvals/{id}", door.decide, DECIDE),
    ]


class _ApprovalDoor:
    def __init__(self, backend: Backend) -> None:
        self._bus, self._subjects = backend.bus, backend.subjects

    async def list(self, request: Request) -> Response:
        """What waits for a person, of the agents that the key is for."""
        caller = _reader(request)
        waiting = await approvals.waiting(self._bus, self._subjects)
        shown = [approval_document(each) for each in waiting if caller.reaches(each.agent)]
        return JSONResponse({"approvals": shown})

    async def read(self, request: Request) -> Response:
        """The newest request of a task, with the decisions on it."""
        caller = _reader(request)
        dialogue = await self._dialogue(request)
        newest = dialogue.requests[-1]
        if not caller.reaches(newest.agent):
            raise _unknown(request)
        return JSONResponse(record_document(newest, dialogue))

    async def decide(self, request: Request) -> Response:
        """Stores a decision."""
        caller: Caller = request.state.caller
        caller.require("approve")
        asked = await self._open(request, caller)
        decision: NewDecision = parsed(await request.body(), NewDecision)
        chosen: Mapping[str, Any] = decision.model_dump(exclude_none=True, exclude_unset=True)
        dialogue, stored = await approvals.decide(
            self._bus, self._subjects, asked, chosen, by=caller.actor
        )
        verdicts = dialogue.verdicts(asked)
        if all(verdict.sequence != stored for verdict in verdicts.values()):
            raise _decided(asked, dialogue)
        return JSONResponse(decided_document(asked, verdicts))

    async def _open(self, request: Request, caller: Caller) -> ApprovalRequest:
        """The request that waits.

        Raises:
            Refusal: there is none (404), it is not for this caller (403), or it is decided or
                expired (409).
        """
        dialogue = await self._dialogue(request)
        caller.require("approve", agent=dialogue.requests[-1].agent)
        task = request.path_params["id"]
        asked = await approvals.find(self._bus, self._subjects, task, dialogue)
        if asked and not dialogue.is_decided(asked):
            return asked
        raise _decided(dialogue.requests[-1], dialogue)

    async def _dialogue(self, request: Request) -> Dialogue:
        """All requests of a task, and all decisions; there is at least one request."""
        task = request.path_params["id"]
        if not is_token(task):
            raise _unknown(request)
        dialogue = await decisions.read(self._bus, self._subjects, task)
        if not dialogue.requests:
            raise _unknown(request)
        return dialogue


def _reader(request: Request) -> Caller:
    """The caller, who may read or approve."""
    caller: Caller = request.state.caller
    if "read" not in caller.may:
        caller.require("approve")
    return caller


def _unknown(request: Request) -> Refusal:
    task = request.path_params["id"][:100]
    return Refusal(404, "unknown_approval", f"task {task!r} has asked nobody for anything")


def _decided(asked: ApprovalRequest, dialogue: Dialogue) -> Refusal:
    if not dialogue.is_decided(asked):
        return Refusal(409, "expired", f"the request of task {asked.task} has expired")
    found = dialogue.verdicts(asked)
    who = " and ".join(
        dict.fromkeys(f"{each.verb} by {each.by or 'somebody'}" for each in found.values())
    )
    return Refusal(409, "already_decided", f"task {asked.task} was decided before: {who}")
