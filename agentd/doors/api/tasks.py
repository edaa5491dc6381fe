"""Tasks over HTTP: sent, awaited, followed, read and cancelled; and the agents that take them.

Nothing of a task is kept here: any process answers for any task.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agentd.doors.api.described import DescribedRoute
from agentd.doors.api.events import task_blocks, workflow_blocks
from agentd.doors.api.models import (
    Cancelled,
    NewTask,
    links,
    parsed,
    task_document,
)
from agentd.doors.api.operations import (
    CANCEL,
    CANCEL_CONVERSATION,
    FOLLOW,
    LIST_AGENTS,
    READ,
    SEND,
)
from agentd.doors.api.workflow import end_of, until_of
from agentd.doors.backend import Backend
from agentd.doors.caller import Caller
from agentd.doors.event_stream import EventStream
from agentd.doors.refusal import Refusal
from agentd.errors import DecodeError
from agentd.nats.objects import whole
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.message import AgentMessage, new_id
from agentd.protocol.subjects import is_token
from agentd.queue.cancellations import Scope
from agentd.routing import registry, results, stream, workflow
from agentd.routing.accept import Acceptance, accept, task_id
from agentd.routing.eligibility import Directory, require_taker
from agentd.routing.status import TaskStatus, status
from agentd.routing.stream import StreamEvent
from agentd.run.attachments import upload

_NONE: Mapping[str, str] = {}
LONGEST_WAIT = 600.0  # seconds
_WAIT = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*", re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}")


def routes(backend: Backend) -> Sequence[DescribedRoute]:
    """`/api/tasks`, `/api/conversations` and `/api/agents`."""
    door = _TaskDoor(backend)
    return [
        DescribedRoute("POST", "/api/tasks", door.send, SEND),
        DescribedRoute("GET", "/api/tasks/{id}", door.read, READ),
        DescribedRoute("GET", "/api/tasks/{id}/stream", door.follow, FOLLOW),
        DescribedRoute("POST", "/api/tasks/{id}/cancel", door.cancel, CANCEL),
        DescribedRoute(
            "POST", "/api/conversations/cancel", door.cancel_conversation, CANCEL_CONVERSATION
        ),
        DescribedRoute("GET", "/api/agents", door.agents, LIST_AGENTS),
    ]


class _TaskDoor:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._bus, self._subjects = backend.bus, backend.subjects
        self._directory = Directory(backend.bus, backend.subjects)

    # --- sending --------------------------------------------------------------------------------

    async def send(self, request: Request) -> Response:
        """Accepts a task; answers now, with the result, or with a stream."""
        caller: Caller = request.state.caller
        asked: NewTask = parsed(await request.body(), NewTask)
        to = Destination.parse(asked.target)
        key, until = _key(request), until_of(request)
        name = task_id(caller.name, key) if key else new_id()
        files = await asyncio.to_thread(asked.attachments) if asked.files else []
        message = asked.message(name, files, by=caller.name)
        await self._require_ask(caller, to, message)
        # Before the task: an agent may start on it as soon as it is stored.
        await upload(self._bus, files)
        accepting = partial(
            accept,
            self._bus,
            self._subjects,
            to,
            message,
            by=caller.name,
            directory=self._directory,
            once=key is not None,
        )
        if "text/event-stream" in request.headers.get("accept", ""):
            return await self._accept_and_stream(name, accepting, until)
        if wait := _wait(request):
            return await self._accept_and_wait(name, accepting, wait, until)
        return self._accepted(await accepting())

    async def _require_ask(self, caller: Caller, to: Destination, message: AgentMessage) -> None:
        caller.require("ask", agent=to.agent)
        if caller.agents is None or to.agent is not None:
            return
        # A key for some agents reaches a capability only where it reaches all that have it.
        takers = require_taker(
            Recipients.of(message, to), await self._directory.online(), self._subjects.env
        )
        for agent in takers:
            caller.require("ask", agent=agent)

    def _accepted(self, acceptance: Acceptance, headers: Mapping[str, str] = _NONE) -> Response:
        document = task_document(
            acceptance.task, TaskStatus(state="queued", attempts=0, acceptance=acceptance)
        )
        where = {"Location": links(acceptance.task)["self"]}
        return JSONResponse(document, 202, {**where, **headers})

    async def _accept_and_wait(
        self, name: str, accepting: partial[Any], wait: float, until: str | None
    ) -> Response:
        applied = {"Preference-Applied": f"wait={wait:g}", "Location": links(name)["self"]}
        if until:
            return await self._accept_and_wait_until(name, accepting, wait, until, applied)
        waiter = results.Waiter(self._bus, self._subjects, name)
        # A process that begins to end answers without the result; another one may have it.
        with self._backend.draining.calling(waiter.give_up):
            async with waiter.subscribed():
                acceptance: Acceptance = await accepting()
                result = await waiter.get(wait, acceptance, look=acceptance.repeated)
        if result is None:
            return self._accepted(acceptance, applied)
        done = TaskStatus(state="done", acceptance=acceptance, result=result)
        return JSONResponse(task_document(name, done), headers=applied)

    async def _accept_and_wait_until(
        self,
        name: str,
        accepting: partial[Any],
        wait: float,
        until: str,
        headers: Mapping[str, str],
    ) -> Response:
        acceptance: Acceptance = await accepting()
        async with workflow.opened(self._bus, self._subjects, name, until=until) as events:
            end = await self._backend.draining.before(end_of(events), wait)
        if end is None:
            return self._accepted(acceptance, headers)
        return JSONResponse(end, headers=headers)

    async def _accept_and_stream(
        self, name: str, accepting: partial[Any], until: str | None
    ) -> Response:
        if until:
            await accepting()
            where = {"Location": links(name)["self"]}
            return await self._followed(name, until, after="", headers=where)
        own = results.Own(self._bus, self._subjects, name)
        async with AsyncExitStack() as stack:
            opened = stream.opened(self._bus, self._subjects, name, fresh=True, own=own)
            events = await stack.enter_async_context(opened)
            acceptance: Acceptance = await accepting()
            own.accepted(acceptance)
            if not acceptance.repeated:
                where = {"Location": links(name)["self"]}
                return self._stream(name, events, acceptance, stack.pop_all(), where)
        # It may have ended long ago.
        return await self._streamed(name, acceptance, after="")

    # --- reading --------------------------------------------------------------------------------

    async def read(self, request: Request) -> Response:
        """How far a task has come."""
        name, found = await self._found(request)
        if found.result:
            found = replace(found, result=await whole(self._bus, found.result))
        return JSONResponse(task_document(name, found))

    async def follow(self, request: Request) -> Response:
        """The stream of a task, from any place in it."""
        after = request.headers.get("last-event-id") or request.query_params.get("after", "")
        until = until_of(request)
        name, found = await self._found(request)
        if after == ("end" if until else "result"):
            return Response(status_code=204)  # the end: a browser does not connect again
        if until:
            _require_all_agents(request.state.caller, found)
            return await self._followed(name, until, after=after)
        return await self._streamed(name, found.acceptance, after=after)

    async def _found(self, request: Request) -> tuple[str, TaskStatus]:
        """The task of the path, if the caller may see it.

        Raises:
            Refusal: there is none (404), or it is not for this caller (403).
        """
        name, caller = request.path_params["id"], request.state.caller
        found = await status(self._bus, self._subjects, name) if is_token(name) else None
        if found is None:
            if not _sees_own(caller):
                caller.require("read")
            raise Refusal(404, "unknown_task", f"there is no task {name[:100]!r}")
        if not _is_own(caller, found):
            caller.require("read")
            _require_agent(caller, found)
        return name, found

    async def _streamed(self, name: str, acceptance: Acceptance | None, *, after: str) -> Response:
        async with AsyncExitStack() as stack:
            opened = stream.opened(self._bus, self._subjects, name, after=after)
            events = await stack.enter_async_context(opened)
            return self._stream(name, events, acceptance, stack.pop_all())

    async def _followed(
        self, name: str, until: str, *, after: str, headers: Mapping[str, str] = _NONE
    ) -> Response:
        async with AsyncExitStack() as stack:
            opened = workflow.opened(self._bus, self._subjects, name, until=until, after=after)
            events = workflow_blocks(await stack.enter_async_context(opened))
            draining = self._backend.draining
            return EventStream(events, stack.pop_all(), draining=draining, headers=headers)

    def _stream(
        self,
        name: str,
        events: AsyncIterator[StreamEvent],
        acceptance: Acceptance | None,
        stack: AsyncExitStack,
        headers: Mapping[str, str] = _NONE,
    ) -> Response:
        blocks = task_blocks(name, events, acceptance)
        return EventStream(blocks, stack, draining=self._backend.draining, headers=headers)

    # --- the rest -------------------------------------------------------------------------------

    async def cancel(self, request: Request) -> Response:
        """Cancels a task, and all that followed from it."""
        name, found = await self._found(request)
        caller: Caller = request.state.caller
        caller.require("ask" if _is_own(caller, found) else "operate")
        return await self._cancelled(Scope("task", name), caller)

    async def cancel_conversation(self, request: Request) -> Response:
        """Cancels a conversation."""
        request.state.caller.require("operate")
        asked: Cancelled = parsed(await request.body(), Cancelled)
        return await self._cancelled(
            Scope("conversation", asked.conversation), request.state.caller
        )

    async def _cancelled(self, scope: Scope, caller: Caller) -> Response:
        ended = await self._backend.cancel(self._bus, self._subjects, scope, by=caller.actor)
        return JSONResponse({scope.kind: scope.id, "ended": dict(ended)})

    async def agents(self, request: Request) -> Response:
        """The agents online, in all processes."""
        caller: Caller = request.state.caller
        caller.require("read")
        found = registry.by_agent(await registry.online(self._bus, self._subjects.env))
        return JSONResponse({"agents": [each for each in found if caller.reaches(each["agent"])]})


def _sees_own(caller: Caller) -> bool:
    """Whether the caller may see tasks of its own."""
    return "ask" in caller.may


def _is_own(caller: Caller, found: TaskStatus) -> bool:
    """Whether the caller has sent the task, and so may see it."""
    return found.is_by(caller.name) and _sees_own(caller)


def _require_agent(caller: Caller, found: TaskStatus) -> None:
    """A key for some agents sees their tasks only: which agent has a task is known from its target,
    or from its result."""
    if caller.agents is None:
        return
    agent = found.acceptance and Destination.parse(found.acceptance.to).agent
    if agent is None and found.result:
        agent = found.result.source.id
    caller.require("read", agent=agent or "that takes it")


def _require_all_agents(caller: Caller, found: TaskStatus) -> None:
    """What follows from a task may be of any agent."""
    if caller.agents is not None and not _is_own(caller, found):
        raise Refusal(
            403,
            "forbidden",
            f"{caller.name!r} may not follow the tasks of others with `until`: other agents than "
            "those of its key may take part",
        )


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    key = key.strip().strip('"')
    if not _KEY.fullmatch(key):
        raise DecodeError("Idempotency-Key must be 1 to 255 printable characters of ASCII")
    return key


def _wait(request: Request) -> float:
    """The seconds of `Prefer: wait=30`; 0 if the caller does not want to wait."""
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    found = next((match for each in preferences if (match := _WAIT.fullmatch(each))), None)
    return min(float(found[1]), LONGEST_WAIT) if found else 0.0
