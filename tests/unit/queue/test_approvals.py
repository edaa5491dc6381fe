"""A task that waits for approval is suspended once, and resumed once, with its decisions."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import Paused
from agentd.nats import jetstream, records, schedules
from agentd.nats.streams import LOG
from agentd.protocol.actor import Actor
from agentd.protocol.message import AgentIdentity, encode, new
from agentd.queue import approvals
from agentd.queue.approvals import Verdicts
from agentd.queue.decisions import MOST_REQUESTS, ApprovalRequest, read
from agentd.queue.delivery import LIFE, RESUMES, SENT_AGAIN, Delivery
from tests.unit.workbench import MANIFEST, TASK, Workbench, revision_of

COPY = {"Nats-Scheduler": "sched.dev.approval.t-1", "Nats-Schedule-Next": "purge"}
CALLS = [
    {"index": 0, "name": "mail", "arguments": {"to": "maria"}},
    {"index": 2, "name": "bank", "arguments": {}},
]


@dataclass
class Waiting:
    """A task whose run asks for approvals."""

    bench: Workbench

    async def suspend(
        self, turn: int = 1, *, timeout: float = 600.0, delivery: Delivery | None = None
    ) -> None:
        task = self.bench.task(delivery)
        services = self.bench.services
        await approvals.suspend(
            services.bus,
            services.subjects,
            task.message,
            task.delivery,
            Paused(turn, CALLS, timeout=timeout),
            source=task.source,
        )

    async def verdicts(self, delivery: Delivery) -> Verdicts:
        services = self.bench.services
        return await approvals.verdicts(services.bus, services.subjects, "t-1", delivery)

    async def requests(self) -> list[ApprovalRequest]:
        services = self.bench.services
        return await approvals.waiting(services.bus, services.subjects)

    async def decide(self, decision: str = "approve", *, by: str = "", **more: Any) -> None:
        [request] = await self.requests()
        services, chosen = self.bench.services, {"decision": decision, **more}
        await approvals.decide(
            services.bus, services.subjects, request, chosen, by=Actor("cli", by)
        )

    async def resume(self) -> bool:
        services = self.bench.services
        return await approvals.resume(services.bus, services.subjects, "t-1")

    def resumed(self, turn: int = 1) -> Delivery:
        """The delivery that resumes the task: the last message of its subject."""
        stored = self.bench.bus.streams[LOG].last(TASK)
        assert stored
        assert stored.headers[RESUMES] == str(turn)
        return self.bench.delivery(
            stored.data, headers=dict(stored.headers), sequence=stored.sequence
        )


@pytest.fixture
def waiting(tmp_path: Path) -> Waiting:
    return Waiting(Workbench(revision_of(tmp_path, MANIFEST)))


async def test_a_suspended_task_is_stored_with_its_request(waiting: Waiting) -> None:
    await waiting.suspend()
    [request] = await waiting.requests()
    assert (request.task, request.agent, request.life, request.turn) == ("t-1", "me", 7, 1)
    assert request.calls == CALLS
    services = waiting.bench.services
    entry = await schedules.find(services.bus, services.subjects.schedule("approval", "t-1"))
    assert entry
    assert (entry.target, entry.data) == (TASK, waiting.bench.delivery().data)
    assert entry.timing.moment == pytest.approx(request.expires, abs=0.001)
    assert (entry.headers[LIFE], entry.headers[RESUMES]) == ("7", "1")
    assert float(entry.headers[SENT_AGAIN]) == waiting.bench.now


async def test_a_request_expires_with_the_task(waiting: Waiting) -> None:
    body = {"payload": {"content": "x"}, "timestamp": 4e9, "routing": {"timeout": 1000}}
    await waiting.suspend(timeout=1e10, delivery=waiting.bench.delivery(body))
    [request] = await waiting.requests()
    assert request.expires == 4e9 + 1


async def test_a_second_replica_does_not_ask_again(waiting: Waiting) -> None:
    await waiting.suspend()
    await waiting.suspend(delivery=waiting.bench.delivery(attempt=2))
    assert len(waiting.bench.stored("event.approval.*")) == 1
    await waiting.suspend(turn=2)
    assert len(waiting.bench.stored("event.approval.*")) == 2


async def test_a_first_delivery_has_nothing_decided(waiting: Waiting) -> None:
    waiting.bench.bus.streams.clear()
    assert await waiting.verdicts(waiting.bench.delivery()) == Verdicts()


async def test_a_delivery_that_was_suspended_waits_for_the_one_that_resumes(
    waiting: Waiting,
) -> None:
    await waiting.suspend()
    with pytest.raises(Paused) as paused:
        await waiting.verdicts(waiting.bench.delivery(attempt=2))
    assert not paused.value.calls


async def test_a_task_is_resumed_when_every_call_is_decided(waiting: Waiting) -> None:
    await waiting.suspend()
    assert not await waiting.resume()
    await waiting.decide(calls=[0])
    assert not await waiting.resume()
    await waiting.decide("deny", calls=[2], by="maria", reason="too dear")
    assert await waiting.requests() == []
    assert await waiting.resume()
    verdicts = await waiting.verdicts(waiting.resumed())
    assert verdicts.turn == 1
    decided = {index: each and each.approve for index, each in verdicts.calls.items()}
    assert decided == {0: True, 2: False}
    refused = verdicts.calls[2]
    assert refused
    assert (refused.by, refused.reason) == ("maria", "too dear")


async def test_a_task_is_resumed_once(waiting: Waiting) -> None:
    await waiting.suspend()
    await waiting.decide()
    services = waiting.bench.services
    entry = await schedules.find(services.bus, services.subjects.schedule("approval", "t-1"))
    assert entry
    assert await waiting.resume()
    # The real server removes the schedule with the resuming message.
    await schedules.remove(services.bus, entry.subject)
    assert not await waiting.resume()


async def test_the_first_decision_on_a_call_counts(waiting: Waiting) -> None:
    await waiting.suspend()
    await waiting.decide("deny", calls=[0])
    await waiting.decide()
    assert await waiting.resume()
    verdicts = await waiting.verdicts(waiting.resumed())
    assert {index: each and each.approve for index, each in verdicts.calls.items()} == {
        0: False,
        2: True,
    }


async def test_calls_that_were_not_decided_in_time_have_no_decision(waiting: Waiting) -> None:
    await waiting.suspend()
    await waiting.decide(calls=[0])
    # The schedule is due: the server publishes its copy, and a decision after it comes too late.
    headers = {LIFE: "7", RESUMES: "1", **COPY}
    await waiting.bench.bus.request(TASK, waiting.bench.delivery().data, headers=headers)
    await waiting.decide(calls=[2])
    verdicts = await waiting.verdicts(waiting.resumed())
    assert {index: each is not None for index, each in verdicts.calls.items()} == {
        0: True,
        2: False,
    }


async def test_a_copy_that_was_due_before_the_request_waits_for_the_one_of_the_request(
    waiting: Waiting,
) -> None:
    """A process ended between the copy and the request; the copy was due before the next try."""
    headers = {LIFE: "7", RESUMES: "1", **COPY}
    early = waiting.bench.delivery(headers=headers, sequence=0)
    assert await waiting.verdicts(early) == Verdicts()  # nothing is decided: it asks again
    await waiting.suspend(delivery=early)
    [request] = await waiting.requests()
    with pytest.raises(Paused):
        await waiting.verdicts(early)
    # The copy of the request itself is due when the request expires, and denies what is undecided.
    late = dataclasses.replace(early, stored_at=request.expires)
    assert (await waiting.verdicts(late)).calls == {0: None, 2: None}


async def test_a_sender_cannot_resume_a_task_before_it_is_decided(waiting: Waiting) -> None:
    await waiting.suspend()
    forged = waiting.bench.delivery(headers={LIFE: "7", RESUMES: "1"}, sequence=99)
    assert await waiting.verdicts(forged) == Verdicts()  # a task of its own, without decisions


async def test_a_scheduled_decision_does_not_count(waiting: Waiting) -> None:
    """A schedule publishes with the rights of the server, not with those of who stored it."""
    await waiting.suspend()
    decision = {"type": "event", "payload": {"content": {"decision": "approve"}}}
    data = json.dumps(decision).encode()
    await waiting.bench.bus.request("due.dev.event.approval.t-1", data)
    assert len(waiting.bench.stored("event.approval.*")) == 2
    assert not await waiting.resume()
    await waiting.bench.bus.request("agents.dev.event.approval.t-1", data)
    assert await waiting.resume()


async def test_a_run_whose_requests_are_lost_starts_over(waiting: Waiting) -> None:
    resumed = waiting.bench.delivery(headers={LIFE: "3", RESUMES: "1", **COPY})
    assert await waiting.verdicts(resumed) == Verdicts()


async def test_a_run_may_be_suspended_again_in_a_later_turn(waiting: Waiting) -> None:
    await waiting.suspend()
    await waiting.decide()
    assert await waiting.resume()
    first = waiting.resumed()
    await waiting.suspend(turn=3, delivery=first)
    with pytest.raises(Paused):
        await waiting.verdicts(first)
    await waiting.decide("deny")
    assert await waiting.resume()
    verdicts = await waiting.verdicts(waiting.resumed(turn=3))
    assert (verdicts.turn, {each and each.approve for each in verdicts.calls.values()}) == (
        3,
        {False},
    )


async def test_the_edited_arguments_are_those_of_every_delivery(waiting: Waiting) -> None:
    """Another edit that is stored later changes nothing, also not after a crash."""
    await waiting.suspend()
    await waiting.decide("edit", arguments={"usd": 3}, calls=[0], by="eve")
    await waiting.decide("edit", arguments={"usd": 4}, calls=[0], by="bob")
    await waiting.decide(calls=[2])
    assert await waiting.resume()
    for attempt in (1, 2):
        verdicts = await waiting.verdicts(dataclasses.replace(waiting.resumed(), attempt=attempt))
        edit = verdicts.calls[0]
        assert edit
        assert (edit.arguments, edit.by) == ({"usd": 3}, "eve")


async def test_events_of_a_stranger_are_not_kept_and_cost_no_decision(tmp_path: Path) -> None:
    waiting = Waiting(Workbench(revision_of(tmp_path, MANIFEST)))
    await waiting.suspend()
    [first] = await waiting.requests()
    await waiting.decide("approve", calls=[0])
    bus, subject = waiting.bench.services.bus, "agents.dev.event.approval.t-1"
    for number in range(200):
        content = {"decision": "deny", "turn": 1, "calls": [number % 2 * 7]}
        data = encode(new("event", content, source=AgentIdentity(id="stranger")))
        await jetstream.store(bus, subject, data, message_id=f"s{number}")
    await waiting.decide("approve", calls=[2])
    dialogue = await read(bus, waiting.bench.services.subjects, "t-1")
    assert len(dialogue.decisions) == 2
    assert {index: each.approve for index, each in dialogue.verdicts(first).items()} == {
        0: True,
        2: True,
    }


async def test_of_many_requests_the_newest_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records.forget()
    waiting = Waiting(Workbench(revision_of(tmp_path, MANIFEST)))
    bus, subject = waiting.bench.services.bus, "agents.dev.event.approval.t-1"
    for turn in range(100):
        content = {
            "task": "t-1",
            "agent": "stranger",
            "life": 1,
            "turn": turn,
            "calls": [{"index": 0, "name": "x", "arguments": {}}],
            "expires": "2040-01-01T00:00:00+00:00",
        }
        data = encode(new("event", content, source=AgentIdentity(id="stranger")))
        await jetstream.store(bus, subject, data, message_id=f"s{turn}")
    await waiting.suspend()
    dialogue = await read(bus, waiting.bench.services.subjects, "t-1")
    assert len(dialogue.requests) == MOST_REQUESTS
    assert [each.agent for each in await waiting.requests()] == ["me"]
    assert "task t-1 has more than 64 requests" in caplog.text
