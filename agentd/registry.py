"""Who is online: one entry for each agent of each process, in a bucket that forgets the dead."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any

from agentd import jetstream
from agentd.bus import Bus
from agentd.streams import AGENTS

# An entry outlives so many missed signs of life.
BEATS_TO_LIVE = 3

_BUCKET = "$KV." + AGENTS.removeprefix("KV_")


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
    return f"{_BUCKET}.{env}.{agent}.{instance}"


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
    await bus.publish(key(env, agent, instance), b"", headers={"KV-Operation": "DEL"})


async def online(bus: Bus, env: str) -> list[Replica]:
    """Every entry of an environment.

    Raises:
        BusError: the bucket does not answer.
    """
    found: list[Replica] = []
    async for msg in jetstream.stored(bus, AGENTS, f"{_BUCKET}.{env}.>"):
        if msg.data:  # a removed key leaves an empty marker
            raw = json.loads(msg.data)
            found.append(Replica(**{k: v for k, v in raw.items() if k in _FIELDS}))
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
