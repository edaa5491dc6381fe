"""What happens now, as one stream: the messages that are published, and the agents online.

It is for eyes. Of many messages it shows some and counts the others, and a reader that is slow
misses some. Who needs every message reads the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from agentd.doors.api.described import DescribedRoute, Operation
from agentd.doors.backend import Backend
from agentd.doors.caller import Caller
from agentd.doors.event_stream import HEARTBEAT, EventStream, block
from agentd.errors import AgentdError, BusError
from agentd.nats.bus import Msg
from agentd.nats.permissions import PROBE
from agentd.protocol.gist import gist
from agentd.protocol.message import decode
from agentd.protocol.subjects import AGENT_DOMAIN, Subject
from agentd.queue.topic import TOPIC
from agentd.routing import registry

_TICK = 0.25  # seconds between two events of messages
_LOOK = 2.0  # seconds between two looks at the agents
_QUIET = 15.0  # seconds without an event until a heartbeat
_LONGEST = 140  # characters of a topic, which any client may write
_MOST = 40  # messages in one event
_LARGEST = 256 * 1024  # bytes of a message that is opened
RUN = "run"  # the domain of the journals
_BEHIND = 64  # events that wait for a slow reader

# The lists that a message changes, by its type or by the domain of an event.
_LISTS = {"dlq": "letters", "approval": "approvals", "result": "tasks", "task": "tasks"}

LIVE = Operation(
    name="watch",
    summary="Watch what happens",
    text="Two events. `agents` (`agents`, as `GET /api/agents`): at the beginning, and when they "
    "change. `flow`: what was published in the last quarter of a second: `messages` (`subject`, "
    "`type`, `domain`, `specificity`, `topic` (what it is about, where it goes to an agent or a "
    "route), `task`, `agent` (who sent it), `conversation`, `at`, `text`, `failed`, the `tools` "
    "that a turn calls), how many `more` there were, and the lists that have `changed`: `tasks`, "
    "`approvals`, `letters`. Nothing can be read again: for that there is the log.",
    gives={200: ("The stream.", None)},
    streams=True,
    right="read",
)


def routes(backend: Backend) -> Sequence[DescribedRoute]:
    """`/api/live`."""
    live = Live(backend)

    async def watch(request: Request) -> Response:
        caller: Caller = request.state.caller
        caller.require("read")
        async with AsyncExitStack() as stack:
            events = await stack.enter_async_context(live.watched())
            blocks = _blocks(events, caller)
            return EventStream(blocks, stack.pop_all(), draining=backend.draining, headers={})

    return [DescribedRoute("GET", "/api/live", watch, LIVE)]


Event = tuple[str, dict[str, Any]]


@dataclass
class _Window:
    """What was published since the last event."""

    some: list[Msg] = field(default_factory=list[Msg])
    count: int = 0
    changed: set[str] = field(default_factory=set[str])


class Live:
    """One subscription and one look at the registry for all who watch; none while nobody does."""

    def __init__(self, backend: Backend) -> None:
        self._bus, self._subjects = backend.bus, backend.subjects
        self._watchers: set[asyncio.Queue[Event]] = set()
        self._window = _Window()
        self._agents: list[dict[str, Any]] = []
        self._running: AsyncExitStack | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[asyncio.Queue[Event]]:
        """The events from now on; the first one has the agents."""
        events: asyncio.Queue[Event] = asyncio.Queue(_BEHIND)
        async with self._lock:
            if self._running is None:
                self._running = await self._start()
            self._watchers.add(events)
        events.put_nowait(("agents", {"agents": self._agents}))
        try:
            yield events
        finally:
            self._watchers.discard(events)
            async with self._lock:
                if not self._watchers and self._running:
                    running, self._running = self._running, None
                    await running.aclose()

    async def _start(self) -> AsyncExitStack:
        self._agents = registry.by_agent(await registry.online(self._bus, self._subjects.env))
        self._window = _Window()
        async with AsyncExitStack() as stack:
            for kind in ("task", "result", "event", "dlq"):
                pattern = self._subjects.pattern(f"{kind}.>")
                listening = await self._bus.listen(pattern, self._hear)
                stack.push_async_callback(listening.close)
            for work in (self._tell(), self._look()):
                running = asyncio.create_task(work)
                stack.push_async_callback(_ended, running)
            return stack.pop_all()

    def _hear(self, msg: Msg) -> None:
        """Notes a message; it is opened later, if at all."""
        if PROBE in (msg.headers or {}):
            return
        _, _, kind, domain, *_ = msg.subject.split(".")
        if kind == "event" and domain == "status":
            return
        window = self._window
        window.count += 1
        if changed := _LISTS.get(domain if kind == "event" else kind):
            window.changed.add(changed)
        if len(window.some) < _MOST:
            window.some.append(msg)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            window, self._window = self._window, _Window()
            if window.count:
                messages = [_shown(msg) for msg in window.some]
                more = window.count - len(messages)
                flow = {"messages": messages, "more": more, "changed": sorted(window.changed)}
                self._publish(("flow", flow))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            with contextlib.suppress(BusError):  # NATS is away: the next look may find it
                found = await registry.online(self._bus, self._subjects.env)
                agents = registry.by_agent(found)
                if agents != self._agents:
                    self._agents = agents
                    self._publish(("agents", {"agents": agents}))

    def _publish(self, event: Event) -> None:
        for events in self._watchers:
            if events.full():
                events.get_nowait()  # of a slow reader, the oldest event is lost
            events.put_nowait(event)


async def _blocks(events: asyncio.Queue[Event], caller: Caller) -> AsyncGenerator[bytes]:
    """The events as far as the key is for their agents."""
    while True:
        try:
            async with asyncio.timeout(_QUIET):
                kind, data = await events.get()
        except TimeoutError:
            yield HEARTBEAT
            continue
        yield block(kind, data if caller.agents is None else _visible(kind, data, caller))


def _visible(kind: str, data: dict[str, Any], caller: Caller) -> dict[str, Any]:
    if kind == "agents":
        return {"agents": [each for each in data["agents"] if caller.reaches(each["agent"])]}
    mine = [
        each
        for each in data["messages"]
        if caller.reaches(each["agent"])
        or (each["domain"] == AGENT_DOMAIN and caller.reaches(each["specificity"]))
    ]
    return {"messages": mine, "more": 0, "changed": data["changed"]}


def _shown(msg: Msg) -> dict[str, Any]:
    """A message in short. What is no message of agentd has its subject only."""
    parts = msg.subject.split(".")
    _, _, kind, domain, specificity, *_ = [*parts, "", "", ""]
    shown = {"subject": msg.subject, "type": kind, "domain": domain, "specificity": specificity}
    shown |= {
        "topic": f"{domain}.{specificity}",
        "task": "",
        "agent": "",
        "conversation": "",
        "at": time.time(),
        "text": "",
    }
    if len(msg.data) > _LARGEST:
        return {**shown, "text": f"{len(msg.data):,} bytes"}
    headers = msg.headers or {}
    topic = headers.get(TOPIC, "")[:_LONGEST] or f"{domain}.{specificity}"
    try:
        message = decode(msg.data, id=headers.get("Nats-Msg-Id") or "-")
        subject = Subject.parse(msg.subject)
    except AgentdError:
        return {**shown, "text": f"{len(msg.data):,} bytes that are no message"}
    content = message.payload.content
    failed = kind == "result" and isinstance(content, dict) and content.get("success") is False
    task = message.id if kind == "task" else subject.task_id or _run(subject)
    return {
        **shown,
        "topic": topic,
        "task": task,
        "agent": message.source.id,
        "conversation": message.context.conversation_id,
        "text": gist(message, 160),
        "failed": failed,
        "tools": _called(content) if subject.domain == RUN else [],
    }


def _run(subject: Subject) -> str:
    """The task that an event of agentd is about."""
    return subject.specificity if subject.domain in (RUN, "approval") else ""


def _called(entry: Any) -> list[str]:
    """The tools that a turn calls, from its entry in the journal."""
    try:
        return [str(call["name"])[:100] for call in entry["completion"]["tool_calls"][:10]]
    except (KeyError, TypeError):
        return []  # another entry, or one that a stranger has written


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
