"""The object store as a stranger uses it, who has access to it."""

from __future__ import annotations

from agentd.nats import jetstream, objects
from agentd.nats.bus import Bus
from agentd.protocol.message import new_id
from agentd.protocol.server_subjects import object_entry


async def replace_object(bus: Bus, digest: str, data: bytes) -> None:
    """Makes the object of this digest have other data."""
    other = object_entry(objects.BUCKET, await objects.put(bus, data))
    _, entry = await jetstream.newest(bus, objects.STREAM, other)
    await jetstream.store(
        bus,
        object_entry(objects.BUCKET, digest),
        entry,
        message_id=new_id(),
        headers={"Nats-Rollup": "sub"},
    )
