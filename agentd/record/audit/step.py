"""One step of the tree, as it is stored: the leaves that were added, and the checkpoint after them.

A step is one message of `AGENTD_AUDIT`: a line with the batch, which is a leaf too, a line with the
signed note, and the hashes of the messages. It cannot be stored in part, and a second process that
goes on from the same step is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agentd.errors import DecodeError, UsageError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.jetstream import ApiError
from agentd.nats.streams import AUDIT
from agentd.protocol.subjects import Subjects
from agentd.record.audit.verifier.judge import Batch
from agentd.record.audit.verifier.note import Checkpoint, Key
from agentd.record.audit.verifier.tree import Frontier, batch_leaf, leaf_hash

# Every so many steps have the frontier of the tree, from which a reader can begin when older steps
# have been discarded.
ANCHOR_EVERY = 16
_NO_STREAM = 10059  # an error code of the server
MOST = 4096  # messages of a step: 128 kB of hashes


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        number: counts the steps of the tree, from 0.
        anchor: the sequence in AGENTD_AUDIT of the newest step before with a frontier; 0 if this
            one has it.
        before: the frontier of the tree before this step, if it is an anchor.
        key: the public key that signed.
        text: the batch, as its leaf has it.
        leaves: the hashes of the messages.
        sequence: its own sequence in AGENTD_AUDIT, 0 if it is not stored yet.
    """

    number: int
    anchor: int
    before: tuple[bytes, ...] | None
    key: str
    note: str
    text: bytes
    leaves: Sequence[bytes]
    batch: Batch
    checkpoint: Checkpoint
    sequence: int = 0

    @classmethod
    def make(
        cls, text: bytes, leaves: Sequence[bytes], *, note: str, key: Key, **more: Any
    ) -> Step:
        batch, checkpoint = Batch.parse(text), Checkpoint.parse(note)
        return cls(
            text=text,
            leaves=leaves,
            note=note,
            key=str(key),
            batch=batch,
            checkpoint=checkpoint,
            **more,
        )

    @classmethod
    def parse(cls, data: bytes, sequence: int) -> Step:
        """The step in a message of AGENTD_AUDIT.

        Raises:
            DecodeError: it is none.
        """
        try:
            text, line, hashes = data.split(b"\n", 2)
            fields = json.loads(line)
            before = fields.get("before")
            step = cls.make(
                text,
                [hashes[at : at + 32] for at in range(0, len(hashes), 32)],
                note=fields["note"],
                key=Key.parse(fields["key"]),
                number=int(fields["number"]),
                anchor=int(fields["anchor"]),
                before=None if before is None else tuple(map(base64.b64decode, before)),
                sequence=sequence,
            )
            if step.before is not None:
                Frontier(step.batch.start, step.before)
            count = sum(last - first + 1 for first, last in step.batch.sequences)
            # Exactly as it was written: no bit of it may differ.
            if len(hashes) != 32 * count or step.dump() != data:
                raise ValueError("it is not as agentd writes it")
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise DecodeError(f"it is no step of the audit: {error}") from None
        return step

    def dump(self) -> bytes:
        fields: dict[str, Any] = {"number": self.number, "anchor": self.anchor}
        if self.before is not None:
            fields["before"] = [base64.b64encode(each).decode() for each in self.before]
        line = json.dumps({**fields, "key": self.key, "note": self.note}).encode()
        return b"\n".join((self.text, line, b"".join(self.leaves)))

    @property
    def last(self) -> int:
        """The sequence of its newest message."""
        return self.batch.sequences[-1][1] if self.batch.sequences else 0

    def hashes(self) -> Iterable[bytes]:
        """All leaves that it adds."""
        yield from self.leaves
        yield leaf_hash(batch_leaf(self.text))


def grown(tree: Frontier, text: bytes, leaves: Iterable[bytes]) -> Frontier:
    """The tree with these leaves, and the batch that describes them."""
    after = Frontier(tree.size, tree.hashes)
    for leaf in leaves:
        after.add(leaf)
    after.add(leaf_hash(batch_leaf(text)))
    return after


def none(env: str) -> UsageError:
    """The error of a command that needs a step."""
    return UsageError(
        f"{AUDIT} has no checkpoint of {env!r}: `agentd up` makes the first one, unless "
        "AGENTD_AUDIT=off"
    )


def subject(env: str) -> str:
    """Where the steps of an environment are stored."""
    return Subjects(env).audit("checkpoint")


async def steps(bus: Bus, env: str, start: int = 1) -> AsyncIterator[Step | DecodeError]:
    """The steps that are stored, oldest first; an error for what is none.

    Raises:
        BusError: the server does not answer.
    """
    async for msg in jetstream.stored(bus, AUDIT, subject(env), start=start):
        sequence = int((msg.headers or {})["Nats-Sequence"])
        try:
            yield Step.parse(msg.data, sequence)
        except DecodeError as error:
            yield DecodeError(f"sequence {sequence} of {AUDIT}: {error}")


async def newest(bus: Bus, env: str) -> Step | None:
    """The newest step; None without any, and without the stream.

    Raises:
        DecodeError: the newest message is none.
        BusError: the server does not answer.
    """
    try:
        sequence, data = await jetstream.newest(bus, AUDIT, subject(env))
    except ApiError as error:
        if error.code == _NO_STREAM:
            return None
        raise
    return Step.parse(data, sequence) if sequence else None


async def frontier(bus: Bus, env: str, step: Step) -> Frontier:
    """The frontier of the tree after `step`, which is the newest.

    Raises:
        DecodeError: the steps since the last anchor are not there, or do not lead to it.
        BusError: the server does not answer.
    """
    found: Frontier | None = None
    async for each in steps(bus, env, step.anchor or step.sequence):
        if isinstance(each, DecodeError):
            raise each
        if found is None:
            found = Frontier(each.batch.start, each.before or ())
        for leaf in each.hashes():
            found.add(leaf)
        if each.sequence == step.sequence:
            break
    if found is None or found.root() != step.checkpoint.root:
        raise DecodeError(f"sequence {step.sequence} of {AUDIT} does not follow from those before")
    return found
