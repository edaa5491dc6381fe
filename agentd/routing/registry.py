"""The agents online: one entry per agent and process, in a bucket whose entries expire."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from agentd.errors import DecodeError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.records import Newest, Room, skipping
from agentd.nats.streams import AGENTS, LOG
from agentd.protocol.message import decode
from agentd.protocol.server_subjects import bucket
from agentd.protocol.shape import Shape
from agentd.protocol.subjects import Subjects

# An entry expires after so many heartbeats without a refresh.
BEATS_TO_LIVE = 3

_LARGEST = 256 * 1024  # bytes of an entry
_REMOVED_TTL = "1h"  # how long the bucket keeps the marker of a removed entry
# Seconds that agents get to reconnect to a restarted server, and between two reads of the bucket.
_PATIENCE, _PAUSE = 2.0, 0.05


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One agent in one process, as that process describes it.

    Attributes:
        refused: the problems of its last edit if that was refused, as text.
        p50: the median latency of its tasks, in milliseconds; None before the first task.
        tokens, cost: what its model calls have used (USD); None if that of one call is unknown.
        started: when the process started, in seconds since the epoch.
        seen: when this entry was written, in seconds since the epoch.
        state: `ready`, or in plain words why it is not.
        restarts: how often it was restarted after a bug.
        file: the path of its manifest on its host.
        cut: how many of its answers were cut off.
        structured: its answers are JSON values, because it has an `output`.
        accepts: the JSON Schema of the content that it takes; None if it takes anything.
    """

    agent: str
    instance: str
    host: str
    pid: int
    capabilities: list[str]
    model: str
    mock: bool
    revision: str
    refused: list[str]
    done: int
    failed: int
    in_flight: int
    concurrency: int
    p50: float | None
    tokens: int | None
    cost: float | None
    started: float
    seen: float
    description: str = ""
    state: str = "ready"
    restarts: int = 0
    file: str = ""
    cut: int = 0
    structured: bool = False
    accepts: dict[str, Any] | None = None


_entry: Shape[Replica] = Shape(Replica, most=_LARGEST)


def key(env: str, agent: str, instance: str) -> str:
    """The subject of an entry."""
    return bucket(AGENTS, env, agent, instance)


async def announce(
    bus: Bus, env: str, replica: Replica, *, heartbeat: float, wait: bool = False
) -> None:
    """Writes an entry that expires after `BEATS_TO_LIVE` times `heartbeat` seconds.

    With `wait` it is stored, and so visible to every reader, when this returns.

    Raises:
        BusError: there is no connection.
    """
    subject, data = key(env, replica.agent, replica.instance), json.dumps(asdict(replica)).encode()
    headers = {"Nats-TTL": f"{max(1, round(heartbeat * BEATS_TO_LIVE))}s"}
    if wait:
        await bus.request(subject, data, headers=headers)
    else:
        await bus.publish(subject, data, headers=headers)


async def withdraw(bus: Bus, env: str, agent: str, instance: str) -> None:
    """Removes an entry.

    Raises:
        BusError: there is no connection.
    """
    headers = {"KV-Operation": "DEL", "Nats-TTL": _REMOVED_TTL}
    await bus.publish(key(env, agent, instance), b"", headers=headers)


async def online(bus: Bus, env: str) -> list[Replica]:
    """Every entry of an environment.

    The bucket is in memory, so a server that was just restarted has none. In that case this waits a
    moment for the processes whose last heartbeat is still in the log: they are reconnecting.

    Raises:
        BusError: the bucket does not answer.
    """
    found = await _entries(bus, env)
    if not found and (expected := await _recently_online(bus, env)):
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while not expected <= found.keys() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_PAUSE)
            found = await _entries(bus, env)
    return [replica for replicas in found.values() for replica in replicas]


async def _entries(bus: Bus, env: str) -> dict[str, list[Replica]]:
    """The entries by instance; an empty list for an instance that has removed its own."""
    found: defaultdict[str, list[Replica]] = defaultdict(list)
    newest = Newest(AGENTS)
    async for msg in jetstream.stored(bus, AGENTS, bucket(AGENTS, env, ">")):
        newest.add(msg)
    for msg in newest:
        with skipping(AGENTS, msg):
            subject = str((msg.headers or {})["Nats-Subject"])
            replicas = found[subject.rpartition(".")[2]]
            if msg.data:  # a removed key leaves an empty marker
                replica = _entry.parse(msg.data)
                if key(env, replica.agent, replica.instance) != subject:
                    raise DecodeError(f"it describes {replica.agent!r}, and has another key")
                replicas.append(replica)
    return found


async def _recently_online(bus: Bus, env: str) -> set[str]:
    """The instances whose heartbeat the log still has. A heartbeat expires when an entry does."""
    heartbeats = jetstream.stored(bus, LOG, Subjects(env).event("status", "heartbeat"))
    found: set[str] = set()
    room = Room()
    async for msg in heartbeats:
        with skipping(LOG, msg):
            room.take(len(msg.data))
            content = decode(msg.data).payload.content
            if isinstance(content, dict):
                found.add(str(content.get("instance")))
    return found


def by_agent(replicas: Iterable[Replica]) -> list[dict[str, Any]]:
    """One object per agent with the sums over its replicas, sorted by name: `agentd ps --json`."""
    groups: defaultdict[str, list[Replica]] = defaultdict(list)
    for replica in replicas:
        groups[replica.agent].append(replica)
    return [_summary(name, group) for name, group in sorted(groups.items())]


def _summary(name: str, group: list[Replica]) -> dict[str, Any]:
    newest = max(group, key=lambda replica: replica.seen)
    latencies = [replica.p50 for replica in group if replica.p50 is not None]
    costs, tokens = [replica.cost for replica in group], [replica.tokens for replica in group]
    return {
        "agent": name,
        "description": newest.description,
        "capabilities": sorted({c for replica in group for c in replica.capabilities}),
        "accepts": newest.accepts,
        "replicas": len(group),
        "model": newest.model,
        "mock": newest.mock,
        "revision": newest.revision,
        "revisions": sorted({replica.revision for replica in group}),
        "refused": sorted({problem for replica in group for problem in replica.refused}),
        "state": next((r.state for r in group if r.state != "ready"), "ready"),
        "restarts": sum(replica.restarts for replica in group),
        "done": sum(replica.done for replica in group),
        "failed": sum(replica.failed for replica in group),
        "cut": sum(replica.cut for replica in group),
        "in_flight": sum(replica.in_flight for replica in group),
        "concurrency": sum(replica.concurrency for replica in group),
        "p50": round(median(latencies), 1) if latencies else None,
        "tokens": None if None in tokens else sum(count for count in tokens if count is not None),
        "cost": None if None in costs else sum(cost for cost in costs if cost is not None),
        "instances": [
            {"instance": r.instance, "host": r.host, "pid": r.pid, "revision": r.revision}
            for r in sorted(group, key=lambda replica: replica.started)
        ],
    }
