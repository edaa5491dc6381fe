"""A log and its tree in memory: what the server stores, for tests of the audit to tamper with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from agentd.errors import DecodeError
from agentd.nats.account import SECOND
from agentd.record.audit import keys
from agentd.record.audit.export import Wanted, lines
from agentd.record.audit.head import Head, after
from agentd.record.audit.keys import Signer
from agentd.record.audit.log_reader import Chunk, Entry
from agentd.record.audit.step import Step
from agentd.record.audit.verifier.judge import Report
from agentd.record.audit.verifier.note import Key
from agentd.record.audit.verifier.tree import leaf_hash, message_leaf
from agentd.record.audit.verify import Comparison

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
FIRST = 1000
DAY = 86400


class Ledger:
    """The log of the environment `dev`; every message is stored a second after the one before.

    Attributes:
        entries: the messages that the server still has.
        stored: the steps, as they are stored, by their sequences in AGENTD_AUDIT.
    """

    def __init__(self, key: Signer | None = None) -> None:
        self.key = key or keys.Signer.new("agentd/dev/test")
        self.entries: list[Entry] = []
        self.stored: dict[int, bytes] = {}
        self.head = Head()
        self.now = NOON
        self.sequence = FIRST
        self.size, self.max_bytes, self.max_age = 10_000, 1_000_000, 30 * DAY
        self._waiting: list[Entry] = []

    def store(
        self, subject: str = "event.a.b", data: bytes = b"hello", headers: bytes = b""
    ) -> int:
        """Stores a message; returns its sequence."""
        at = datetime.fromtimestamp(self.now, UTC).isoformat().replace("+00:00", ".123456789Z")
        name = f"agents.dev.{subject}".encode()
        entry = Entry(self.sequence, at.encode(), name, headers, data)
        self.entries.append(entry)
        self._waiting.append(entry)
        self.sequence += 1
        self.now += 1
        return entry.sequence

    def erase(self, *sequences: int, said_by: str | None = "event.conversation.forgotten") -> None:
        """Removes messages; an event says so, by default."""
        self.remove(*sequences)
        if said_by:
            content = {"erased": [[each, each] for each in sequences]}
            self.store(said_by, json.dumps({"payload": {"content": content}}).encode())

    def remove(self, *sequences: int) -> None:
        self.entries = [each for each in self.entries if each.sequence not in sequences]

    def change(self, sequence: int, **fields: Any) -> None:
        """Changes a message that is stored."""
        place = next(i for i, each in enumerate(self.entries) if each.sequence == sequence)
        self.entries[place] = self.entries[place]._replace(**fields)
        self.entries.sort()

    def step(self) -> Step:
        """Adds to the tree what was stored since the last step."""
        leaves = [leaf_hash(message_leaf(*each)) for each in self._waiting]
        made, tree = self.head.step(self._waiting, leaves, self.info, self.key)
        sequence = max(self.stored, default=0) + 1
        self.stored[sequence] = made.dump()
        self.head = after(made, tree, sequence)
        self._waiting = []
        return Step.parse(self.stored[sequence], sequence)

    def steps(self) -> list[Step]:
        return [Step.parse(data, sequence) for sequence, data in sorted(self.stored.items())]

    @property
    def info(self) -> dict[str, Any]:
        """What the server says of the log."""
        first = self.entries[0].sequence if self.entries else self.sequence
        return {
            "ts": datetime.fromtimestamp(self.now, UTC).isoformat(),
            "state": {"first_seq": first, "last_seq": self.sequence - 1, "bytes": self.size},
            "config": {"max_bytes": self.max_bytes, "max_age": self.max_age * SECOND},
        }

    async def read(self, after: int) -> Chunk:
        """As `log_reader.read`; three messages at a time."""
        found = [each for each in self.entries if each.sequence > after]
        return Chunk(found[:3], len(found[3:]))

    async def export(self, wanted: Wanted | None = None) -> list[str]:
        """The lines of an export."""
        return [line async for line in lines("dev", self.steps(), self.read, wanted)]

    async def verify(self, keys: Sequence[Key] = (), *, full: bool = False) -> Report:
        """Compares the log with the tree; `full` says that old steps are discarded."""
        known = keys or [self.key.public]
        comparison = Comparison("dev", known, self.read, now=self.now)
        for sequence, data in sorted(self.stored.items()):
            try:
                step = Step.parse(data, sequence)
            except DecodeError as error:
                await comparison.step(error)
            else:
                await comparison.step(step)
        report = await comparison.end(self.info, full=full)
        report.findings.sort()
        return report


def found(report: Report) -> list[tuple[int, str]]:
    """The findings: the first sequence, and the beginning of the text."""
    return [(each.sequence, each.text.partition(":")[0]) for each in report.findings]
