"""The journal of a task: which deliveries were attempts, and which steps of a run are known."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import BusError, TaskError
from agentd.nats import records
from agentd.nats.objects import fit
from agentd.nats.records import Room
from agentd.protocol.message import AgentIdentity, encode, new
from agentd.queue import journal
from agentd.queue.delivery import LIFE
from agentd.queue.journal import (
    ANSWERED,
    CALLED,
    ENTRY,
    FAILED,
    HANDED_BACK,
    MODEL_AWAITED,
    STARTED,
    TURN,
    Journal,
    Standing,
    delay_in,
)
from tests.unit.workbench import MANIFEST, Workbench, revision_of

SUBJECT = "agents.dev.event.run.t-1"


class Task:
    """A task and its journal, as each of its deliveries sees it."""

    def __init__(self, folder: Path) -> None:
        self.bench = Workbench(revision_of(folder, MANIFEST))

    def journal(self, attempt: int, **delivery: Any) -> Journal:
        """The journal of the delivery that the server counts so."""
        return self.bench.task(self.bench.delivery(attempt=attempt, **delivery)).journal

    async def stands(self, attempt: int, **delivery: Any) -> tuple[int, bool]:
        """Which attempt this delivery is, and whether the task is a suspect."""
        standing = await self.journal(attempt, **delivery).read()
        return standing.attempt, standing.suspect


async def test_the_first_delivery_is_the_first_attempt_and_reads_nothing(tmp_path: Path) -> None:
    task = Task(tmp_path)
    task.bench.bus.streams.clear()
    assert await task.journal(1).read() == Standing(1, suspect=False)


async def test_each_delivery_that_failed_was_an_attempt(tmp_path: Path) -> None:
    task = Task(tmp_path)
    for number in (1, 2):
        await task.journal(number).note(FAILED)
    assert await task.stands(3) == (3, False)


async def test_a_delivery_that_was_handed_back_was_no_attempt(tmp_path: Path) -> None:
    task = Task(tmp_path)
    await task.journal(1).note(HANDED_BACK)
    await task.journal(2).note(FAILED)
    await task.journal(3).note(STARTED)
    await task.journal(3).note(HANDED_BACK)
    assert await task.stands(4) == (2, False)


async def test_deliveries_without_an_entry_count_as_one_attempt_of_a_suspect(
    tmp_path: Path,
) -> None:
    task = Task(tmp_path)
    assert await task.stands(2) == (2, True)
    assert await task.stands(5) == (2, True)
    await task.journal(1).note(FAILED)
    assert await task.stands(2) == (2, False)
    assert await task.stands(5) == (3, True)


async def test_a_delivery_that_began_as_a_suspects_counts_on_its_own(tmp_path: Path) -> None:
    task = Task(tmp_path)
    for number in (2, 3):
        await task.journal(number).note(STARTED)
    # The first one ended without an entry.
    assert await task.stands(4) == (4, True)


async def test_entries_of_a_delivery_are_stored_once(tmp_path: Path) -> None:
    task = Task(tmp_path)
    for mark in ("", "", "a", "b"):
        await task.journal(1).note(FAILED, mark=mark, error="x")
    entries = [message.payload.content for message in task.bench.stored("event.run.*")]
    assert len(entries) == 3
    assert entries[0] == {
        "event": FAILED,
        "task": "t-1",
        "life": 7,
        "taskSequence": 7,
        "delivery": 1,
        "error": "x",
    }


async def test_the_steps_of_a_run_are_known_to_its_next_attempt(tmp_path: Path) -> None:
    task = Task(tmp_path)
    journal = task.journal(1)
    await journal.step(TURN, 1, completion={"text": "x"})
    await journal.step(CALLED, 1, 0, name="mail")
    await journal.step(ANSWERED, 1, 2, text="sent", error=False)
    steps = (await task.journal(2).read()).steps
    assert steps.keys() == {(TURN, 1, 0), (CALLED, 1, 0), (ANSWERED, 1, 2)}
    assert steps[TURN, 1, 0]["completion"] == {"text": "x"}
    assert steps[ANSWERED, 1, 2]["text"] == "sent"


async def test_the_first_entry_of_a_step_counts(tmp_path: Path) -> None:
    task = Task(tmp_path)
    await task.journal(1).step(TURN, 1, completion={"text": "first"})
    await task.journal(2).step(TURN, 1, completion={"text": "second"})
    assert (await task.journal(3).read()).steps[TURN, 1, 0]["completion"] == {"text": "first"}


async def test_a_task_that_was_sent_again_has_an_empty_journal(tmp_path: Path) -> None:
    task = Task(tmp_path)
    await task.journal(1).note(FAILED)
    await task.journal(1).step(TURN, 1, completion={"text": "x"})
    again = await task.journal(2, sequence=99).read()
    assert (again.attempt, again.steps) == (2, {})


async def test_a_resumed_run_knows_its_steps_and_counts_its_own_deliveries(tmp_path: Path) -> None:
    task = Task(tmp_path)
    await task.journal(1).note(FAILED)
    await task.journal(2).step(TURN, 1, completion={"text": "x"})
    resumed = {"sequence": 99, "headers": {LIFE: "7", "Nats-Scheduler": "sched.dev.approval.t-1"}}
    standing = await task.journal(1, **resumed).read()
    assert (standing.attempt, standing.suspect) == (1, False)
    assert standing.steps.keys() == {(TURN, 1, 0)}
    await task.journal(1, **resumed).note(FAILED)
    assert await task.stands(2, **resumed) == (2, False)


async def test_failed_attempts_and_steps_say_how_much_time_is_used(tmp_path: Path) -> None:
    task, error = Task(tmp_path), TaskError("busy", code="any")
    journal = task.journal(1)
    await journal.step(TURN, 1, completion="x")
    assert (await task.journal(2).read()).used == pytest.approx(0, abs=1)
    await journal.ended(error, 30.0, counted=30.0)
    assert (await task.journal(2).read()).used == pytest.approx(30, abs=1)
    second = task.journal(2)
    await second.read()
    await second.ended(error, 30.0, counted=0.0)
    third = task.journal(3)
    assert (await third.read()).used == pytest.approx(30, abs=1)
    await third.ended(error, 500.0, counted=None)
    assert await task.stands(4) == (3, False)
    assert (await task.journal(4).read()).used == pytest.approx(30, abs=1)
    entry = task.bench.stored("event.run.*")[1].payload.content
    assert (entry["error"], entry["delay"]) == ({"code": "any", "message": "busy"}, 30.0)


@pytest.mark.parametrize("used", [-5, "9", None, float("inf"), [1]])
async def test_a_foreign_number_of_seconds_is_none(tmp_path: Path, used: Any) -> None:
    task = Task(tmp_path)
    await task.journal(1).note(FAILED, used=used)
    assert (await task.journal(2).read()).used == 0


async def test_what_other_clients_publish_there_is_ignored(tmp_path: Path) -> None:
    task = Task(tmp_path)
    await task.journal(1).note(FAILED)
    contents: list[Any] = ["text", None, {"event": FAILED}, {"event": "other", "life": 7}]
    for content in contents:
        message = new("event", content, source=AgentIdentity(id="stranger"))
        await task.bench.bus.request(SUBJECT, encode(message))
    await task.bench.bus.request(SUBJECT, b"garbage")
    assert await task.stands(2) == (2, False)


async def test_a_step_is_found_behind_the_entries_of_a_stranger(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.forget()
    monkeypatch.setattr(journal, "Room", partial(Room, records=50))
    task = Task(tmp_path)
    await write_steps(task, number=90)
    await task.journal(1).step(TURN, 100, completion={"text": "x"})
    standing = await task.journal(2).read()
    # Otherwise the run would repeat it.
    assert standing.steps[TURN, 100, 0]["completion"] == {"text": "x"}
    assert len(standing.steps) == 51
    assert "there are more records, or larger ones, than agentd reads here" in caplog.text


async def write_steps(task: Task, *, number: int, text: str = "") -> None:
    """Writes entries as another client of NATS, which has seen an own one, but not its id."""
    for turn in range(1, number + 1):
        completion = {"text": text}
        content = {"event": TURN, "life": 7, "turn": turn, "index": 0, "completion": completion}
        message = new("event", content, source=AgentIdentity(id="stranger"))
        data = await fit(task.bench.services.bus, message)
        mark = {ENTRY: f"t-1.turn.7.7.{turn}.0", "Nats-Msg-Id": f"guessed-{turn}"}
        await task.bench.bus.publish(SUBJECT, data, headers=mark)


@pytest.mark.parametrize("size", [90_000, 2_000_000])
async def test_large_entries_of_a_stranger_take_more_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(journal, "Room", partial(Room, size=4 * size))
    task = Task(tmp_path)
    await write_steps(task, number=6, text="x" * size)
    assert len((await task.journal(2).read()).steps) == 3


async def test_an_entry_that_is_not_stored_is_an_error(tmp_path: Path) -> None:
    task = Task(tmp_path)
    task.bench.bus.streams.clear()
    with pytest.raises(BusError):
        await task.journal(1).note(FAILED, patience=0.01)


ERROR = {"code": "model_overloaded", "message": "busy"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"event": MODEL_AWAITED, "reason": "no connection"}, "waiting: no connection"),
        (
            {"event": FAILED, "error": ERROR, "delay": 2.51},
            "an attempt failed, the next one begins in 2.5 s: model_overloaded: busy",
        ),
        (
            {"event": HANDED_BACK, "error": ERROR, "delay": 20},
            "no attempt was possible, the next one begins in 20.0 s: model_overloaded: busy",
        ),
        ({"event": HANDED_BACK}, None),
        ({"event": FAILED, "error": "x", "delay": 1}, None),
        ({"event": MODEL_AWAITED, "reason": 5}, None),
        ({"event": TURN}, None),
        ("text", None),
        (None, None),
    ],
)
def test_an_entry_that_says_why_an_answer_takes_longer(content: Any, text: str | None) -> None:
    assert delay_in(content) == text


def test_a_reason_is_not_longer_than_a_person_reads() -> None:
    assert len(delay_in({"event": MODEL_AWAITED, "reason": "x" * 10**6}) or "") == 1000
