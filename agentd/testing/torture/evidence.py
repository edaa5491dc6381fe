"""Reads from the server what a scenario has left there: tasks, results, dead letters."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import LOG, WORK
from agentd.protocol.subjects import Subject, Subjects
from agentd.queue import dead_letters
from agentd.queue.delivery import TASK
from agentd.testing.torture.oracle import Evidence, SeenDeadLetter, SeenOutcome
from agentd.testing.torture.sender import Sender


class ModelCalls:
    """The times of the model calls of each task, recorded by the plan of the stub model."""

    def __init__(self) -> None:
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.total = 0

    @property
    def extra(self) -> int:
        """How many calls were made beyond one for each task."""
        return self.total - len(self.times)

    def record(self, task: str, at: float) -> None:
        """Adds a call for this task, at a time in seconds since the epoch."""
        self.times[task].append(at)
        self.total += 1


async def collect(bus: Bus, subjects: Subjects, sender: Sender, calls: ModelCalls) -> Evidence:
    """Reads everything that the oracle needs. Nothing may run meanwhile."""
    work_consumers = await consumers(bus, WORK)
    return Evidence(
        tried=sender.drafts.keys(),
        accepted=sender.accepted.keys(),
        logged=await _tasks(bus, subjects),
        outcomes=await outcomes(bus, subjects),
        dead_letters=await _dead_letters(bus, subjects),
        calls=dict(calls.times),
        waiting=await work_waiting(bus),
        unacknowledged=sum(consumer["num_ack_pending"] for consumer in work_consumers),
        deliveries=sum(consumer["delivered"]["consumer_seq"] for consumer in work_consumers),
    )


async def work_waiting(bus: Bus) -> int:
    """How many tasks the work queue holds. Running tasks count too."""
    state = (await jetstream.api(bus, f"STREAM.INFO.{WORK}"))["state"]
    return int(state["messages"])


async def facts_waiting(bus: Bus) -> int:
    """How many facts are still to be delivered to an agent, or to be settled by it."""
    fact_consumers = await consumers(bus, LOG)
    return sum(each["num_pending"] + each["num_ack_pending"] for each in fact_consumers)


async def consumers(bus: Bus, stream: str) -> list[dict[str, Any]]:
    """The consumer infos of a stream. The server sends them in pages."""
    found: list[dict[str, Any]] = []
    while True:
        page = await jetstream.api(bus, f"CONSUMER.LIST.{stream}", {"offset": len(found)})
        found += page["consumers"] or []
        if len(found) >= page["total"] or not page["consumers"]:
            return found


async def outcomes(bus: Bus, subjects: Subjects) -> dict[str, list[SeenOutcome]]:
    """The results in the log, by task, in the order of the log."""
    found: defaultdict[str, list[SeenOutcome]] = defaultdict(list)
    async for msg in jetstream.stored(bus, LOG, subjects.pattern("result.>")):
        task = Subject.parse(_header(msg, "Nats-Subject")).task_id
        content = json.loads(msg.data)["payload"]["content"]
        error: Mapping[str, Any] = content["error"] or {}
        found[str(task)].append(
            SeenOutcome(
                at=stored_at(msg),
                success=content["success"],
                code=error.get("code"),
                revision=content["revision"],
            )
        )
    return dict(found)


def stored_at(msg: Msg) -> float:
    """When the server stored a message, in seconds since the epoch."""
    return datetime.fromisoformat(_header(msg, "Nats-Time-Stamp")).timestamp()


async def _tasks(bus: Bus, subjects: Subjects) -> Counter[str]:
    """How often the log holds each task that was sent. Forwarded copies, whose ids have an `@`, do
    not count."""
    found: Counter[str] = Counter()
    async for msg in jetstream.stored(bus, LOG, subjects.pattern("task.>")):
        # What a schedule publishes has no Nats-Msg-Id, and what an agent emits has neither. A door
        # derives no message id from the task's.
        message_id, name = _header(msg, "Nats-Msg-Id"), _header(msg, TASK)
        if message_id and not name:
            name = str(json.loads(msg.data).get("id"))
        if name and "@" not in message_id:
            found[name] += 1
    return found


async def _dead_letters(bus: Bus, subjects: Subjects) -> dict[str, list[SeenDeadLetter]]:
    found: defaultdict[str, list[SeenDeadLetter]] = defaultdict(list)
    async for each in dead_letters.listed(bus, subjects):
        found[each.task_id].append(SeenDeadLetter(reason=each.reason, attempts=each.attempts))
    return dict(found)


def _header(msg: Msg, name: str) -> str:
    return str((msg.headers or {}).get(name, ""))
