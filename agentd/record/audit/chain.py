"""Follows the steps of the tree, and checks that each one follows from the one before."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.record.audit.keys import verify
from agentd.record.audit.step import Step
from agentd.record.audit.verifier.note import Checkpoint, Key
from agentd.record.audit.verifier.tree import Frontier


class Chain:
    """The tree as far as its steps were read. Steps before the first anchor are passed over."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = keys  # without any, the key of the first step
        self._anchor = 0
        self.frontier: Frontier | None = None
        self.newest: Step | None = None
        self.start = 0  # the index of the first leaf that was read
        self.before: tuple[bytes, ...] = ()  # the frontier there

    def follow(self, step: Step) -> list[str] | None:
        """What is wrong with the step; None if it is passed over. The chain goes on from it."""
        if self.frontier is None:
            if step.before is None:
                return None
            self.start, self.before = step.batch.start, step.before
            self.frontier = Frontier(self.start, self.before)
        self._keys = self._keys or [Key.parse(step.key)]
        wrong = list(self._wrong(step, self.frontier))
        if step.before is not None:
            # The chain goes on, so that one gap is one finding.
            self.frontier = Frontier(step.batch.start, step.before)
            self._anchor = step.sequence
        for leaf in step.hashes():
            self.frontier.add(leaf)
        if (self.frontier.size, self.frontier.root()) != _head(step.checkpoint):
            wrong.append("its leaves do not make the tree of its checkpoint")
        if not any(step.checkpoint.signed_by(key, verify) is not None for key in self._keys):
            wrong.append(f"its checkpoint is not signed with the key, but with {step.key}")
        self.newest = step
        return wrong

    def _wrong(self, step: Step, frontier: Frontier) -> list[str]:
        found: list[str] = []
        if step.batch.start != frontier.size or step.checkpoint.size <= frontier.size:
            found.append(f"it begins at leaf {step.batch.start}, and not at {frontier.size}")
        if step.before is not None and list(step.before) != frontier.hashes:
            found.append("it does not go on from the tree before it")
        if self.newest is not None and step.number != self.newest.number + 1:
            found.append(f"it has the number {step.number}, after {self.newest.number}")
        if step.anchor != (0 if step.before is not None else self._anchor):
            found.append("it names another anchor")
        if self.newest is not None and step.checkpoint.origin != self.newest.checkpoint.origin:
            found.append(f"it is of another log: {step.checkpoint.origin}")
        return found


def _head(checkpoint: Checkpoint) -> tuple[int, bytes]:
    return checkpoint.size, checkpoint.root
