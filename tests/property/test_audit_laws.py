"""Any single change of what the server stores is found by the audit."""

from __future__ import annotations

import asyncio
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from agentd.record.audit.export import Tree
from agentd.record.audit.log_reader import Entry
from agentd.record.audit.verifier.tree import Frontier, is_included, leaf_hash
from tests.ledger import FIRST, Ledger, found

POSITIONS = st.integers(0, 10_000)


def ledger() -> Ledger:
    """Twenty steps of one to three messages; a sequence is free after every fifth message, which
    may be one of another environment."""
    made = Ledger(KEY)
    for number in range(20):
        for each in range(number % 3 + 1):
            made.store(f"event.a.b{number}", b"%d" % each * each, b"NATS/1.0\r\nA: 1\r\n" * each)
            if made.sequence % 5 == 0:
                made.sequence += 1
        made.step()
    return made


KEY = Ledger().key
LEDGER = ledger()


def changed(data: bytes, position: int) -> bytes:
    """The bytes with one bit changed; one byte more if there was none."""
    if not data:
        return b"x"
    place = position // 8 % len(data)
    return data[:place] + bytes([data[place] ^ 1 << position % 8]) + data[place + 1 :]


def copy() -> Ledger:
    made = Ledger(KEY)
    made.entries, made.stored = list(LEDGER.entries), dict(LEDGER.stored)
    made.sequence, made.now = LEDGER.sequence, LEDGER.now
    return made


def test_what_nobody_changed_is_verified() -> None:
    assert asyncio.run(copy().verify()).findings == []


@given(
    which=POSITIONS,
    field=st.sampled_from(["at", "subject", "headers", "data"]),
    position=POSITIONS,
)
def test_a_changed_bit_of_a_message_is_found(which: int, field: str, position: int) -> None:
    tampered = copy()
    entry = tampered.entries[which % len(tampered.entries)]
    tampered.change(entry.sequence, **{field: changed(getattr(entry, field), position)})

    [first] = found(asyncio.run(tampered.verify()))
    assert first == (entry.sequence, "was changed")


@given(which=POSITIONS)
def test_a_removed_message_is_found(which: int) -> None:
    tampered = copy()
    entry = tampered.entries[which % len(tampered.entries)]
    tampered.remove(entry.sequence)

    assert found(asyncio.run(tampered.verify())) == [(entry.sequence, "is missing")]


@given(which=POSITIONS, at=POSITIONS)
def test_an_inserted_message_is_found(which: int, at: int) -> None:
    tampered = copy()
    taken = {each.sequence for each in tampered.entries}
    free = [each for each in range(FIRST, tampered.entries[-1].sequence) if each not in taken]
    entry = tampered.entries[which % len(tampered.entries)]
    place = free[at % len(free)]
    tampered.entries = sorted([*tampered.entries, entry._replace(sequence=place)])

    assert found(asyncio.run(tampered.verify())) == [(place, "was inserted")]


@given(one=POSITIONS, other=POSITIONS)
def test_messages_in_another_order_are_found(one: int, other: int) -> None:
    tampered = copy()
    entries = tampered.entries
    first, second = one % len(entries), other % len(entries)
    swapped: list[Entry] = list(entries)
    swapped[first] = entries[second]._replace(sequence=entries[first].sequence)
    swapped[second] = entries[first]._replace(sequence=entries[second].sequence)
    tampered.entries = swapped

    changes = found(asyncio.run(tampered.verify()))
    expected = min(entries[first].sequence, entries[second].sequence)
    assert [each[0] for each in changes][:1] == ([] if first == second else [expected])


@given(left=st.integers(0, 38))
def test_a_log_that_was_cut_off_is_found(left: int) -> None:
    tampered = copy()
    first = tampered.entries[left].sequence
    tampered.entries = tampered.entries[:left]

    assert found(asyncio.run(tampered.verify()))[0][0] == first


@given(which=POSITIONS, position=POSITIONS)
def test_a_changed_bit_of_the_tree_is_found(which: int, position: int) -> None:
    tampered = copy()
    sequence = 1 + which % len(tampered.stored)
    tampered.stored[sequence] = changed(tampered.stored[sequence], position)

    assert asyncio.run(tampered.verify()).findings


@given(which=st.integers(1, 19))
def test_a_removed_step_is_found(which: int) -> None:
    tampered = copy()
    del tampered.stored[which]

    assert asyncio.run(tampered.verify()).findings


@given(one=st.integers(1, 20), other=st.integers(1, 20))
def test_steps_in_another_order_are_found(one: int, other: int) -> None:
    tampered = copy()
    stored = tampered.stored
    stored[one], stored[other] = stored[other], stored[one]

    assert bool(asyncio.run(tampered.verify()).findings) == (one != other)


@given(before=st.integers(0, 70), count=st.integers(1, 70), which=POSITIONS)
def test_every_leaf_is_proven_whatever_is_left_of_the_tree(
    before: int, count: int, which: int
) -> None:
    whole = Frontier()
    leaves = [leaf_hash(b"%d" % number) for number in range(before + count)]
    for leaf in leaves[:before]:
        whole.add(leaf)
    tree = Tree(Frontier(whole.size, whole.hashes), leaves[before:])
    for leaf in leaves[before:]:
        whole.add(leaf)
    index = before + which % count

    proven = partial(is_included, leaves[index], index, whole.size, tree.path(index))
    assert tree.root() == whole.root()
    assert proven(whole.root())
    assert not proven(leaves[index] if whole.size > 1 else b"")
