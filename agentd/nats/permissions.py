"""Checks at the start that the NATS user may do what a process of agents cannot do without.

The server says that it refuses something only when it does, which may be hours later, when the
first result is to be stored. So each subject is tried. What is sent cannot be stored: it names a
sequence that the stream does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from agentd.errors import BusError, Forbidden, StartError
from agentd.nats import streams
from agentd.nats.bus import Bus
from agentd.protocol.server_subjects import (
    acknowledgement,
    api,
    bucket,
    direct_get,
    next_message,
    object_store,
)
from agentd.protocol.subjects import Subjects

# Marks what is sent here, for those who read along.
PROBE: Final = "Agentd-Probe"
_NAME = "_probe"
_NOT_TO_BE_STORED = {PROBE: "permissions", "Nats-Expected-Last-Subject-Sequence": str(2**62)}
_TIMEOUT = 2.0  # seconds; a server that is slow has not refused
_BUCKETS = (
    streams.AGENTS,
    streams.ROUTES,
    streams.BUDGETS,
    streams.STOPS,
    streams.JOINS,
    streams.RATES,
)


async def require(bus: Bus, subjects: Subjects) -> None:
    """Checks what agents publish.

    Raises:
        StartError: something is refused; the text has all of it.
    """
    probes = list(_probes(subjects))
    refused = await asyncio.gather(*(_refused(bus, probe) for probe in probes))
    _raise("publish to", [probe for probe, no in zip(probes, refused, strict=True) if no])


async def require_subscriptions(bus: Bus) -> None:
    """Checks the subscriptions that were made.

    Raises:
        StartError: one is refused; the text has all of them.
    """
    await bus.fence()
    _raise("subscribe to", bus.refused)


def _raise(action: str, missing: Sequence[str]) -> None:
    if missing:
        listed = ", ".join(f'"{subject}"' for subject in missing)
        raise StartError(
            f"the permissions of this NATS user do not allow to {action} what agentd needs: "
            f"{listed} (see Permissions in docs/operations.md)"
        )


def _probes(subjects: Subjects) -> Iterator[str]:
    """One subject of each kind to which every process of agents publishes."""
    yield subjects.task(_NAME, _NAME)
    yield subjects.result(_NAME, _NAME, _NAME)
    yield subjects.event(_NAME, _NAME)
    yield subjects.dlq(_NAME, _NAME)
    yield subjects.stream(_NAME)
    for each in _BUCKETS:
        yield bucket(each, subjects.env, _NAME)
    for pattern in object_store(streams.OBJECTS.removeprefix("OBJ_")):
        yield pattern.replace(">", _NAME)
    for stream in (streams.WORK, streams.LOG):
        yield acknowledgement(stream, _NAME)
        yield next_message(stream, _NAME)
        yield api(f"CONSUMER.DURABLE.CREATE.{stream}.{_NAME}")
        yield direct_get(stream)
    yield direct_get(streams.AGENTS)
    yield api(f"STREAM.MSG.GET.{streams.JOINS}")


async def _refused(bus: Bus, subject: str) -> bool:
    try:
        await bus.request(subject, b"", headers=_NOT_TO_BE_STORED, timeout=_TIMEOUT)
    except Forbidden:
        return True
    except BusError:
        return False  # nothing is subscribed to it, for example: then it is allowed
    return False
