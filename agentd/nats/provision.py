"""Creates one stream, or changes what differs, and waits for a JetStream that is not ready yet.

Several processes may do this at the same moment, on a cluster whose servers have just started. So
each step can be repeated, and nothing is changed that need not be: a stream is as its
configuration says afterwards, and otherwise as its operator has edited it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from agentd.errors import BusError, Forbidden, StartError, Unheard
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.jetstream import ApiError

log = logging.getLogger(__name__)

# The oldest server with atomic batches, per-message TTL and schedules. An older one does not report
# an error: it silently ignores fields of a configuration that it does not know.
OLDEST_SERVER = (2, 12)

_Result = TypeVar("_Result")

_PAUSE = 0.5  # seconds between two tries, on average
_REPEAT_AFTER = 30.0  # seconds until the same wait is logged again
# Seconds that a server without JetStream is asked: another one of its cluster may have it.
_SEARCH = 5.0

# The server's error codes (nats-server, server/errors.json).
_NAME_IN_USE, _STREAM_NOT_FOUND = 10058, 10059
_DISABLED = frozenset({10039, 10076})
# A cluster that starts, or has lost a server: no leader, too few servers.
_NOT_READY = frozenset({10004, 10005, 10006, 10008, 10009, 10118})
_SMALLER = "set AGENTD_LOG_BYTES or AGENTD_STREAM_BYTES to less, or give JetStream more room"
_MENDS = {
    10002: _SMALLER,
    10005: "AGENTD_REPLICAS must be at most the number of servers with JetStream",
    10023: _SMALLER,
    10026: "set AGENTD_CONSUMERS to less",
    10027: "agentd needs ten streams, and four more if the account allows them",
    10028: "set AGENTD_MEMORY_BYTES to less; with 0 nothing is stored in memory",
    10047: _SMALLER,
    10074: "AGENTD_REPLICAS can be more than 1 only in a cluster",
    10113: "set AGENTD_STREAM_BYTES to how much each stream may store",
    10122: _SMALLER,
}
# What a stream keeps once it exists: the server refuses to change it, or must not.
_FIXED = ("first_seq", "storage")


async def configuration(bus: Bus, name: str) -> dict[str, Any] | None:
    """The configuration of a stream on the server; None if it does not exist.

    Raises:
        BusError: the server does not answer.
    """
    try:
        return (await jetstream.api(bus, f"STREAM.INFO.{name}"))["config"]
    except ApiError as error:
        if error.code != _STREAM_NOT_FOUND:
            raise
    return None


async def provide(bus: Bus, config: Mapping[str, Any]) -> bool:
    """Creates the stream or changes what differs; returns whether it was created.

    Raises:
        BusError: the server does not answer, or refuses; another process creates it just now.
    """
    name = config["name"]
    existing = await configuration(bus, name)
    if existing is not None:
        if changes := differences(existing, config):
            await _update(bus, existing, changes)
        return False
    try:
        await jetstream.api(bus, f"STREAM.CREATE.{name}", config)
    except ApiError as error:
        if error.code == _NAME_IN_USE:
            raise BusError(f"another process creates {name}") from error
        raise
    return True


async def _update(bus: Bus, existing: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    name = existing["name"]
    try:
        await jetstream.api(bus, f"STREAM.UPDATE.{name}", {**existing, **changes})
    except Forbidden as error:
        differing = ", ".join(sorted(changes))
        log.warning("%s is used as it is, though %s should differ: %s", name, differing, error)


def differences(existing: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What to change in an existing stream.

    What `config` does not name belongs to the operator: compression, placement, metadata. So do
    more replicas than it asks for.
    """
    wanted = {key: value for key, value in config.items() if key not in _FIXED}
    wanted["num_replicas"] = max(config["num_replicas"], existing.get("num_replicas", 1))
    if _names(existing) == _names(config):
        wanted.pop("sources", None)  # their transforms may have been extended: see `streams.tie`
    # The server leaves out what is false or zero.
    return {k: v for k, v in wanted.items() if existing.get(k, type(v)()) != v}


def _names(config: Mapping[str, Any]) -> list[str]:
    return [source["name"] for source in config.get("sources") or ()]


async def names(bus: Bus) -> set[str]:
    """The names of all streams of the server; it returns them in pages."""
    found: set[str] = set()
    while True:
        page = await jetstream.api(bus, "STREAM.NAMES", {"offset": len(found)})
        found.update(page.get("streams") or ())
        if len(found) >= int(page["total"]) or not page.get("streams"):
            return found


async def patiently(bus: Bus, work: Callable[[], Awaitable[_Result]]) -> _Result:
    """The result of `work`, repeated while JetStream is not ready.

    Raises:
        StartError: the server has no JetStream, or refuses; the text says what to do.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    reported = -_REPEAT_AFTER
    while True:
        try:
            return await work()
        except BusError as error:
            _raise_if_final(bus, error, waited=loop.time() - started)
            if loop.time() >= reported + _REPEAT_AFTER:
                reported = loop.time()
                log.warning("waiting for JetStream at %s: %s", bus.where, error)
        # Not all at the same time: processes that start together would disturb one another again.
        await asyncio.sleep(random.uniform(0.5, 1.5) * _PAUSE)
        await bus.until_connected()


def _raise_if_final(bus: Bus, error: BusError, *, waited: float) -> None:
    code = error.code if isinstance(error, ApiError) else 0
    nowhere = isinstance(error, Unheard) and not bus.info.get("jetstream") and waited > _SEARCH
    if nowhere or code in _DISABLED:
        raise without_jetstream(bus, account=code in _DISABLED) from error
    if isinstance(error, Forbidden):
        raise StartError(str(error)) from error
    if code and code not in _NOT_READY:
        raise StartError(f"NATS refused {'; '.join(filter(None, (str(error), _MENDS.get(code))))}")


def without_jetstream(bus: Bus, *, account: bool) -> StartError:
    """The error of a server that has no JetStream, or not for this `account`."""
    where = f"the NATS server at {bus.where}"
    if account:
        return StartError(f"{where} has no JetStream for this account; enable it there")
    return StartError(
        f"{where} has no JetStream; start it with `jetstream {{}}` in its configuration, or choose "
        "another server"
    )


async def require_jetstream(bus: Bus) -> None:
    """Checks a server that does not claim to have JetStream: another one may answer for it.

    Raises:
        StartError: none does.
    """
    if bus.info.get("jetstream"):
        return
    try:
        await jetstream.api(bus, "INFO")
    except Unheard as error:
        raise without_jetstream(bus, account=False) from error


async def warn_of_single_copies(bus: Bus, names: Iterable[str]) -> None:
    """Logs which streams one server of the cluster stores alone."""
    single: list[str] = []
    for name in names:
        found = await patiently(bus, partial(configuration, bus, name))
        if found and found["num_replicas"] == 1:
            single.append(name)
    if single:
        log.warning(
            "one copy in a cluster: %s; a server that fails takes these streams with it, set "
            "AGENTD_REPLICAS=3 to store them on three servers",
            ", ".join(single),
        )


def require_version(bus: Bus) -> None:
    """Checks the server's version.

    Raises:
        StartError: it is too old.
    """
    version = str(bus.info.get("version", "?"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        raise StartError(
            f"the NATS server at {bus.where} is {version}; agentd needs {oldest} or newer"
        )
