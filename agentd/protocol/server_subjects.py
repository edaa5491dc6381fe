"""The subjects that the NATS server defines: its API, acknowledgements, advisories, buckets.

The formats are theirs: https://github.com/nats-io/nats-architecture-and-design, ADR-8 (buckets),
ADR-15 (acknowledgements), ADR-20 (object stores), ADR-31 (direct get).
"""

from __future__ import annotations

import base64
from typing import Final, Literal, NamedTuple

# What a client may call: `$JS.API.STREAM.INFO.AGENTD_LOG`, for example.
API: Final = "$JS.API"

# The server publishes to these without being asked; `*` is the name of the stream.
STREAM_DELETED: Final = "$JS.EVENT.ADVISORY.STREAM.DELETED.*"


def api(call: str) -> str:
    """A call of the JetStream API, for example `STREAM.INFO.AGENTD_LOG`."""
    return f"{API}.{call}"


def direct_get(stream: str, subject: str = "") -> str:
    """Reads messages of a stream; with a subject (no wildcards), the last message on it."""
    read = f"{API}.DIRECT.GET.{stream}"
    return f"{read}.{subject}" if subject else read


def next_message(stream: str, consumer: str) -> str:
    """Pulls from a consumer."""
    return f"{API}.CONSUMER.MSG.NEXT.{stream}.{consumer}"


def acknowledgement(stream: str, consumer: str) -> str:
    """The reply subject of a message that was never delivered: see `Acknowledgement`."""
    return f"$JS.ACK.{stream}.{consumer}.1.1.1.1.1"


def consumer_advisory(kind: Literal["MAX_DELIVERIES", "MSG_TERMINATED"], stream: str) -> str:
    """The pattern of the advisories about the consumers of a stream.

    A wildcard stands for a whole token, so it cannot select the consumers of one environment.
    """
    return f"$JS.EVENT.ADVISORY.CONSUMER.{kind}.{stream}.*"


def bucket(stream: str, *key: str) -> str:
    """The subject of a key in the bucket that `stream` (`KV_…`) stores; `*` and `>` may stand in
    it."""
    return ".".join(("$KV", stream.removeprefix("KV_"), *key))


def object_store(name: str) -> list[str]:
    """The patterns of an object store: the pieces of its objects, and what is known about them."""
    return [f"$O.{name}.C.>", f"$O.{name}.M.>"]


def object_entry(name: str, key: str) -> str:
    """Where an object store has what is known about one object."""
    return f"$O.{name}.M.{base64.urlsafe_b64encode(key.encode()).decode()}"


def object_pieces(name: str, nuid: str) -> str:
    """Where an object store has the pieces of one object."""
    return f"$O.{name}.C.{nuid}"


def is_acknowledgement(reply: str) -> bool:
    """Whether a message with this reply subject is of a stream, to be acknowledged there."""
    return reply.startswith("$JS.ACK.")


class Acknowledgement(NamedTuple):
    """What the reply subject of a delivered message says about it.

    It is `$JS.ACK.{stream}.{consumer}.{deliveries}.{sequence}.{sequence in the consumer}.{time in
    nanoseconds}.{pending}`.

    Attributes:
        deliveries: how often the server has delivered the message; 1 the first time.
        sequence: its sequence in the stream.
        stored_at: when the stream stored it, in seconds since the epoch.
        pending: how many messages the consumer had left when it delivered this one. A message
            that is delivered a second time is not counted.
    """

    stream: str
    deliveries: int
    sequence: int
    stored_at: float
    pending: int

    @classmethod
    def parse(cls, reply: str) -> Acknowledgement:
        _, _, stream, _, deliveries, sequence, _, nanoseconds, pending = reply.split(".")
        return cls(stream, int(deliveries), int(sequence), int(nanoseconds) / 1e9, int(pending))
