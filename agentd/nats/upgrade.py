"""Upgrades the store of an agentd that kept its schedules in LOG.

The server does not take back that a stream allows schedules, and such a stream cannot copy from
another one. So LOG is made anew, with everything that it holds and under the same sequences: copied
to a stream beside it, deleted, copied back, and made a log again. How far this has come is seen
from the streams themselves: another process goes on where one was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from agentd import crash_points
from agentd.errors import BusError, Conflict, NotStored, SubjectError
from agentd.nats import jetstream, schedules, streams
from agentd.nats.bus import Bus, Msg
from agentd.nats.jetstream import ApiError
from agentd.nats.provision import configuration, differences, patiently, provide
from agentd.nats.schedules import ScheduleEntry, Timing
from agentd.nats.streams import AGENTS, LOG, SCHEDULES, STOPS, WORK
from agentd.protocol.server_subjects import bucket
from agentd.protocol.stream_subjects import OLD_SCHEDULES
from agentd.protocol.subjects import RUNTIME_EVENTS, Subject, Subjects
from agentd.settings import Settings

log = logging.getLogger(__name__)

COPY = "AGENTD_LOG_COPY"

# The only subject of a log that nobody may publish to. Its one message is the last of the log: a
# copy that has it has everything.
_FROZEN = "agentd.upgrade"

_LEASE = 12.0  # seconds that a killed process keeps others from going on
_PAUSE = 0.1
_QUIET = 5  # so often in a row WORK must have copied everything
_REPORT = 100  # after so many pauses a wait is logged
_THERE_ALREADY = (10148, 10105)
# What the copies have in common with the old log: an operator may have edited these.
_KEPT = ("num_replicas", "placement", "compression", "storage", "max_consumers", "allow_direct")


async def upgrade(bus: Bus, settings: Settings) -> None:
    """Upgrades the store, if it is an old one. Any number of processes may call it at a time.

    It waits for agents of an older agentd to end: they would create LOG again as it was.

    Raises:
        StartError: the server has no JetStream, or no room for a copy of LOG.
    """
    await patiently(bus, partial(_upgrade, bus, settings))


async def _upgrade(bus: Bus, settings: Settings) -> None:
    if not await _is_old(bus):
        return
    wanted = {config["name"]: config for config in streams.configurations(settings)}
    await provide(bus, wanted[STOPS])  # it has the lease
    async with _lease(bus) as lease:
        log.warning("the store is of an older agentd: %s is copied, which may take minutes", LOG)
        await _steps(bus, wanted, lease)
        log.warning("the store is upgraded: schedules are in %s now", SCHEDULES)


async def _is_old(bus: Bus) -> bool:
    # By the calls that every start makes: a limited user may have the right to no others.
    if COPY in await streams.names(bus):
        return True
    return bool((await configuration(bus, LOG) or {}).get("allow_msg_schedules"))


async def _steps(bus: Bus, wanted: Mapping[str, dict[str, Any]], lease: _Lease) -> None:
    """Every step that is left; `wanted` are the configurations of all streams."""
    existing, copy = await configuration(bus, LOG), await configuration(bus, COPY)
    if existing and existing.get("allow_msg_schedules"):
        if copy is None or "mirror" in copy:
            await _copy_out(bus, existing, wanted[SCHEDULES])
        lease.check()
        await jetstream.api(bus, f"STREAM.DELETE.{LOG}")
        crash_points.here("log-deleted")
        existing = None
    if existing is None:
        await _mirror(bus, LOG, of=COPY)
        existing = await configuration(bus, LOG)
    if existing and "mirror" in existing:
        await _make_log(bus, wanted[LOG])
        crash_points.here("log-made")
    lease.check()
    await jetstream.api(bus, f"STREAM.DELETE.{COPY}")


async def _copy_out(bus: Bus, old: dict[str, Any], scheduling: dict[str, Any]) -> None:
    """Copies the log to a stream beside it, when nothing changes in it any more."""
    await _require_nobody(bus)
    await provide(bus, scheduling)
    await _move_schedules(bus)
    await _mirror(bus, COPY, of=LOG)
    await jetstream.api(bus, f"STREAM.UPDATE.{LOG}", {**old, "subjects": [_FROZEN]})
    await _move_schedules(bus)  # those that a client has stored meanwhile
    if not (await jetstream.newest(bus, LOG, _FROZEN))[0]:
        await jetstream.store(bus, _FROZEN, b"", message_id=_FROZEN)
    crash_points.here("log-frozen")
    await _until_work_has_all(bus)
    await _until_copied(bus, COPY)
    await _copy_consumers(bus, LOG, COPY)
    copied = await configuration(bus, COPY) or {}
    crash_points.here("log-copied")
    alone = {key: value for key, value in copied.items() if key != "mirror"}
    await jetstream.api(bus, f"STREAM.UPDATE.{COPY}", alone)


async def _make_log(bus: Bus, wanted: dict[str, Any]) -> None:
    """Makes the log of its mirror, when that is complete."""
    await _until_copied(bus, LOG)
    last, _ = await jetstream.newest(bus, LOG, _FROZEN)
    await _copy_consumers(bus, COPY, LOG)
    # The server takes LOG for another stream now: WORK would copy all of it once more.
    await streams.tie(bus, LOG, last + 1)
    mirror = await configuration(bus, LOG) or {}
    [source] = wanted["sources"]
    config = {**wanted, "sources": [{**source, "opt_start_seq": 1}]}
    alone = {key: value for key, value in mirror.items() if key not in ("mirror", "mirror_direct")}
    await jetstream.api(bus, f"STREAM.UPDATE.{LOG}", {**alone, **differences(mirror, config)})


async def _require_nobody(bus: Bus) -> None:
    async for msg in jetstream.stored(bus, AGENTS, bucket(AGENTS, ">")):
        if msg.data:
            name = (msg.headers or {})["Nats-Subject"].split(".")[3]
            raise BusError(
                f"@{name} of an older agentd is online; stop that process, then the store is "
                "upgraded"
            )


async def _mirror(bus: Bus, name: str, *, of: str) -> None:
    """Creates a stream that copies another one, unless it exists."""
    origin = await configuration(bus, of) or {}
    if await configuration(bus, name) is not None:
        return
    kept = {key: origin[key] for key in _KEPT if key in origin}
    config = {**kept, "name": name, "retention": "limits", "mirror": {"name": of}}
    await jetstream.api(bus, f"STREAM.CREATE.{name}", {**config, "allow_msg_ttl": True})


async def _until_copied(bus: Bus, name: str) -> None:
    async def has_the_last() -> bool:
        return (await jetstream.newest(bus, name, _FROZEN))[0] > 0

    await _until(has_the_last, f"{name} has every message of its source")


async def _until_work_has_all(bus: Bus) -> None:
    """Returns when WORK has every task of the frozen log: it forgets the log with its deletion."""
    quiet = 0

    async def is_idle() -> bool:
        nonlocal quiet
        sources = (await jetstream.api(bus, f"STREAM.INFO.{WORK}")).get("sources") or ()
        idle = all(each["lag"] == 0 and int(each.get("active", -1)) >= 0 for each in sources)
        quiet = quiet + 1 if idle else 0
        return quiet == _QUIET

    if await configuration(bus, WORK):
        await _until(is_idle, f"{WORK} has every task of {LOG}")


async def _until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    for tries in itertools.count(1):
        if await holds():
            return
        if tries % _REPORT == 0:
            log.warning("the upgrade of the store waits until %s", what)
        await asyncio.sleep(_PAUSE)


async def _copy_consumers(bus: Bus, stream: str, to: str) -> None:
    """Creates the durable consumers of a stream on its copy, each at its position."""
    async for info in _consumers(bus, stream):
        config = {**info["config"]}
        if "durable_name" not in config or "deliver_subject" in config:
            continue
        config.pop("opt_start_time", None)
        start = {"opt_start_seq": info["ack_floor"]["stream_seq"] + 1}
        config |= {**start, "deliver_policy": "by_start_sequence"}
        request = {"stream_name": to, "config": config, "action": "create"}
        try:
            await jetstream.api(bus, f"CONSUMER.CREATE.{to}.{config['durable_name']}", request)
        except ApiError as error:
            if error.code not in _THERE_ALREADY:
                raise


async def _consumers(bus: Bus, stream: str) -> AsyncIterator[dict[str, Any]]:
    offset = 0
    while True:
        page = await jetstream.api(bus, f"CONSUMER.LIST.{stream}", {"offset": offset})
        found = page.get("consumers") or ()
        for info in found:
            yield info
        offset += len(found)
        if not found or offset >= page["total"]:
            return


# --- schedules -----------------------------------------------------------------------------------


async def _move_schedules(bus: Bus) -> None:
    """Moves the schedules from LOG to SCHEDULES.

    A message for later is stored there before it is deleted here: sent twice, it still has one
    result. A repeated one is deleted first: between the two it could be sent twice, and a replica
    of its agent writes it again when it starts.
    """
    async for msg in jetstream.stored(bus, LOG, OLD_SCHEDULES):
        headers = msg.headers or {}
        sequence = int(headers["Nats-Sequence"])
        entry = _moved(msg)
        if entry and entry.timing.moment is not None:
            await _store(bus, entry)
        await jetstream.delete(bus, LOG, sequence)
        if entry and entry.timing.moment is None:
            await _store(bus, entry)


async def _store(bus: Bus, entry: ScheduleEntry) -> None:
    try:
        await schedules.put(bus, entry)
    except NotStored as error:
        log.warning("the schedule %s is dropped: %s", entry.subject, error)


def _moved(msg: Msg) -> ScheduleEntry | None:
    """A schedule of LOG as one of SCHEDULES; None if agentd stores no such schedule. Any client
    could store one in LOG, with any target."""
    headers = msg.headers or {}
    old, target = headers["Nats-Subject"], headers.get("Nats-Schedule-Target", "")
    _, env, _, kind, name = old.split(".")
    try:
        to = Subject.parse(target)
        subject = Subjects(env).schedule(_kind(kind), name)
        timing = Timing(headers["Nats-Schedule"], headers.get("Nats-Schedule-Time-Zone", "UTC"))
        timing.moment  # noqa: B018 (raises ValueError)
    except (SubjectError, ValueError, KeyError) as error:
        log.warning("the schedule %s is dropped: %s", old, error)
        return None
    runtime = to.domain in RUNTIME_EVENTS - {"join_due"}
    if to.env != env or to.type not in ("task", "event") or (to.type == "event" and runtime):
        log.warning("the schedule %s is dropped: it would be sent to %s", old, target)
        return None
    own = {key: value for key, value in headers.items() if not key.startswith("Nats-")}
    return ScheduleEntry(subject=subject, target=target, data=msg.data, timing=timing, headers=own)


def _kind(text: str) -> Any:
    if text not in ("agent", "message", "approval", "join"):
        raise ValueError(f"no kind of schedule: {text}")
    return text


# --- one process at a time -----------------------------------------------------------------------


class _Lease:
    """The right to upgrade the store, for a while from its last renewal."""

    def __init__(self, bus: Bus, sequence: int) -> None:
        self._bus = bus
        self._sequence = sequence
        self._clock = asyncio.get_running_loop().time
        self._renewed = self._clock()

    @classmethod
    async def take(cls, bus: Bus) -> _Lease:
        sequence, holder = await jetstream.newest(bus, STOPS, _LEASE_SUBJECT)
        if holder:
            raise BusError("another process upgrades the store")
        lease = cls(bus, sequence)
        try:
            await lease.write()
        except Conflict:
            raise BusError("another process upgrades the store") from None
        return lease

    async def write(self, data: bytes = b"held", ttl: float | None = None) -> None:
        asked = self._clock()
        self._sequence = await jetstream.replace(
            self._bus,
            _LEASE_SUBJECT,
            data,
            after=self._sequence,
            headers={"Nats-TTL": f"{ttl or _LEASE:.0f}s"},
        )
        self._renewed = asked

    async def renew(self) -> None:
        """Renews it until it is lost, to a process that found it expired."""
        while True:
            await asyncio.sleep(_LEASE / 6)
            try:
                await self.write()
            except Conflict:
                self._renewed = float("-inf")
                return
            except BusError as error:
                log.debug("the lease is not renewed: %s", error)

    def check(self) -> None:
        """Raises BusError unless no other process can have the lease for some seconds more."""
        if self._clock() > self._renewed + _LEASE / 2:
            raise BusError("this process was stopped for a while; it begins again")


_LEASE_SUBJECT = bucket(STOPS, "_upgrade")  # of no environment, so nobody reads it


@contextlib.asynccontextmanager
async def _lease(bus: Bus) -> AsyncGenerator[_Lease]:
    lease = await _Lease.take(bus)
    keeper = asyncio.create_task(lease.renew())
    try:
        yield lease
    finally:
        keeper.cancel()
        with contextlib.suppress(BusError):
            await lease.write(b"", ttl=1)
