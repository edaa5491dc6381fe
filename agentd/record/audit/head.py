"""Where the tree ends, and the step that makes it longer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentd.nats.bus import Bus
from agentd.record.audit import batch, step
from agentd.record.audit.keys import Signer
from agentd.record.audit.log_reader import Entry
from agentd.record.audit.step import ANCHOR_EVERY, Step
from agentd.record.audit.verifier.tree import Frontier


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of the tree.

    Attributes:
        last: the newest message of the log in it.
        number: of the newest step; -1 without one.
        anchor: the newest step with a frontier, by its sequence in AGENTD_AUDIT.
        sequence: of the newest step in AGENTD_AUDIT.
    """

    tree: Frontier = field(default_factory=Frontier)
    last: int = 0
    number: int = -1
    anchor: int = 0
    sequence: int = 0

    def step(
        self,
        entries: Sequence[Entry],
        leaves: Sequence[bytes],
        info: Mapping[str, Any],
        key: Signer,
    ) -> tuple[Step, Frontier]:
        """The next step: these messages, with the hashes of their leaves; and the tree after it.
        `info` is what the server says of the log."""
        text = batch.text(entries, self.tree.size, info)
        number = self.number + 1
        is_anchor = number % ANCHOR_EVERY == 0
        after = step.grown(self.tree, text, leaves)
        made = Step.make(
            text,
            leaves,
            note=key.checkpoint(after),
            key=key.public,
            number=number,
            anchor=0 if is_anchor else self.anchor,
            before=tuple(self.tree.hashes) if is_anchor else None,
        )
        return made, after


def after(added: Step, tree: Frontier, sequence: int) -> Head:
    """The end of the tree after a step, which was stored with this sequence."""
    return Head(
        tree=tree,
        last=added.last,
        number=added.number,
        anchor=added.anchor or sequence,
        sequence=sequence,
    )


async def load(bus: Bus, env: str, newest: Step) -> Head:
    """The end of the tree after its newest step.

    Raises:
        DecodeError: what is stored is no tree.
        BusError: the server does not answer.
    """
    return after(newest, await step.frontier(bus, env, newest), newest.sequence)
