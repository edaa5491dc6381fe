"""Reads an export line by line, and verifies it against the checkpoint that it names.

The export has one JSON object a line. The first names the newest checkpoint and the tree before the
first leaf. Every other line is one leaf of the Merkle tree: a message, a message that is gone, or a
batch, which says what was read of the log in one go.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from agentd.record.audit.verifier.ed25519 import verify as ed25519
from agentd.record.audit.verifier.judge import Batch, Missing, Report, runs
from agentd.record.audit.verifier.note import Checkpoint, Key, Verify
from agentd.record.audit.verifier.tree import (
    Frontier,
    batch_leaf,
    is_included,
    leaf_hash,
    message_leaf,
)


class Export:
    """Reads the lines of an export in order."""

    def __init__(self, head: dict[str, Any], *, part: bool, now: float) -> None:
        self.checkpoint = Checkpoint.parse(head["checkpoint"])
        self._frontier = Frontier(int(head["start"]), map(_bytes, head["before"]))
        self._missing = Missing(str(head["env"]), now)
        self._part = part
        self._next = self._frontier.size
        self._seen: dict[int, tuple[int, bool]] = {}  # by index: the sequence; is it there?
        self._gaps: dict[int, int] = {}  # the indices that are missing: the sequence before
        self.report = Report()

    def read(self, line: dict[str, Any]) -> None:
        """One leaf."""
        index, sequence = int(line["index"]), int(line.get("sequence", 0))
        if index < self._next:
            self.report.find(sequence, "is in the wrong place, or in the file twice")
            return
        self._gaps.update(dict.fromkeys(range(self._next, index), self.report.last))
        leaf, path = self._leaf(line), [_bytes(each) for each in line["proof"]]
        head = self.checkpoint
        if not is_included(leaf, index, head.size, path, head.root):
            self.report.find(sequence or self.report.last, "was changed: it is not in the tree")
        if not self._gaps:
            self._frontier.add(leaf)
        self._next = index + 1
        self._take(line, index, sequence)

    def _leaf(self, line: dict[str, Any]) -> bytes:
        if "batch" in line:
            return leaf_hash(batch_leaf(line["batch"].encode()))
        if "leaf" in line:
            return _bytes(line["leaf"])
        at, subject = line["time"].encode(), _text(line["subject"])
        fields = at, subject, _bytes(line["headers"]), _bytes(line["data"])
        return leaf_hash(message_leaf(int(line["sequence"]), *fields))

    def _take(self, line: dict[str, Any], index: int, sequence: int) -> None:
        if "batch" in line:
            self._close(Batch.parse(line["batch"].encode()), index)
            return
        self._seen[index] = sequence, "leaf" not in line
        self.report.first = self.report.first or sequence
        self.report.last = sequence
        if "leaf" not in line:
            self.report.messages += 1
            self._missing.message(sequence, line["subject"], _bytes(line["data"]))

    def _close(self, batch: Batch, index: int) -> None:
        """Compares what came since the last batch with what this one says."""
        self._missing.log(batch.log, batch.at)
        for number, sequence in enumerate(batch.each(), batch.start):
            seen, is_there = self._seen.pop(number, (None, False))
            if seen is None:
                if self._gaps.pop(number, None) is not None and not self._part:
                    self.report.find(sequence, "is missing in the file")
            elif seen != sequence:
                self.report.find(sequence, f"is in the file as {seen}")
            elif not is_there:
                self._missing.add(sequence, batch)
        self._seen.clear()

    def end(self) -> Report:
        """What the whole file shows."""
        report, size = self.report, self.checkpoint.size
        self._missing.judge(report)
        if self._part:
            report.notes.append("a part of the log: nothing shows what is not in the file")
            return report
        for (first, last), before in _gaps(self._gaps):
            count = last - first + 1
            report.find(
                before + 1, f"or a later one is missing: {count} leaves are not in the file"
            )
        if self._next < size:
            report.find(
                report.last + 1, f"and all after it are missing: {size - self._next} leaves"
            )
        elif not report.findings and self._frontier.root() != self.checkpoint.root:
            report.find(0, "the leaves of the file do not make the tree of the checkpoint")
        return report


def _gaps(gaps: dict[int, int]) -> list[tuple[tuple[int, int], int]]:
    return [(run, gaps[run[0]]) for run in runs(sorted(gaps))]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text(subject: str) -> bytes:
    return subject.encode(errors="surrogateescape")


def check(
    lines: Iterable[str | bytes],
    keys: Sequence[Key],
    *,
    part: bool = False,
    now: float | None = None,
    verify: Verify = ed25519,
) -> Report:
    """Verifies an export against these keys; without any, against the key that it names."""
    rows = iter(lines)
    report, last = Report(), 0
    try:
        head = json.loads(next(rows))
        export = Export(head, part=part, now=time.time() if now is None else now)
        report = export.report
        named = list(keys) or [Key.parse(head["key"])]
        if not keys:
            report.notes.append("the key is from the file: with --key a forged file is found too")
        if all(export.checkpoint.signed_by(key, verify) is None for key in named):
            report.find(0, "the checkpoint is not signed with the key")
        for row in rows:
            last = report.last
            export.read(json.loads(row))
        export.end()
    except StopIteration:
        report.find(0, "the file is empty")
    except (
        *(ValueError, TypeError, LookupError, AttributeError),
        *(ArithmeticError, RecursionError),
    ) as error:
        report.find(last + 1, f"or a later one cannot be read: {type(error).__name__}: {error}")
    report.findings.sort()
    return report
