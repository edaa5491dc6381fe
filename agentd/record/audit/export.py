"""Writes messages with their proofs, for a verifier without agentd."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

from agentd import __version__
from agentd.errors import DecodeError, UsageError
from agentd.nats.bus import Bus
from agentd.record.audit import log_reader, step
from agentd.record.audit.log_reader import Entry
from agentd.record.audit.step import Step
from agentd.record.audit.verifier.tree import Frontier, node_hash

Wanted = Callable[[Entry], bool]


class Tree:
    """A tree of which the leaves from `start` on are known, and the frontier of those before."""

    def __init__(self, before: Frontier, leaves: list[bytes]) -> None:
        self.size = before.size + len(leaves)
        self._levels: list[tuple[int, list[bytes]]] = []
        # The largest subtree of the frontier is first; the lowest level has the smallest.
        left = list(before.hashes)
        start, nodes = before.size, leaves
        while nodes or left:
            if start & 1:
                nodes = [left.pop(), *nodes]
                start -= 1
            self._levels.append((start, nodes))
            pairs = zip(nodes[::2], nodes[1::2], strict=False)
            start, nodes = start >> 1, [node_hash(one, two) for one, two in pairs]
        self._hash = lru_cache(4096)(self._computed)

    def path(self, index: int) -> list[bytes]:
        """The proof that the leaf with this index is in the tree: RFC 9162, section 2.1.3.1."""
        found: list[bytes] = []
        first, end = 0, self.size
        while end - first > 1:
            middle = first + _split(end - first)
            if index < middle:
                found.append(self._hash(middle, end))
                end = middle
            else:
                found.append(self._hash(first, middle))
                first = middle
        return found[::-1]

    def root(self) -> bytes:
        return self._hash(0, self.size)

    def _computed(self, first: int, end: int) -> bytes:
        """The root of the leaves from `first` up to `end`."""
        count = end - first
        level = count.bit_length() - 1
        if count == 1 << level:
            start, nodes = self._levels[level]
            return nodes[(first >> level) - start]
        middle = first + _split(count)
        return node_hash(self._hash(first, middle), self._hash(middle, end))


def _split(count: int) -> int:
    """The largest power of two that is less than `count`."""
    return 1 << (count - 1).bit_length() - 1


async def exported(bus: Bus, env: str, wanted: Wanted | None = None) -> AsyncIterator[str]:
    """The lines of an export; with `wanted` only those messages, and what binds them together.

    Raises:
        UsageError: there is no audit, or it is damaged.
        BusError: the server does not answer.
    """
    found: list[Step] = []
    async for each in step.steps(bus, env):
        if isinstance(each, DecodeError):
            raise UsageError(f"{each}; see: agentd audit verify")
        if found or each.before is not None:
            found.append(each)
    if not found:
        raise step.none(env)
    async for line in lines(env, found, partial(log_reader.read, bus, env), wanted):
        yield line


async def lines(
    env: str, steps: Sequence[Step], read: log_reader.Read, wanted: Wanted | None = None
) -> AsyncIterator[str]:
    """The lines of an export of these steps, of which the first is an anchor."""
    first, newest = steps[0], steps[-1]
    before = Frontier(first.batch.start, first.before or ())
    tree = Tree(before, [leaf for each in steps for leaf in each.hashes()])
    head: dict[str, Any] = {
        "agentd": __version__,
        "env": env,
        "key": newest.key,
        "checkpoint": newest.note,
        "start": before.size,
        "before": [_text(each) for each in before.hashes],
    }
    yield json.dumps(head)
    log = _Log(read)
    for each in steps:
        index = each.batch.start
        for number, sequence in enumerate(each.batch.each(), index):
            entry = await log.at(sequence)
            if entry is not None and (wanted is None or wanted(entry)):
                yield _line(tree, number, _message(entry))
            elif entry is None and wanted is None:
                leaf = _text(each.leaves[number - index])
                yield _line(tree, number, {"sequence": sequence, "leaf": leaf})
        yield _line(tree, index + len(each.leaves), {"batch": each.text.decode()})


class _Log:
    """Messages of the log, by sequences that ascend."""

    def __init__(self, read: log_reader.Read) -> None:
        self._read = read
        self._entries: Iterator[Entry] = iter(())
        self._entry: Entry | None = None
        self._read_up_to = 0
        self._more = True

    async def at(self, sequence: int) -> Entry | None:
        while self._entry is None or self._entry.sequence < sequence:
            self._entry = next(self._entries, None)
            if self._entry is None and not await self._fill(sequence):
                return None
        return self._entry if self._entry.sequence == sequence else None

    async def _fill(self, sequence: int) -> bool:
        if not self._more:
            return False
        chunk = await self._read(max(self._read_up_to, sequence - 1))
        self._more = bool(chunk.pending)
        if chunk.entries:
            self._read_up_to = chunk.entries[-1].sequence
        self._entries = iter(chunk.entries)
        return bool(chunk.entries)


def _message(entry: Entry) -> dict[str, Any]:
    return {
        "sequence": entry.sequence,
        "time": entry.at.decode(),
        "subject": entry.subject.decode(errors="surrogateescape"),
        "headers": _text(entry.headers),
        "data": _text(entry.data),
    }


def _line(tree: Tree, index: int, fields: dict[str, Any]) -> str:
    path = [_text(each) for each in tree.path(index)]
    return json.dumps({"index": index, **fields, "proof": path})


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
