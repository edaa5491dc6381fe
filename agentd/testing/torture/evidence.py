"""Reads back, when everything is at rest, what a scenario has left on the server."""

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
    """When the model was called for each task. The stub's plan tells it."""

    def __init__(self) -> None:
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.total = 0

    @property
    def extra(self) -> int:
        """How many calls there were beyond one a task."""
        return self.total - len(self.times)

    def note(self, task: str, at: float) -> None:
        """One call for this task."""
        self.times[task].append(at)
        self.total += 1


async def collect(bus: Bus, subjects: Subjects, sender: Sender, calls: ModelCalls) -> Evidence:
    """Everything that the oracle judges by."""
    handing_out = await consumers(bus, WORK)
    return Evidence(
        tried=sender.drafts.keys(),
        accepted=sender.accepted.keys(),
        logged=await _tasks(bus, subjects),
        outcomes=await outcomes(bus, subjects),
        letters=await _letters(bus, subjects),
        calls=dict(calls.times),
        waiting=await work_waiting(bus),
        unacknowledged=sum(consumer["num_ack_pending"] for consumer in handing_out),
        deliveries=sum(consumer["delivered"]["consumer_seq"] for consumer in handing_out),
    )


async def work_waiting(bus: Bus) -> int:
    """How many tasks WORK holds, running ones too."""
    state = (await jetstream.api(bus, f"STREAM.INFO.{WORK}"))["state"]
    return int(state["messages"])


async def facts_waiting(bus: Bus) -> int:
    """How many facts some agent has still to hear of, or to be done with."""
    hearing = await consumers(bus, LOG)
    return sum(consumer["num_pending"] + consumer["num_ack_pending"] for consumer in hearing)


async def consumers(bus: Bus, stream: str) -> list[dict[str, Any]]:
    """What the server says of each consumer of a stream."""
    found: list[dict[str, Any]] = []
    while True:
        page = await jetstream.api(bus, f"CONSUMER.LIST.{stream}", {"offset": len(found)})
        found += page["consumers"] or []
        if len(found) >= page["total"] or not page["consumers"]:
            return found


async def outcomes(bus: Bus, subjects: Subjects) -> dict[str, list[SeenOutcome]]:
    """Every result in LOG, by its task."""
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
    """When the server stored a message that was read back, in seconds since the epoch."""
    # Nanoseconds, with trailing zeros cut off: more digits than `fromisoformat` takes.
    stamp = _header(msg, "Nats-Time-Stamp").removesuffix("Z")
    seconds, _, fraction = stamp.partition(".")
    return datetime.fromisoformat(f"{seconds}+00:00").timestamp() + float(f"0.{fraction or 0}")


async def _tasks(bus: Bus, subjects: Subjects) -> Counter[str]:
    """How often LOG holds each task. A copy that was sent on has another id: `{task}@{agent}`."""
    found: Counter[str] = Counter()
    async for msg in jetstream.stored(bus, LOG, subjects.pattern("task.>")):
        # The server gives no id to what it sends by a schedule.
        found[(_header(msg, "Nats-Msg-Id") or _header(msg, TASK)).partition(".")[0]] += 1
    return Counter({task: count for task, count in found.items() if "@" not in task})


async def _letters(bus: Bus, subjects: Subjects) -> dict[str, list[SeenDeadLetter]]:
    found: defaultdict[str, list[SeenDeadLetter]] = defaultdict(list)
    async for each in dead_letters.listed(bus, subjects):
        found[each.task_id].append(SeenDeadLetter(reason=each.reason, attempts=each.attempts))
    return dict(found)


def _header(msg: Msg, name: str) -> str:
    return str((msg.headers or {}).get(name, ""))
