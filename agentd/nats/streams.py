"""The streams and buckets on the server: their configurations, created, updated and healed.

LOG records every public message. WORK holds the outstanding tasks: the server copies tasks from LOG
to WORK and adds the default priority. A task deleted from WORK is not done, and its record stays in
LOG. CHUNKS keeps streamed deltas for subscribers that join late. SCHEDULES holds the messages for
later, and the server copies to LOG what is due. It is a stream of its own: where a stream allows
schedules, a header lets any publisher have the server publish on any subject of that stream, and
empty it. REVISIONS holds the files of agents, for as long as there is room, AUDIT the tree of LOG.

WORK is sourced from LOG, and not LOG from WORK: that way a sender needs one publish, and consumers
of WORK can be made again without a second delivery. Configurations use the names of JetStream.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from agentd.errors import Forbidden
from agentd.nats import account as accounts
from agentd.nats import jetstream
from agentd.nats.account import SECOND, UNLIMITED, Account, append_only, fitted, key_value, objects
from agentd.nats.bus import Bus
from agentd.nats.folder import NatsFolder
from agentd.nats.jetstream import ApiError
from agentd.nats.objects import STREAM as OBJECTS
from agentd.nats.provision import (
    configuration,
    names,
    patiently,
    provide,
    require_version,
    warn_of_single_copies,
)
from agentd.protocol import stream_subjects
from agentd.protocol.server_subjects import direct_get
from agentd.settings import Settings

log = logging.getLogger(__name__)

LOG = "AGENTD_LOG"
SCHEDULES = "AGENTD_SCHEDULES"
WORK = "AGENTD_WORK"
CHUNKS = "AGENTD_CHUNKS"
REVISIONS = "AGENTD_REVISIONS"
AUDIT = "AGENTD_AUDIT"
AGENTS = "KV_agentd_agents"
ROUTES = "KV_agentd_routes"
BUDGETS = "KV_agentd_budgets"
STOPS = "KV_agentd_stops"
JOINS = "KV_agentd_joins"
RATES = "KV_agentd_rates"
CACHE = "KV_agentd_cache"

DAY = 86_400 * SECOND

_PART_OF_LOG = 40  # the bytes of a small stream, for which the server reserves them as for LOG

# For each stream that is a source: its copy, and the subjects there.
_COPIES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    SCHEDULES: (LOG, stream_subjects.DUE_TRANSFORMS),
    LOG: (WORK, stream_subjects.WORK_TRANSFORMS),
}
_AUDIT_BYTES = 64 * 1024**2  # at least: a step of few messages is larger than they are

# Seconds that WORK may take to find a new LOG, and between two checks.
_SOURCING_TIMEOUT, _PAUSE = 5.0, 0.05
# Seconds that the log may be away before it is created again: housekeeping looks every second.
_WITHOUT_LOG = 5.0

# What agents can do without, where an account has no room for it, and what is missing then.
_OPTIONAL = {
    CHUNKS: "readers that come late miss the beginning of an answer that is being written",
    REVISIONS: "the files of the agents do not go on record",
    CACHE: "no answer of a model is cached",
    AUDIT: "nobody can prove what the log holds",
}
_NO_ROOM = frozenset({10027, 10047})  # for one more stream, or for its bytes


async def ensure(bus: Bus, settings: Settings) -> None:
    """Creates or updates every stream and bucket. Any number of processes may call it at a time.

    It waits without limit for a JetStream that does not answer yet, or has no leader.

    Raises:
        StartError: the server is too old, or has no JetStream or no room; the text says what to do.
    """
    require_version(bus)
    account = await patiently(bus, partial(accounts.read, bus, settings.replicas))
    made = [
        config["name"]
        for config in configurations(settings, account)
        if await patiently(bus, partial(_ensure_if_possible, bus, config))
    ]
    _warn_of_small_log(settings, account)
    await _sync_if_relaxed(made, settings)
    if bus.info.get("cluster"):
        await warn_of_single_copies(bus, [config["name"] for config in configurations(settings)])


async def heal(bus: Bus, settings: Settings) -> list[str]:
    """Creates the streams and buckets that somebody deleted; returns their names.

    Raises:
        BusError: the server does not answer, or refuses to create a stream.
    """
    existing = await names(bus)
    if all(config["name"] in existing for config in configurations(settings)):
        return []
    account = await accounts.read(bus, settings.replicas)
    created = [
        config["name"]
        for config in configurations(settings, account)
        if config["name"] not in existing
        and not (account.full and config["name"] in _OPTIONAL)
        and await _ensure_if_possible(bus, config, again=True)
    ]
    await _sync_if_relaxed(created, settings)
    return created


def _warn_of_small_log(settings: Settings, account: Account) -> None:
    """Logs that LOG forgets its oldest messages earlier than the settings say."""
    for config in configurations(settings, account):
        if config["name"] == LOG and config["max_bytes"] < settings.log_bytes:
            log.warning(
                "%s keeps %s bytes, the account allows no more; AGENTD_LOG_BYTES is %s",
                *(LOG, f"{config['max_bytes']:,}", f"{settings.log_bytes:,}"),
            )


def configurations(settings: Settings, account: Account = UNLIMITED) -> list[dict[str, Any]]:
    """The configuration of every stream, in the order of creation: a source before its copy, and
    last what an account with few streams can do without."""
    return [
        fitted(config, account, settings, largest=config["name"] == LOG)
        for config in _configurations(settings)
    ]


def _configurations(settings: Settings) -> list[dict[str, Any]]:
    shared: dict[str, Any] = {
        "num_replicas": settings.replicas,
        "allow_direct": True,
        "discard": "old",
    }
    return [
        _schedules(shared),
        _log(shared, settings),
        {
            **shared,
            "name": WORK,
            # The server removes a task when it is acknowledged, and delivers it to one consumer:
            # it refuses consumers whose subjects overlap.
            "retention": "workqueue",
            "storage": "file",
            # If its size is limited, tasks wait in LOG until there is room.
            "discard": "new",
            "sources": [_source(LOG)],
            # Rings the doorbell of tasks.
            "republish": _republish(stream_subjects.WORK_DOORBELL),
        },
        *(key_value(name, shared, storage="memory") for name in (AGENTS, RATES)),
        *(key_value(name, shared, storage="file") for name in (ROUTES, BUDGETS, STOPS, JOINS)),
        # As long as the messages that refer to them.
        objects(OBJECTS, shared, max_age=int(settings.log_days * DAY)),
        {
            **shared,
            "name": CHUNKS,
            "subjects": list(stream_subjects.STREAMED),
            "retention": "limits",
            "storage": "memory",
            "max_age": 600 * SECOND,
            "max_bytes": settings.memory_bytes or 256 * 1024**2,
        },
        *_evidence(shared, settings),
        _cache(shared, settings),
    ]


def _schedules(shared: Mapping[str, Any]) -> dict[str, Any]:
    """The messages for later, and what was due in the last day."""
    return {
        **shared,
        "name": SCHEDULES,
        "subjects": list(stream_subjects.SCHEDULED),
        "retention": "limits",
        "storage": "file",
        # So long LOG has time to copy what is due. Schedules themselves stay (`Nats-TTL`).
        "max_age": DAY,
        "allow_msg_ttl": True,
        "allow_msg_schedules": True,
        "allow_rollup_hdrs": True,  # a schedule replaces the one before
    }


def _log(shared: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The record of every public message."""
    return {
        **shared,
        "name": LOG,
        "subjects": list(stream_subjects.LOGGED),
        "retention": "limits",
        "storage": "file",
        "max_age": int(settings.log_days * DAY),
        "max_bytes": settings.log_bytes,
        # For so long the server ignores a repeated message id: longer than `store` retries.
        "duplicate_window": 120 * SECOND,
        "allow_atomic": True,
        "allow_msg_ttl": True,
        # Any client that may publish here could empty the log otherwise. Single messages can be
        # deleted: dead letters that are retried or dropped.
        "allow_rollup_hdrs": False,
        "deny_purge": True,
        "sources": [_source(SCHEDULES)],
        # Rings the doorbell of facts, so that agents need not poll.
        "republish": _republish(stream_subjects.LOG_DOORBELL),
    }


def _republish(doorbell: tuple[str, str]) -> dict[str, Any]:
    src, dest = doorbell
    return {"src": src, "dest": dest, "headers_only": True}


def _source(name: str, *more: tuple[str, str]) -> dict[str, Any]:
    """What a copy takes from the stream `name`, and under which subjects it stores that."""
    _, transforms = _COPIES[name]
    pairs = (*transforms.items(), *more)
    return {
        "name": name,
        "subject_transforms": [{"src": src, "dest": dest} for src, dest in pairs],
    }


def _evidence(shared: Mapping[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """What the results of the log refer to, and the tree over the log.

    An agent may run on one revision for longer than the log is kept, so they have no age; each file
    is stored once. The tree has 32 bytes for a message: it reaches back further than the log.
    """
    size = settings.log_bytes
    audit = size and max(size // 10, _AUDIT_BYTES)  # 0: a log without a limit of its own
    kept = append_only(REVISIONS, shared, stream_subjects.REVISIONS, size // _PART_OF_LOG)
    tree = append_only(AUDIT, shared, stream_subjects.AUDITED, audit)
    return [{**kept, "deny_delete": False}, *([tree] if settings.audit == "on" else [])]


def _cache(shared: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """A bucket that deletes its oldest entry when it is full."""
    limits = {"max_bytes": settings.log_bytes // _PART_OF_LOG, "discard": "old"}
    return {**key_value(CACHE, shared, storage="file"), **limits}


async def _sync_if_relaxed(made: Sequence[object], settings: Settings) -> None:
    """Writes new streams of a `relaxed` embedded server to the disk.

    Such a server syncs messages every 100 ms, but not the folder of a new stream: a power cut
    would remove the whole stream, with all acknowledged messages.
    """
    if made and settings.durability == "relaxed":
        await asyncio.to_thread(NatsFolder(settings.state).sync)


async def _ensure_if_possible(bus: Bus, config: dict[str, Any], *, again: bool = False) -> bool:
    """`_ensure_one`, for a stream that may be left out where there is no room for it, or no
    permission to create it. That is logged, unless it was tried before."""
    name = config["name"]
    try:
        return await _ensure_one(bus, config)
    except (ApiError, Forbidden) as error:
        spared = isinstance(error, Forbidden) or error.code in _NO_ROOM
        if not spared or name not in _OPTIONAL:
            raise
        log.log(
            logging.DEBUG if again else logging.WARNING,
            *("without %s %s: %s", name, _OPTIONAL[name], error),
        )
        return False


async def _ensure_one(bus: Bus, config: dict[str, Any]) -> bool:
    """Creates or updates a stream; returns whether it was created."""
    name = config["name"]
    if name not in _COPIES:
        return await provide(bus, config)
    # A new stream must not count from 1: its copy continues after the last sequence that it copied,
    # and would skip everything up to it.
    first = int(time.time() * 1000)
    config = {**config, "first_seq": first}
    if name == LOG:
        config["sources"] = [{**_source(SCHEDULES), "opt_start_seq": await _due_lately(bus)}]
    created = await provide(bus, config)
    if created:
        await tie(bus, name, first)
    return created


async def _due_lately(bus: Bus) -> int:
    """The sequence from which a new log copies: what was due while there was no log is not lost,
    and what the old log had is not sent again."""
    info = await jetstream.api(bus, f"STREAM.INFO.{SCHEDULES}")
    since = datetime.fromisoformat(info["ts"]) - timedelta(seconds=_WITHOUT_LOG)
    first = {"batch": 1, "start_time": since.isoformat(), "next_by_subj": ">"}
    answer = await bus.request(direct_get(SCHEDULES), json.dumps(first).encode())
    found = (answer.headers or {}).get("Nats-Sequence")
    return int(found) if found else info["state"]["last_seq"] + 1


async def tie(bus: Bus, source: str, first: int) -> None:
    """Makes an existing copy continue immediately with its new source, from the sequence `first`.

    Left alone, the server looks for a deleted source every ten seconds. It takes the new stream for
    the old one, fails, and retries after two more (`sourceConsumerRetryThreshold`). It looks
    immediately only for a source that is configured differently. So the source gets one more
    transform, which applies to no message.
    """
    copy, transforms = _COPIES[source]
    existing = await configuration(bus, copy)
    if existing is None:
        return
    root = next(iter(transforms)).partition(".")[0]
    tied = _source(source, stream_subjects.impossible_transform(root, int(time.time() * 1000)))
    # Without a start sequence it would begin at the time of the last message of the copy, and the
    # clocks of two servers may differ.
    with_start = {**tied, "opt_start_seq": first}
    await jetstream.api(bus, f"STREAM.UPDATE.{copy}", {**existing, "sources": [with_start]})
    if copy == WORK:
        await _until_sourced(bus)
        # The start sequence must not stay: a server that restarts while WORK is empty would begin
        # there again, and every task would be done a second time. LOG is never empty, but may
        # never have copied anything: it must begin there again.
        await jetstream.api(bus, f"STREAM.UPDATE.{WORK}", {**existing, "sources": [tied]})


async def _until_sourced(bus: Bus) -> None:
    """Returns when WORK copies from LOG, or after a timeout: then the server will retry."""
    for _ in range(round(_SOURCING_TIMEOUT / _PAUSE)):
        sources = (await jetstream.api(bus, f"STREAM.INFO.{WORK}")).get("sources") or ()
        # Nanoseconds since the source was last active; -1 if it never was.
        if any(int(source.get("active", -1)) >= 0 for source in sources):
            return
        await asyncio.sleep(_PAUSE)
