"""The streams and buckets on the server: what each holds, created, updated and healed.

LOG is the record of everything public. WORK is sourced from it, adds the default priority, and
holds outstanding tasks only: deleting from it cancels, and the record stays. CHUNKS keeps streamed
deltas for late readers. Configurations are in the words of the JetStream API.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from agentd.errors import StartError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.folder import NatsFolder
from agentd.nats.jetstream import ApiError
from agentd.protocol import subjects
from agentd.protocol.server_subjects import bucket, object_store
from agentd.settings import Settings

LOG = "AGENTD_LOG"
WORK = "AGENTD_WORK"
CHUNKS = "AGENTD_CHUNKS"
AGENTS = "KV_agentd_agents"
ROUTES = "KV_agentd_routes"
BUDGETS = "KV_agentd_budgets"
STOPS = "KV_agentd_stops"
JOINS = "KV_agentd_joins"
RATES = "KV_agentd_rates"
CACHE = "KV_agentd_cache"
OBJECTS = "OBJ_agentd_objects"

SECOND = 1_000_000_000  # JetStream counts in nanoseconds
DAY = 86_400 * SECOND

# The oldest server with atomic batches, per-message TTL and schedules; older ones ignore unknown
# fields of a configuration without a word.
OLDEST_SERVER = (2, 12)

_TIED, _PAUSE = 5.0, 0.05  # seconds that WORK may take to find its log, and between two looks

_NAME_IN_USE = 10058
_STREAM_NOT_FOUND = 10059
_NO_ROOM = frozenset({10047, 10028, 10023})
# 2.15 caps a stream at 1,000 consumers unless told otherwise.
_MAX_CONSUMERS = 20_000


async def ensure(bus: Bus, settings: Settings) -> None:
    """Makes every stream and bucket as this version wants it. Safe to call at any time.

    Raises:
        StartError: the server is too old, has no JetStream or no room, with the mend in the text.
    """
    _check_version(bus)
    made = [config["name"] for config in configurations(settings) if await _ensure_one(bus, config)]
    await _keep_for_good(made, settings)


async def heal(bus: Bus, settings: Settings) -> list[str]:
    """Makes again what somebody deleted; returns the names."""
    there = await _names(bus)
    gone = [config for config in configurations(settings) if config["name"] not in there]
    for config in gone:
        await _ensure_one(bus, config)
    await _keep_for_good(gone, settings)
    return [config["name"] for config in gone]


def configurations(settings: Settings) -> list[dict[str, Any]]:
    """Every stream's configuration, in the order in which they must be made (WORK sources LOG)."""
    shared: dict[str, Any] = {
        "num_replicas": settings.replicas,
        "max_consumers": _MAX_CONSUMERS,
        "allow_direct": True,
        "discard": "old",
    }
    return [
        {
            **shared,
            "name": LOG,
            "subjects": list(subjects.LOGGED),
            "retention": "limits",
            "storage": "file",
            "max_age": int(settings.log_days * DAY),
            "max_bytes": settings.log_bytes,
            "duplicate_window": 120 * SECOND,
            "allow_atomic": True,
            "allow_msg_ttl": True,
            "allow_msg_schedules": True,
            # Agents that subscribe to facts need not poll.
            "republish": _republish(subjects.LOG_DOORBELL),
        },
        {
            **shared,
            "name": WORK,
            "retention": "workqueue",
            "storage": "file",
            "sources": [{"name": LOG, "subject_transforms": _transforms()}],
            # Idle agents need not poll.
            "republish": _republish(subjects.WORK_DOORBELL),
        },
        {
            **shared,
            "name": CHUNKS,
            "subjects": list(subjects.STREAMED),
            "retention": "limits",
            "storage": "memory",
            "max_age": 600 * SECOND,
            "max_bytes": 256 * 1024**2,
        },
        *(_bucket(name, shared, storage="memory") for name in (AGENTS, RATES)),
        *(_bucket(name, shared, storage="file") for name in (ROUTES, BUDGETS, STOPS, JOINS)),
        _cache(shared, settings),
        _objects(shared, settings),
    ]


def _republish(doorbell: tuple[str, str]) -> dict[str, Any]:
    src, dest = doorbell
    return {"src": src, "dest": dest, "headers_only": True}


def _transforms(*more: tuple[str, str]) -> list[dict[str, str]]:
    """How tasks of LOG become work."""
    pairs = (*subjects.WORK_TRANSFORMS.items(), *more)
    return [{"src": src, "dest": dest} for src, dest in pairs]


def _bucket(name: str, shared: Mapping[str, Any], *, storage: str) -> dict[str, Any]:
    """A key-value bucket as the clients of NATS expect it (ADR-8), with a TTL for each key."""
    return {
        **shared,
        "name": name,
        "subjects": [bucket(name, ">")],
        "retention": "limits",
        "storage": storage,
        # A TTL below the marker's is raised to it unless there is one message a key.
        "max_msgs_per_subject": 1,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_msg_ttl": True,
        "subject_delete_marker_ttl": SECOND,
    }


def _cache(shared: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """A bucket from which the oldest goes first. What it may take is set aside for it, as for the
    log."""
    room = {"max_bytes": settings.log_bytes // 40, "discard": "old"}
    return {**_bucket(CACHE, shared, storage="file"), **room}


def _objects(shared: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """An object store as the clients of NATS expect it (ADR-20)."""
    return {
        **shared,
        "name": OBJECTS,
        "subjects": object_store(OBJECTS.removeprefix("OBJ_")),
        "retention": "limits",
        "storage": "file",
        "max_age": int(settings.log_days * DAY),  # as long as the messages that refer to them
        "discard": "new",
        "allow_rollup_hdrs": True,
    }


async def _keep_for_good(made: Sequence[object], settings: Settings) -> None:
    """An embedded server that syncs now and then loses a new stream whole with the power, unless
    its store was synced once since."""
    if made and settings.durability == "relaxed":
        await asyncio.to_thread(NatsFolder(settings.state).sync)


async def _ensure_one(bus: Bus, config: dict[str, Any]) -> bool:
    """Whether the stream was made."""
    name = config["name"]
    try:
        existing = await _existing(bus, name)
        if existing is not None:
            kept = {key: existing[key] for key in ("first_seq", "sources") if key in existing}
            await jetstream.api(bus, f"STREAM.UPDATE.{name}", {**config, **kept})
            return False
        if name == LOG:
            # A log made anew must count on: WORK goes on sourcing after the last sequence it saw.
            config = {**config, "first_seq": int(time.time() * 1000)}
        await jetstream.api(bus, f"STREAM.CREATE.{name}", config)
        if name == LOG:
            await _tie(bus, config["first_seq"])
        return True
    except ApiError as error:
        if error.code == _NAME_IN_USE:
            return False  # another process was faster
        raise StartError(f"cannot make the stream {name}: {error}{_mend(error.code)}") from error


async def _existing(bus: Bus, name: str) -> dict[str, Any] | None:
    """The configuration of a stream that is there."""
    try:
        return (await jetstream.api(bus, f"STREAM.INFO.{name}"))["config"]
    except ApiError as error:
        if error.code != _STREAM_NOT_FOUND:
            raise
    return None


async def _names(bus: Bus) -> set[str]:
    """The streams that the server has, in one look."""
    names: set[str] = set()
    while True:
        page = await jetstream.api(bus, "STREAM.NAMES", {"offset": len(names)})
        names.update(page.get("streams") or ())
        if len(names) >= int(page["total"]) or not page.get("streams"):
            return names


async def _tie(bus: Bus, first: int) -> None:
    """Ties a WORK that is there already to the new log that counts from `first`.

    By itself the server looks for a log after ten seconds, and of one that it takes for the old
    one it finds out that it is not, and tries again after two (`sourceConsumerRetryThreshold`). To
    be tied at once the new log must be another source: a transform that applies to no message
    tells the two apart.
    """
    work = await _existing(bus, WORK)
    if work is None:
        return
    transforms = _transforms(subjects.impossible_transform(first))
    source = {"name": LOG, "subject_transforms": transforms}
    # Else it would begin at the time of the last message of WORK, by a clock that may be wrong.
    first_time = {**source, "opt_start_seq": first}
    await jetstream.api(bus, f"STREAM.UPDATE.{WORK}", {**work, "sources": [first_time]})
    await _until_tied(bus)
    # A server that starts while WORK is empty would begin there again.
    await jetstream.api(bus, f"STREAM.UPDATE.{WORK}", {**work, "sources": [source]})


async def _until_tied(bus: Bus) -> None:
    """Returns when WORK hears of LOG, or after a while all the same."""
    for _ in range(round(_TIED / _PAUSE)):
        sources = (await jetstream.api(bus, f"STREAM.INFO.{WORK}")).get("sources") or ()
        if any(int(source.get("active", -1)) >= 0 for source in sources):
            return
        await asyncio.sleep(_PAUSE)


def _mend(code: int) -> str:
    if code in _NO_ROOM:
        return "; give JetStream more room, or set AGENTD_LOG_BYTES to less"
    return ""


def _check_version(bus: Bus) -> None:
    version, _ = bus.server
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        raise StartError(
            f"the NATS server at {bus.where} is {version}; agentd needs {oldest} or newer"
        )
