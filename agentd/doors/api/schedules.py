"""Schedules over HTTP: listed and removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agentd.doors.api.described import DescribedRoute, Operation
from agentd.doors.backend import Backend
from agentd.doors.caller import Caller
from agentd.doors.refusal import Refusal
from agentd.errors import UsageError
from agentd.nats.records import LISTED
from agentd.protocol.subjects import AGENT_DOMAIN
from agentd.routing import scheduled


class Schedule(BaseModel):
    """What will be sent later."""

    id: str = Field(description="Of a message its id; of the schedule of an agent `@agent`.")
    when: str = Field(description="`once`, or how often.")
    next: str | None = Field(description="When it is sent next (RFC 3339), if that is known.")
    clock_changes: list[dict[str, str]] = Field(
        description="What the clock changes of the coming year do to it."
    )
    to: str = Field(description="The subject that it is sent to, without the environment.")
    content: Any


class Schedules(BaseModel):
    """What will be sent later."""

    schedules: list[Schedule] = Field(description=f"Of messages, the next {LISTED:,}.")
    total: int


class Removed(BaseModel):
    """What was removed."""

    removed: str


LIST = Operation(
    name="listSchedules",
    summary="List what will be sent later",
    gives={200: ("The schedules of agents, then single messages.", Schedules)},
    right="read",
)
REMOVE = Operation(
    name="removeSchedule",
    summary="Remove what will be sent later",
    text="If it cannot be removed, such as the schedule of an agent that is online, the status is "
    "409.",
    gives={200: ("It was removed.", Removed)},
    right="operate",
)


def routes(backend: Backend) -> Sequence[DescribedRoute]:
    """`/api/schedules`."""
    bus, subjects = backend.bus, backend.subjects

    async def listed(request: Request) -> Response:
        caller: Caller = request.state.caller
        caller.require("read")
        found, total = await scheduled.listed(bus, subjects, lambda to: _reaches(caller, to))
        return JSONResponse({"schedules": [each.as_json() for each in found], "total": total})

    async def removed(request: Request) -> Response:
        caller: Caller = request.state.caller
        name = request.path_params["id"]
        caller.require("operate")
        if caller.agents is not None:
            # A message may be for any agent.
            agent = name[1:] if name.startswith("@") else "that a message is for"
            caller.require("operate", agent=agent)
        try:
            await scheduled.remove(bus, subjects, name, by=caller.actor)
        except UsageError as error:
            raise Refusal(409, "not_removed", str(error)) from None
        return JSONResponse({"removed": name})

    return [
        DescribedRoute("GET", "/api/schedules", listed, LIST),
        DescribedRoute("DELETE", "/api/schedules/{id}", removed, REMOVE),
    ]


def _reaches(caller: Caller, to: str) -> bool:
    """Whether a key is for a schedule: one for some agents, if it sends to one by name."""
    _, domain, specificity = to.split(".")[:3]
    return caller.agents is None or (domain == AGENT_DOMAIN and caller.reaches(specificity))
