"""Describes the messages of one step: their sequences, when they expire, what the log said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from agentd.nats.account import SECOND
from agentd.protocol import erasure
from agentd.record.audit.log_reader import Entry

_TTL = b"\r\nNats-TTL:"
_amounts = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)").findall
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def text(entries: Sequence[Entry], start: int, info: Mapping[str, Any]) -> bytes:
    """The batch of these messages, as `Batch.parse` reads it. `start` is the index of the first,
    `info` what the server says of the log."""
    state, config = info["state"], info["config"]
    fields = {
        "start": start,
        "sequences": erasure.ranges(entry.sequence for entry in entries),
        "since": min(seconds(entry.at) for entry in (entries[0], entries[-1])),
        "expires": list(_expiring(entries)),
        "at": datetime.fromisoformat(info["ts"]).timestamp(),
        "log": log_state(state, config),
    }
    return json.dumps(fields).encode()


def log_state(state: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, float]:
    """What decides which messages the log may have removed."""
    return {
        "first": state["first_seq"],
        "bytes": state["bytes"],
        "max_bytes": max(0, config.get("max_bytes", 0)),
        "max_age": config.get("max_age", 0) / SECOND,
    }


def seconds(at: bytes) -> float:
    """A time of the server, in seconds since the epoch."""
    # Python reads six digits of a second and ignores the others.
    return datetime.fromisoformat(at.decode(errors="replace")).timestamp()


def _expiring(entries: Sequence[Entry]) -> Iterator[tuple[int, float]]:
    for entry in entries:
        # Nearly no message has it: looking for the bytes is cheap.
        if _TTL in entry.headers and (lifetime := _lifetime(entry.headers)):
            yield entry.sequence, round(seconds(entry.at) + lifetime, 3)


def _lifetime(headers: bytes) -> float:
    """The seconds of `Nats-TTL`; 0 without an end. The server takes seconds and durations of Go."""
    value = headers.partition(_TTL)[2].partition(b"\r\n")[0].decode(errors="replace").strip()
    if value.isdecimal():
        return float(value)
    return sum(float(number) * _UNITS[unit] for number, unit in _amounts(value))
