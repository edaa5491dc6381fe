"""The limits of the NATS account, and configurations of streams: fitted to them, or of a kind.

A kind is what clients of NATS read as key-value buckets (ADR-8) and object stores (ADR-20).
Managed services limit accounts: by bytes, memory, streams and consumers. A configuration asks for
what the settings say, or for less where the account allows less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.protocol.server_subjects import bucket, object_store
from agentd.settings import Settings

SECOND = 1_000_000_000  # JetStream's durations are in nanoseconds
# Bytes of a stream whose size no setting gives, where the account requires one.
_SIZE = 256 * 1024**2
# Streams share what the account has: the log gets a half of the disk, each other stream a part.
_LOG_PART, _FILE_PART, _MEMORY_PART = 2, 32, 4


@dataclass(frozen=True, kw_only=True)
class Account:
    """What an account allows; None is no limit.

    Attributes:
        memory, disk: the bytes of all streams together.
        memory_stream, disk_stream: the bytes of one stream.
        consumers: of one stream.
        sizes: whether every stream must declare how large it may become.
        full: whether no more streams can be created.
    """

    memory: int | None = None
    disk: int | None = None
    memory_stream: int | None = None
    disk_stream: int | None = None
    consumers: int | None = None
    sizes: bool = False
    full: bool = False


async def read(bus: Bus, replicas: int) -> Account:
    """The limits for streams with so many replicas: an account may have tiers.

    Raises:
        BusError: the server does not answer, or has no JetStream.
    """
    info = await jetstream.api(bus, "INFO")
    tiers: Mapping[str, Any] = info.get("tiers") or {}
    limits: Mapping[str, Any] = tiers.get(f"R{replicas}", info).get("limits") or {}

    def limit(name: str, *, none_at_all: bool = False) -> int | None:
        value = int(limits.get(name, -1))
        return value if value > 0 or (none_at_all and value == 0) else None

    return Account(
        memory=limit("max_memory", none_at_all=True),
        disk=limit("max_storage"),
        memory_stream=limit("memory_max_stream_bytes"),
        disk_stream=limit("storage_max_stream_bytes"),
        consumers=limit("max_consumers"),
        sizes=bool(limits.get("max_bytes_required")),
        full=0 < int(limits.get("max_streams", -1)) <= int(info.get("streams", 0)),
    )


UNLIMITED = Account()


def fitted(
    config: Mapping[str, Any], account: Account, settings: Settings, *, largest: bool
) -> dict[str, Any]:
    """`config`, or less where the settings or the account allow less. One stream is the `largest`:
    it may have half of the disk."""
    in_memory = config["storage"] == "memory" and account.memory != 0 and settings.memory_bytes > 0
    limits = (settings.memory_bytes, account.memory_stream) if in_memory else ()
    if in_memory and account.memory:
        limits += (account.memory // _MEMORY_PART,)
    if not in_memory:
        limits += (account.disk_stream,)
    if not in_memory and account.disk:
        limits += (account.disk // (_LOG_PART if largest else _FILE_PART),)
    default = settings.stream_bytes or (_SIZE if account.sizes else 0)
    wanted = config.get("max_bytes") or default
    return {
        **config,
        "storage": "memory" if in_memory else "file",
        "max_consumers": min(filter(None, (settings.consumers, account.consumers))),
        **({"max_bytes": min(filter(None, (wanted, *limits)))} if wanted else {}),
    }


def key_value(name: str, shared: Mapping[str, Any], *, storage: str) -> dict[str, Any]:
    """A key-value bucket in the stream `name`, with a TTL for each message."""
    return {
        **shared,
        "name": name,
        "subjects": [bucket(name, ">")],
        "retention": "limits",
        "storage": storage,
        # With more than one message a key, the server raises a short TTL to that of the delete
        # marker (ADR-43). Heartbeats rely on short ones.
        "max_msgs_per_subject": 1,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_msg_ttl": True,
        "subject_delete_marker_ttl": SECOND,
    }


def append_only(
    name: str, shared: Mapping[str, Any], subjects: Sequence[str], max_bytes: int
) -> dict[str, Any]:
    """A stream from which nobody can delete, but by deleting all of it. When it is full, the oldest
    messages go."""
    return {
        **shared,
        "name": name,
        "subjects": list(subjects),
        "retention": "limits",
        "storage": "file",
        "max_bytes": max_bytes,
        "allow_rollup_hdrs": False,
        "deny_delete": True,
        "deny_purge": True,
    }


def objects(name: str, shared: Mapping[str, Any], *, max_age: int) -> dict[str, Any]:
    """An object store in the stream `name`."""
    return {
        **shared,
        "name": name,
        "subjects": object_store(name.removeprefix("OBJ_")),
        "retention": "limits",
        "storage": "file",
        "max_age": max_age,
        "discard": "new",
        "allow_rollup_hdrs": True,
    }
