"""The audit over HTTP: its newest checkpoint, and the comparison of the log with its tree."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agentd.doors.api.described import DescribedRoute, Operation
from agentd.doors.backend import Backend
from agentd.doors.refusal import Refusal
from agentd.errors import DecodeError
from agentd.nats import jetstream
from agentd.nats.streams import LOG
from agentd.record.audit import step
from agentd.record.audit.verify import Known, verify


class Audit(BaseModel):
    """Where the tree over the log ends."""

    size: int = Field(description="The leaves of the tree.")
    last: int = Field(description="The newest message of the log in it, by its sequence.")
    at: float = Field(description="When it was read, in seconds since the epoch.")
    log: int = Field(description="The newest message of the log; of all environments.")
    key: str = Field(description="The public key that signs.")
    note: str = Field(description="The newest checkpoint, to be kept elsewhere.")


class AuditFinding(BaseModel):
    """Something that is wrong."""

    sequence: int = Field(description="The first message that it is about; 0 for none.")
    text: str


class AuditReport(BaseModel):
    """What was compared."""

    messages: int
    first: int
    last: int
    gone: dict[str, int] = Field(description="Messages that may be gone, by the reason.")
    findings: list[AuditFinding] = Field(description="What is wrong; empty if nothing is.")
    notes: list[str]


READ = Operation(
    name="getAudit",
    summary="Read the newest checkpoint of the audit",
    gives={200: ("The end of the tree. Without a tree, the status is 404.", Audit)},
    right="read",
)
VERIFY = Operation(
    name="verifyAudit",
    summary="Compare the log with its tree",
    text="It reads the whole log. One comparison runs at a time in a process; more answer 429.",
    gives={200: ("What was found.", AuditReport)},
    right="operate",
)


def routes(backend: Backend) -> Sequence[DescribedRoute]:
    """`/api/audit`."""
    bus, env = backend.bus, backend.subjects.env
    comparing = asyncio.Lock()

    async def read(request: Request) -> Response:
        request.state.caller.require("read")
        try:
            newest = await step.newest(bus, env)
        except DecodeError as error:
            raise Refusal(500, "audit_damaged", f"{error}; see: agentd audit verify") from None
        if newest is None:
            raise Refusal(404, "no_audit", str(step.none(env)))
        info = await jetstream.api(bus, f"STREAM.INFO.{LOG}")
        found: dict[str, Any] = {"size": newest.checkpoint.size, "last": newest.last}
        found["at"] = newest.batch.at
        found |= {"log": info["state"]["last_seq"], "key": newest.key, "note": newest.note}
        return JSONResponse(found)

    async def compare(request: Request) -> Response:
        request.state.caller.require("operate")
        if comparing.locked():
            again = {"Retry-After": "5"}
            raise Refusal(429, "overloaded", "a comparison is running", headers=again)
        async with comparing:
            return JSONResponse(asdict(await verify(bus, env, Known())))

    return [
        DescribedRoute("GET", "/api/audit", read, READ),
        DescribedRoute("POST", "/api/audit/verify", compare, VERIFY),
    ]
