"""Who is online: one entry for each agent of each process, in a bucket that forgets the dead."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any

from agentd.errors import DecodeError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import AGENTS, LOG
from agentd.protocol.message import decode
from agentd.protocol.server_subjects import bucket
from agentd.protocol.subjects import Subjects

# An entry outlives so many missed signs of life.
BEATS_TO_LIVE = 3

_GONE = "1h"  # how long it is remembered that an agent has left
# Seconds for which agents may be on their way back to a server that was started again.
_PATIENCE, _LOOK = 2.0, 0.05


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One agent in one process, as it describes itself.

    `p50` is in milliseconds and `cost` in USD, None where unknown; `refused` holds the problems of
    an edit that was not taken, as text; `state` is `ready` or what is the matter; `seen` is when it
    said so, in seconds since the epoch.
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
    tokens: int
    cost: float | None
    started: float
    seen: float
    description: str = ""
    state: str = "ready"
    restarts: int = 0


_FIELDS = frozenset(field.name for field in fields(Replica))


def key(env: str, agent: str, instance: str) -> str:
    """The subject of an entry in the bucket."""
    return bucket(AGENTS, env, agent, instance)


async def announce(
    bus: Bus, env: str, replica: Replica, *, heartbeat: float, wait: bool = False
) -> None:
    """Puts an entry that lives for `BEATS_TO_LIVE` heartbeats (seconds).

    With `wait` it is there for every reader when this returns.

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
    """Removes an entry at once."""
    headers = {"KV-Operation": "DEL", "Nats-TTL": _GONE}
    await bus.publish(key(env, agent, instance), b"", headers=headers)


async def online(bus: Bus, env: str) -> list[Replica]:
    """Every entry of an environment.

    A server that was just started has lost them. Those whose last sign of life is still in the
    log are on their way back, and are waited for.

    Raises:
        BusError: the bucket does not answer.
    """
    found = await _entries(bus, env)
    if not found and (expected := await _lately_alive(bus, env)):
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while not expected <= found.keys() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_LOOK)
            found = await _entries(bus, env)
    return [replica for replicas in found.values() for replica in replicas]


async def _entries(bus: Bus, env: str) -> dict[str, list[Replica]]:
    """The entries of each instance; of one that has left, none."""
    found: defaultdict[str, list[Replica]] = defaultdict(list)
    async for msg in jetstream.stored(bus, AGENTS, bucket(AGENTS, env, ">")):
        replicas = found[str((msg.headers or {})["Nats-Subject"]).rpartition(".")[2]]
        if msg.data:  # a removed key leaves an empty marker
            raw = json.loads(msg.data)
            replicas.append(Replica(**{k: v for k, v in raw.items() if k in _FIELDS}))
    return found


async def _lately_alive(bus: Bus, env: str) -> set[str]:
    """The instances whose heartbeat the log still holds; it keeps one as long as an entry lives."""
    heartbeats = jetstream.stored(bus, LOG, Subjects(env).event("status", "heartbeat"))
    found: set[str] = set()
    async for msg in heartbeats:
        with contextlib.suppress(DecodeError):  # anybody may publish on the subject
            content = decode(msg.data).payload.content
            if isinstance(content, dict):
                found.add(str(content.get("instance")))
    return found


def by_agent(replicas: Iterable[Replica]) -> list[dict[str, Any]]:
    """One object for each agent, its replicas added up; sorted by name."""
    groups: defaultdict[str, list[Replica]] = defaultdict(list)
    for replica in replicas:
        groups[replica.agent].append(replica)
    return [_summary(name, group) for name, group in sorted(groups.items())]


def _summary(name: str, group: list[Replica]) -> dict[str, Any]:
    newest = max(group, key=lambda replica: replica.seen)
    latencies = [replica.p50 for replica in group if replica.p50 is not None]
    costs = [replica.cost for replica in group]
    return {
        "agent": name,
        "description": newest.description,
        "capabilities": sorted({c for replica in group for c in replica.capabilities}),
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
        "in_flight": sum(replica.in_flight for replica in group),
        "concurrency": sum(replica.concurrency for replica in group),
        "p50": round(median(latencies), 1) if latencies else None,
        "tokens": sum(replica.tokens for replica in group),
        "cost": None if None in costs else sum(cost for cost in costs if cost is not None),
        "instances": [
            {"instance": r.instance, "host": r.host, "pid": r.pid, "revision": r.revision}
            for r in sorted(group, key=lambda replica: replica.started)
        ],
    }
