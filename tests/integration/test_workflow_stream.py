"""The stream of a workflow, for readers that come late, come back, or read two answers at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from agentd.errors import SubjectError, UsageError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, encode, new, new_id
from agentd.protocol.subjects import Subjects
from agentd.queue.decisions import REQUESTED
from agentd.routing import workflow
from agentd.routing.workflow import WorkflowEvent
from tests.waiting import PATIENCE

ME = AgentIdentity(id="me", type="agent")
DONE = "event.all.done"


class Flow:
    """A workflow whose messages the test writes: the side of the agents."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self.bus, self.subjects = bus, subjects
        context = Context(conversation_id=new_id())
        self.task = new("task", "Go.", source=ME, id=new_id(), context=context)
        self.pieces: Counter[str] = Counter()

    async def store(self, topic: str, message: AgentMessage | bytes) -> None:
        data = message if isinstance(message, bytes) else encode(message)
        subject = self.subjects.pattern(topic)
        await jetstream.store(self.bus, subject, data, message_id=new_id())

    async def begin(self) -> AgentMessage:
        await self.store("task.first.general.5", self.task)
        return self.task

    async def child(self, **fields: Any) -> AgentMessage:
        links: Any = {"correlation_id": self.task.id, "context": self.task.context, **fields}
        task = new("task", "Go on.", source=ME, id=new_id(), **links)
        await self.store("task.second.general.5", task)
        return task

    async def write(self, task: AgentMessage, text: str) -> None:
        number = self.pieces[task.id]
        self.pieces[task.id] += 1
        delta = task.delta(text, number, turn=1, final=False, source=ME, run=f"r{task.id[:8]}")
        await self.bus.publish(self.subjects.stream(task.id), encode(delta))
        await self.bus.fence()

    async def end(self, task: AgentMessage, data: Any = "", *, success: bool = True) -> None:
        error = None if success else {"code": "failed", "message": "no"}
        content = {"success": success, "data": data if success else None, "error": error}
        domain = "first" if task is self.task else "second"
        result = task.reply("result", content, source=ME)
        await self.store(f"result.{domain}.general.{task.id}", result)

    async def fact(self, topic: str, content: Any = "x", **fields: Any) -> None:
        links: Any = {"correlation_id": self.task.id, "context": self.task.context, **fields}
        await self.store(topic, new("event", content, source=ME, **links))


class Reader:
    """A client. It keeps the pieces of each task, and forgets them at a restart."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.texts: dict[str, str] = {}
        self.place = ""
        self.last: WorkflowEvent | None = None
        self._stack = AsyncExitStack()

    async def open(self, flow: Flow, until: str = DONE, **options: Any) -> Reader:
        opened = workflow.opened(
            flow.bus, flow.subjects, flow.task.id, until=until, after=self.place, **options
        )
        self._events = await self._stack.enter_async_context(opened)
        return self

    async def close(self) -> None:
        await self._stack.aclose()

    async def next(self) -> WorkflowEvent:
        async with asyncio.timeout(PATIENCE):
            self.last = event = await anext(self._events)
        self.place = event.id or self.place
        if event.kind == "delta":
            self.texts[event.task] = self.texts.get(event.task, "") + event.text
        elif event.kind == "restart":
            self.texts.pop(event.task, None)
        else:
            self.shown.append(event.topic or event.kind)
        return event

    async def until(self, shown: str) -> WorkflowEvent:
        while shown not in ((event := await self.next()).topic, event.kind):
            pass
        return event

    async def until_text(self, task: AgentMessage, text: str) -> None:
        while self.texts.get(task.id) != text:
            await self.next()


@pytest.fixture
async def flow(bus: Bus, subjects: Subjects) -> Flow:
    return Flow(bus, subjects)


@pytest.fixture
async def readers() -> Any:
    opened: list[Reader] = []

    async def read(flow: Flow, **options: Any) -> Reader:
        reader = Reader()
        opened.append(reader)
        reader.place = options.pop("after", "")
        return await reader.open(flow, **options)

    yield read
    for each in opened:
        await each.close()


async def test_a_workflow_is_followed_to_its_end(flow: Flow, readers: Any) -> None:
    first = await flow.begin()
    reader = await readers(flow)
    await flow.write(first, "one ")
    await reader.until_text(first, "one ")
    await flow.write(first, "two")
    second = await flow.child()
    await flow.end(first, "one two")
    await reader.until("result.first.general")
    assert reader.texts[first.id] == "one two"
    await flow.write(second, "three")
    await reader.until_text(second, "three")
    await flow.fact("event.step.made")
    await flow.end(second, "three")
    await flow.fact("event.all.done", {"n": 1})
    end = await reader.until(DONE)
    assert reader.shown == [
        "result.first.general",
        "event.step.made",
        "result.second.general",
        "event.all.done",
    ]
    assert (end.kind, end.id) == ("end", "end")
    assert end.message
    assert end.message.payload.content == {"n": 1}
    with pytest.raises(StopAsyncIteration):
        await reader.next()


async def test_one_of_two_answers_is_streamed_and_then_the_other(flow: Flow, readers: Any) -> None:
    await flow.begin()
    await flow.end(flow.task, "")
    one, other = await flow.child(), await flow.child()
    reader = await readers(flow)
    await reader.until("result.first.general")
    await flow.write(other, "a")
    await reader.until_text(other, "a")
    await flow.write(one, "1")
    await flow.write(other, "b")
    await reader.until_text(other, "ab")
    assert one.id not in reader.texts
    await flow.write(other, "c")
    await flow.end(other, "abc")
    await reader.until("result.second.general")
    assert reader.texts == {other.id: "abc"}
    await flow.write(one, "2")
    await reader.until_text(one, "12")
    await flow.end(one, "12")
    await flow.fact("event.all.done")
    await reader.until(DONE)


async def test_a_reader_goes_on_from_every_place(flow: Flow, readers: Any) -> None:
    """As at another process: nothing is missing, and nothing comes twice."""
    first = await flow.begin()
    reader = await readers(flow)
    places: list[tuple[str, int, str]] = []

    def mark() -> None:
        places.append((reader.place, len(reader.shown), reader.texts.get(first.id, "")))

    await flow.write(first, "one ")
    await reader.until_text(first, "one ")
    mark()
    await flow.fact("event.step.made")
    await reader.until("event.step.made")
    mark()
    await flow.write(first, "two")
    await reader.until_text(first, "one two")
    mark()
    await flow.child()
    await flow.end(first, "one two")
    await reader.until("result.first.general")
    mark()
    open_ones = [await readers(flow, after=place) for place, _, _ in places]
    second = await flow.child()
    await flow.write(second, "three")
    for each in [reader, *open_ones]:
        await each.until_text(second, "three")
    await flow.end(second, "three")
    await flow.fact("event.all.done")
    await reader.until(DONE)
    late = [await readers(flow, after=place) for place, _, _ in places]
    for again in (open_ones, late):
        for each, (_, shown, text) in zip(again, places, strict=True):
            if each.last is None or each.last.kind != "end":
                await each.until(DONE)
            assert each.shown == reader.shown[shown:]
            assert text + each.texts.get(first.id, "") == "one two"


async def test_a_task_that_fails_ends_its_workflow(flow: Flow, readers: Any) -> None:
    await flow.begin()
    reader = await readers(flow)
    child = await flow.child()
    await flow.end(child, success=False)  # another agent may still go on
    await flow.end(flow.task, success=False)
    await reader.until("result.second.general")
    end = await reader.next()
    assert (end.kind, end.topic) == ("end", "result.first.general")
    late = await readers(flow)
    assert [(await late.next()).kind, (await late.next()).kind] == ["fact", "end"]


async def test_what_is_foreign_or_no_message_is_left_out(flow: Flow, readers: Any) -> None:
    await flow.begin()
    reader = await readers(flow)
    await flow.store("event.all.done", flow.task.id.encode())
    await flow.store("result.all.done.x", f'{{"correlationId": "{flow.task.id}"}}'.encode())
    await flow.fact("event.all.done", correlation_id=new_id())
    await flow.fact("event.all.done", context=Context(conversation_id=new_id()))
    await flow.fact("event.run.x", [flow.task.id])
    failed = {"success": False, "data": None, "error": {"code": "failed", "message": "no"}}
    foreign = encode(flow.task.reply("result", failed, source=ME))
    await flow.store(f"result.other.general.{flow.task.id}", foreign)
    stranger = encode(new("task", "x", source=ME, correlation_id=flow.task.id))
    await flow.store("task.second.general.5", stranger.replace(b'"task"', b'"tusk"'))
    await flow.fact("event.step.made")
    await flow.fact("event.all.done", "the real one")
    end = await reader.until(DONE)
    assert reader.shown == ["event.step.made", "event.all.done"]
    assert end.message
    assert end.message.payload.content == "the real one"


async def test_a_task_inside_a_workflow_is_followed(flow: Flow, readers: Any) -> None:
    first = await flow.begin()
    flow.task = await flow.child()
    reader = await readers(flow)
    await flow.fact("event.all.done", correlation_id=first.id)
    await reader.until(DONE)


async def test_what_waits_for_a_person_is_named(flow: Flow, readers: Any) -> None:
    await flow.begin()
    child = await flow.child()
    content = {
        "event": REQUESTED,
        "task": child.id,
        "agent": "payer",
        "life": 1,
        "turn": 2,
        "calls": [{"index": 0, "name": "refund", "arguments": {"amount": 5}}],
        "expires": "2099-01-01T00:00:00Z",
    }
    await flow.fact(f"event.approval.{child.id}", content)
    event = await (await readers(flow)).until("waiting")
    assert event.task == child.id
    assert event.request
    assert event.request.agent == "payer"


async def test_a_reader_that_nothing_wakes_looks_now_and_then(
    flow: Flow, readers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring can be lost. And a task that is sent later is not in the log yet."""
    listen = flow.bus.listen

    async def lossy(subject: str, listener: Any) -> Any:
        rings = subject.startswith("stored.")
        return await listen(subject, (lambda _: None) if rings else listener)

    monkeypatch.setattr(flow.bus, "listen", lossy)
    reader = await readers(flow, idle=0.05)
    await reader.until("idle")
    await flow.begin()
    await flow.fact("event.all.done")
    assert (await reader.until(DONE)).kind == "end"


@pytest.mark.parametrize("after", ["x", "1", "1-2.t", "1-2.t.x", "9-9", "result", "²-1", "1-1"])
async def test_a_place_is_checked(flow: Flow, readers: Any, after: str) -> None:
    await flow.begin()
    with pytest.raises(UsageError, match="no place in"):
        await readers(flow, after=after)


async def test_an_id_is_checked(bus: Bus, subjects: Subjects) -> None:
    with pytest.raises(SubjectError):
        async with workflow.opened(bus, subjects, "a.b", until=DONE):
            pass
