"""Compares the log on the server with the tree, message by message."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agentd.errors import DecodeError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import AUDIT, LOG
from agentd.record.audit import batch, log_reader, step, witness
from agentd.record.audit.chain import Chain
from agentd.record.audit.keys import verify as fast
from agentd.record.audit.log_reader import Entry, Read
from agentd.record.audit.step import Step
from agentd.record.audit.verifier.judge import FULL, Missing, Report, moment, runs
from agentd.record.audit.verifier.note import COSIGNED, Checkpoint, Key
from agentd.record.audit.verifier.tree import leaf_hash, message_leaf

_SLICE = 256  # messages that are compared without a pause: some milliseconds
_LATE = 60.0  # seconds that a message may wait for a checkpoint until that is mentioned


@dataclass
class Known:
    """What who verifies knows from elsewhere: keys, and checkpoints that were kept."""

    keys: Sequence[Key] = ()
    witnesses: Sequence[Key] = ()
    checkpoints: Sequence[Checkpoint] = ()


async def verify(bus: Bus, env: str, known: Known) -> Report:
    """What is wrong with the log of an environment.

    Raises:
        UsageError: there is no audit.
        BusError: the server does not answer.
    """
    with contextlib.suppress(DecodeError):  # a finding of the comparison
        if await step.newest(bus, env) is None:
            raise step.none(env)
    read = partial(log_reader.read, bus, env)
    comparison = Comparison(env, known.keys, read, now=time.time())
    wanted = {each.size: each for each in known.checkpoints}
    async for each in step.steps(bus, env):
        await comparison.step(each)
        if isinstance(each, Step) and each.checkpoint.size in wanted:
            _compare(wanted.pop(each.checkpoint.size), each.checkpoint, comparison.report)
    # As it is now: the oldest messages may have been removed meanwhile.
    info = await jetstream.api(bus, f"STREAM.INFO.{LOG}")
    report = await comparison.end(info, full=await _is_full(bus))
    for size, each in wanted.items():
        size_now = comparison.chain.frontier.size if comparison.chain.frontier else 0
        text = "the audit was cut off" if size > size_now else "it is older than the audit"
        report.find(0, f"the checkpoint of {size} leaves ({each.origin}) is not in it: {text}")
    if known.witnesses:
        await _require(bus, env, known.witnesses, report)
    if not known.keys:
        report.notes.append("the key is from NATS: with --key a forged audit is found too")
    report.findings.sort()
    return report


async def _is_full(bus: Bus) -> bool:
    info = await jetstream.api(bus, f"STREAM.INFO.{AUDIT}")
    most = max(0, info["config"].get("max_bytes", 0))
    return 0 < FULL * most <= info["state"]["bytes"]


def _compare(kept: Checkpoint, found: Checkpoint, report: Report) -> None:
    if (kept.origin, kept.root) != (found.origin, found.root):
        report.find(0, f"the checkpoint of {kept.size} leaves differs from the one that was kept")


async def _require(bus: Bus, env: str, witnesses: Sequence[Key], report: Report) -> None:
    """Adds which witness has not seen this tree."""
    cosigned = await witness.cosigned(bus, env)
    roots = {
        each.checkpoint.size: each.checkpoint.text
        async for each in step.steps(bus, env)
        if isinstance(each, Step)
    }
    for key in witnesses:
        seen, at = _newest_of(key, cosigned)
        if seen is None:
            report.find(0, f"the witness {key.name} has not cosigned")
        elif roots.get(seen.size) != seen.text:
            report.find(0, f"the witness {key.name} has seen another tree of {seen.size} leaves")
        else:
            report.notes.append(f"{key.name} cosigned {seen.size} leaves at {moment(at)}")


def _newest_of(key: Key, cosigned: Sequence[Checkpoint]) -> tuple[Checkpoint | None, float]:
    """What a witness has signed last, and when."""
    for each in reversed(cosigned if key.algorithm == COSIGNED else ()):
        at = each.signed_by(key, fast)
        if at is not None:
            return each, at
    return None, 0.0


@dataclass
class Comparison:
    """Compares the steps of the tree, oldest first, with the log."""

    env: str
    keys: Sequence[Key]
    read: Read
    now: float
    report: Report = field(default_factory=Report)

    def __post_init__(self) -> None:
        self.chain = Chain(self.keys)
        self._missing = Missing(self.env, self.now)
        self._log = _Cursor(self.read)
        self._changed: list[int] = []
        self._inserted: list[int] = []

    async def step(self, found: Step | DecodeError) -> None:
        """One step, or what is in its place."""
        if isinstance(found, DecodeError):
            self.report.find(0, str(found))
            return
        wrong = self.chain.follow(found)
        if wrong is None:
            return
        first = found.batch.sequences[0][0] if found.batch.sequences else 0
        for each in wrong:
            self.report.find(
                first, f"and those after it: sequence {found.sequence} of {AUDIT}: {each}"
            )
        self._missing.log(found.batch.log, found.batch.at)
        if first:
            if not self.report.first and self.chain.start:
                self._log.skip(first - 1)  # what came before has lost its leaves
            self.report.first = self.report.first or first
            await self._messages(found, first)

    async def _messages(self, found: Step, first: int) -> None:
        """Compares the messages of one step."""
        entries = self._log.until(first, found.last)
        entry = await anext(entries, None)
        for sequence, leaf in zip(found.batch.each(), found.leaves, strict=True):
            while entry is not None and entry.sequence < sequence:
                self._inserted.append(entry.sequence)
                entry = await anext(entries, None)
            if entry is None or entry.sequence > sequence:
                self._missing.add(sequence, found.batch)
                continue
            self._take(entry, leaf)
            entry = await anext(entries, None)
        self.report.last = found.last

    def _take(self, entry: Entry, leaf: bytes) -> None:
        self.report.messages += 1
        if leaf_hash(message_leaf(*entry)) != leaf:
            self._changed.append(entry.sequence)
        else:
            self._note(entry)

    def _note(self, entry: Entry) -> None:
        subject = entry.subject.decode(errors="replace")
        self._missing.message(entry.sequence, subject, entry.data)

    async def end(self, info: dict[str, Any], *, full: bool) -> Report:
        """What the whole log shows. `info` is what the server said of it; `full`, whether
        AGENTD_AUDIT discards its oldest steps."""
        report = self.report
        if self.chain.start and not full:
            text = f"and those before it: the oldest steps of {AUDIT} were removed"
            report.find(report.first, text)
        await self._after(report.last)
        self._missing.log(batch.log_state(info["state"], info["config"]), self.now)
        self._missing.judge(report)
        for kind, sequences in (
            ("changed: not as it was when it was stored", self._changed),
            ("inserted: it is not in the tree", self._inserted),
        ):
            for first, last in runs(sorted(sequences)):
                report.find(first, f"{f'to {last} ' * (last > first)}was {kind}")
        return report

    async def _after(self, last: int) -> None:
        """What came after the newest checkpoint: it may say what was erased."""
        count, oldest = 0, self.now
        async for entry in self._log.until(last + 1, None):
            oldest = oldest if count else batch.seconds(entry.at)
            count += 1
            self._note(entry)
        late = self.now - oldest
        if count and late > _LATE:
            self.report.notes.append(
                f"{count} messages after sequence {last} have no checkpoint yet; the oldest waits "
                f"for {late:.0f} s"
            )


class _Cursor:
    """Reads the log forward, and again from an earlier place when it is asked for one."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._entries: deque[Entry] = deque()
        self._position = 0  # up to where messages were read and given out
        self._more = True

    def skip(self, last: int) -> None:
        """Passes over the messages up to `last`."""
        self._position = last

    async def until(self, first: int, last: int | None) -> AsyncIterator[Entry]:
        """The messages up to `last`, from where the last ones ended, or from `first` where that is
        earlier: a server that lost its newest messages gives their sequences to others."""
        if first <= self._position:
            self._entries.clear()
            self._position, self._more = first - 1, True
        while True:
            if not self._entries and not await self._fill():
                return
            if last is not None and self._entries[0].sequence > last:
                return
            entry = self._entries.popleft()
            self._position = entry.sequence
            if not len(self._entries) % _SLICE:
                await asyncio.sleep(0)  # it may run beside agents
            yield entry

    async def _fill(self) -> bool:
        if self._more:
            chunk = await self._read(self._position)
            self._entries.extend(chunk.entries)
            self._more = chunk.pending > 0
        return bool(self._entries)
