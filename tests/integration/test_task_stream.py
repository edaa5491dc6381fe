"""The stream of a task, for readers that come late, come back, or lose their connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentd.agent.stream import Deltas
from agentd.errors import SubjectError, UsageError
from agentd.nats import jetstream, streams
from agentd.nats.bus import Bus
from agentd.nats.streams import CHUNKS
from agentd.protocol.message import AgentIdentity, AgentMessage, encode, new, new_id
from agentd.protocol.subjects import Subjects
from agentd.routing import stream
from agentd.routing.stream import StreamEvent
from agentd.settings import Settings
from tests.waiting import PATIENCE

ME = AgentIdentity(id="me", type="agent")


class Answer:
    """A task whose answer the test writes: the agent's side."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self.bus = bus
        self.subjects = subjects
        self.task = new("task", "hi", source=AgentIdentity(id="you"))
        self.id = self.task.id
        self.run = new_id()
        self.number = 0

    async def write(self, text: str, *, final: bool = False, lost: bool = False) -> str:
        delta = self.task.delta(text, self.number, turn=1, final=final, source=ME, run=self.run)
        self.number += 1
        if not lost:
            await self.bus.publish(self.subjects.stream(self.id), encode(delta))
            await self.bus.fence()
        return delta.id

    def again(self) -> None:
        self.run, self.number = new_id(), 0

    async def end(self, data: Any, **content: Any) -> AgentMessage:
        body = {"success": True, "data": data, "error": None, **content}
        result = self.task.reply("result", body, source=ME)
        subject = self.subjects.result("analysis", "x", self.id)
        await jetstream.store(self.bus, subject, encode(result), message_id=new_id())
        return result


class Reader:
    """A client: it keeps the pieces, and forgets them at a restart."""

    def __init__(self, events: AsyncIterator[StreamEvent]) -> None:
        self._events = events
        self.kinds: list[str] = []
        self.text = ""
        self.place = ""
        self.last: StreamEvent | None = None

    async def next(self) -> StreamEvent:
        async with asyncio.timeout(PATIENCE):
            self.last = event = await anext(self._events)
        self.kinds.append(event.kind)
        self.place = event.id or self.place
        match event.kind:
            case "delta":
                self.text += event.text
            case "restart":
                self.text = ""
            case _:
                pass
        return event

    async def until(self, kind: str) -> StreamEvent:
        while (event := await self.next()).kind != kind:
            pass
        return event

    async def until_text(self, text: str) -> None:
        while self.text != text:
            await self.next()


@pytest.fixture
def answer(bus: Bus, subjects: Subjects) -> Answer:
    return Answer(bus, subjects)


def reading(answer: Answer, after: str = "", idle: float = 15.0) -> Reader:
    return Reader(stream.events(answer.bus, answer.subjects, answer.id, after=after, idle=idle))


async def test_a_reader_gets_the_pieces_and_last_the_result(answer: Answer) -> None:
    reader = reading(answer)
    await answer.write("One ")
    await reader.until_text("One ")
    await answer.write("two.", final=True)
    await answer.end("One two.")
    event = await reader.until("result")
    assert reader.text == "One two."
    assert event.message
    assert event.message.payload.content["data"] == "One two."
    assert reader.kinds == ["delta", "delta", "result"]
    with pytest.raises(StopAsyncIteration):
        await reader.next()


async def test_a_reader_that_comes_back_gets_what_it_missed_and_nothing_twice(
    answer: Answer,
) -> None:
    first = reading(answer)
    await answer.write("One ")
    await first.until_text("One ")
    await answer.write("two ")
    await answer.write("three ")
    second = reading(answer, after=first.place)
    second.text = first.text
    await second.until_text("One two three ")
    await answer.write("four.", final=True)
    await answer.end("One two three four.")
    await second.until("result")
    assert second.text == "One two three four."
    assert "restart" not in second.kinds


async def test_a_late_reader_gets_only_the_run_that_lives(answer: Answer) -> None:
    await answer.write("A wrong beginn")
    answer.again()
    await answer.write("One ")
    await answer.write("two.", final=True)
    reader = reading(answer)
    await reader.until_text("One two.")
    assert reader.kinds == ["delta", "delta"]


async def test_a_repeated_run_restarts_the_answer(answer: Answer) -> None:
    reader = reading(answer)
    await answer.write("One ")
    await reader.until_text("One ")
    answer.again()
    await answer.write("Uno ")
    await reader.until_text("Uno ")
    assert reader.kinds == ["delta", "restart", "delta"]


async def test_a_restart_that_a_reader_missed_is_still_one(answer: Answer) -> None:
    first = reading(answer)
    await answer.write("One ")
    await answer.write("two ")
    await first.until_text("One two ")
    answer.again()
    await answer.write("Uno ")
    second = reading(answer, after=first.place)
    second.text = first.text
    await second.until_text("Uno ")
    assert second.kinds == ["restart", "delta"]


async def test_two_runs_at_once_are_not_mixed(answer: Answer) -> None:
    other = Answer(answer.bus, answer.subjects)
    other.task, other.id = answer.task, answer.id
    reader = reading(answer)
    await answer.write("One ")
    await reader.until_text("One ")
    await other.write("Uno ")
    await answer.write("two ")
    await other.write("due.")
    await answer.write("three.", final=True)
    await other.end("Uno due.")
    await reader.until("result")
    assert reader.text == "Uno due."


async def test_after_the_end_there_is_only_the_result(answer: Answer) -> None:
    await answer.write("One.", final=True)
    await answer.end("One.")
    reader = reading(answer)
    assert (await reader.next()).kind == "result"


async def test_a_reader_that_was_away_at_the_end_gets_the_rest(answer: Answer) -> None:
    place = await answer.write("One ")
    await answer.write("two.", final=True)
    await answer.end("One two.")
    reader = reading(answer, after=place)
    await reader.until("result")
    assert (reader.text, reader.kinds) == ("two.", ["delta", "result"])


async def test_pieces_that_nobody_has_cost_a_restart(answer: Answer) -> None:
    reader = reading(answer)
    await answer.write("One ")
    await reader.until_text("One ")
    await answer.write("two ", lost=True)
    await answer.write("three.", final=True)
    await reader.until("restart")
    await answer.end("One two three.")
    await reader.until("result")
    assert (reader.text, reader.kinds) == ("", ["delta", "restart", "result"])


async def test_a_lost_end_comes_from_the_result(answer: Answer) -> None:
    reader = reading(answer)
    await answer.write("One ")
    await reader.until_text("One ")
    await answer.end("One two.")
    await reader.until("result")
    assert reader.text == "One two."
    assert reader.kinds == ["delta", "delta", "result"]
    again = reading(answer, after=reader.place if reader.place != "result" else "")
    await again.until("result")


async def test_pieces_without_their_beginning_are_left_out(answer: Answer) -> None:
    await answer.write("One ", lost=True)
    await answer.write("two ")
    reader = reading(answer)
    await answer.write("three.", final=True)
    await answer.end("One two three.")
    await reader.until("result")
    assert reader.kinds == ["result"]


async def test_a_place_that_the_record_has_lost_goes_on_with_the_next_piece(
    answer: Answer,
) -> None:
    place = await answer.write("One ", lost=True)
    reader = reading(answer, after=place, idle=0.05)
    await reader.until("idle")  # it has looked
    await answer.write("two.", final=True)
    await reader.until_text("two.")
    assert "restart" not in reader.kinds


async def test_garbage_on_the_subjects_of_a_task_costs_a_warning(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    bus, subjects = answer.bus, answer.subjects
    junk = [b"", b"\xff", b"[]", json.dumps({"type": "stream", "payload": {"chunk": 1}}).encode()]
    for data in junk:
        await bus.publish(subjects.stream(answer.id), data)
    reader = reading(answer)
    await answer.write("One ")
    await reader.until_text("One ")
    for data in junk:
        await bus.publish(subjects.stream(answer.id), data)
        await bus.publish(subjects.event("run", answer.id), data)
        await bus.request(subjects.result("analysis", "zzz", answer.id), data)
    await answer.write("two.", final=True)
    await answer.end("One two.")
    await bus.request(subjects.result("analysis", "zzz", answer.id), b"junk")
    await reader.until("result")
    assert reader.text == "One two."
    late = reading(answer)
    await late.until("result")
    assert "is skipped" in caplog.text


async def test_deltas_of_a_sender_that_names_no_run(answer: Answer) -> None:
    """Any program may be an agent: its ids are its own."""

    async def write(number: int, text: str) -> None:
        body = {"payload": {"sequenceNumber": number, "chunk": text}}
        await answer.bus.publish(answer.subjects.stream(answer.id), json.dumps(body).encode())
        await answer.bus.fence()

    await write(0, "One ")
    reader = reading(answer)
    await reader.until_text("One ")
    await write(1, "two ")
    await reader.until_text("One two ")
    again = reading(answer, after=reader.place)
    await write(2, "three ")
    await again.until_text("three ")
    await write(0, "Uno ")
    await reader.until_text("Uno ")
    assert reader.kinds == ["delta", "delta", "delta", "restart", "delta"]


async def test_a_slow_reader_costs_no_memory_and_loses_nothing(answer: Answer) -> None:
    async with stream.opened(answer.bus, answer.subjects, answer.id) as events:
        reader = Reader(events)
        words = [f"{i} " for i in range(1500)]
        for word in words:
            delta = answer.task.delta(
                word, answer.number, turn=1, final=False, source=ME, run=answer.run
            )
            answer.number += 1
            await answer.bus.publish(answer.subjects.stream(answer.id), encode(delta))
        await answer.bus.fence()
        await answer.end("".join(words))
        await reader.until("result")
    assert reader.text == "".join(words)
    assert "restart" not in reader.kinds


async def test_a_result_that_was_missed_is_found(answer: Answer) -> None:
    reader = reading(answer, idle=0.1)
    await reader.until("idle")
    # Not published to subscribers: core NATS lost it.
    await answer.end("late")
    await reader.until("result")


async def test_what_agentd_itself_streams_has_a_place(answer: Answer) -> None:
    reader = reading(answer)
    deltas = Deltas(
        answer.bus, answer.subjects.stream(answer.id), task=answer.task, source=ME, headers={}
    )
    deltas.push("A call")
    await reader.until_text("A call")
    deltas.restart()
    deltas.push("One.")
    await deltas.finish()
    await reader.until_text("One.")
    assert reader.kinds == ["delta", "restart", "delta"]
    await answer.end("One.")
    await reader.until("result")


@pytest.mark.parametrize("after", ["x", "-", "a b-1", "r-1x", "r-99999999999", "é-1"])
async def test_a_place_is_checked(answer: Answer, after: str) -> None:
    with pytest.raises(UsageError, match="no place in a stream"):
        await reading(answer, after=after).next()


async def test_an_id_is_checked(bus: Bus, subjects: Subjects) -> None:
    with pytest.raises(SubjectError):
        await anext(stream.events(bus, subjects, "a.b"))


@pytest.fixture
async def no_chunks(bus: Bus) -> AsyncIterator[None]:
    await jetstream.api(bus, f"STREAM.DELETE.{CHUNKS}")
    yield
    await streams.heal(bus, Settings())


@pytest.mark.usefixtures("no_chunks")
async def test_it_works_without_the_record_of_deltas(answer: Answer) -> None:
    """A small account has no AGENTD_CHUNKS."""
    reader = reading(answer, idle=0.05)
    await reader.until("idle")
    await answer.write("One ")
    await reader.until_text("One ")
    again = reading(answer, after=reader.place, idle=0.05)
    again.text = reader.text
    late = reading(answer, idle=0.05)
    await late.until("idle")
    await answer.write("two ")
    await again.until("idle")  # it cannot know of that piece
    await answer.write("three.", final=True)
    await answer.end("One two three.")
    for each, text in ((reader, "One two three."), (again, ""), (late, "")):
        await each.until("result")
        assert each.text == text
    assert "restart" in again.kinds
    assert "restart" not in reader.kinds + late.kinds
