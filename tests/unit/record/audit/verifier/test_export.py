"""An export is verified without a server, and without agentd."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from agentd.record.audit.keys import Signer
from agentd.record.audit.verifier.export import check
from tests.ledger import DAY, FIRST, Ledger, found

Lines = list[dict[str, Any]]


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger()
    for _ in range(3):
        made.store(data=b"hello", headers=b"NATS/1.0\r\nA: \xff\r\n")
        made.store(data=b"\xff\x00")
        made.step()
    return made


async def exported(ledger: Ledger) -> Lines:
    return [json.loads(line) for line in await ledger.export()]


def verified(ledger: Ledger, lines: Lines, **options: Any) -> list[tuple[int, str]]:
    return found(check(map(json.dumps, lines), [ledger.key.public], now=ledger.now, **options))


async def test_what_agentd_writes_is_verified(ledger: Ledger) -> None:
    report = check(await ledger.export(), [ledger.key.public], now=ledger.now)

    assert report.findings == []
    assert (report.messages, report.first, report.last) == (6, FIRST, FIRST + 5)
    assert report.notes == []


async def test_without_a_key_the_one_of_the_file_counts_and_that_is_said(ledger: Ledger) -> None:
    report = check(await ledger.export(), [], now=ledger.now)

    assert report.findings == []
    assert "the key is from the file" in report.notes[0]


async def test_another_key_is_found(ledger: Ledger) -> None:
    report = check(await ledger.export(), [Signer.new("other").public], now=ledger.now)

    assert "the checkpoint is not signed with the key" in report.findings[0].text


def changed(line: int, **fields: Any) -> Callable[[Lines], object]:
    return lambda lines: lines[line].update(fields)


def moved(line: int, to: int) -> Callable[[Lines], object]:
    return lambda lines: lines.insert(to, lines.pop(line))


# The lines: the head, then two messages and a batch, three times.
@pytest.mark.parametrize(
    ("tamper", "sequence", "text"),
    [
        (changed(2, data=base64.b64encode(b"other").decode()), FIRST + 1, "was changed"),
        (changed(2, headers="QQ=="), FIRST + 1, "was changed"),
        (changed(1, headers=""), FIRST, "was changed"),
        (changed(2, subject="agents.dev.event.a.c"), FIRST + 1, "was changed"),
        (changed(2, time="2026-11-30T12:00:02Z"), FIRST + 1, "was changed"),
        (changed(2, sequence=FIRST + 7), FIRST + 1, "is in the file as"),
        (changed(2, index=0), FIRST + 1, "is in the wrong place"),
        (lambda lines: lines.pop(2), FIRST + 1, "is missing in the file"),
        (lambda lines: lines.pop(1), FIRST, "is missing in the file"),
        (lambda lines: lines.pop(3), FIRST + 2, "or a later one is missing"),
        (lambda lines: lines.pop(), FIRST + 6, "and all after it are missing"),
        (lambda lines: lines.insert(5, lines[2]), FIRST + 1, "is in the wrong place"),
        (moved(2, 1), FIRST, "is in the wrong place"),
        (lambda lines: lines.__delitem__(slice(4, None)), FIRST + 2, "and all after it"),
        (lambda lines: lines.__delitem__(slice(1, None)), 1, "and all after it"),
        (lambda lines: lines[5].pop("proof"), FIRST + 3, "or a later one cannot be read"),
        (changed(5, proof=["x"]), FIRST + 3, "or a later one cannot be read"),
        (changed(0, start=4, before=[]), 1, "or a later one cannot be read"),
        (lambda lines: lines.clear(), 0, "the file is empty"),
    ],
)
async def test_tampering_is_found_with_the_first_sequence(
    ledger: Ledger, tamper: Callable[[Lines], object], sequence: int, text: str
) -> None:
    lines = await exported(ledger)
    tamper(lines)

    first, beginning = verified(ledger, lines)[0]
    assert (first, beginning.startswith(text)) == (sequence, True), beginning


async def test_a_message_cannot_be_passed_off_as_erased(ledger: Ledger) -> None:
    lines = await exported(ledger)
    leaf = base64.b64encode(ledger.steps()[0].leaves[1]).decode()
    lines[2] = {"index": 1, "sequence": FIRST + 1, "leaf": leaf, "proof": lines[2]["proof"]}

    assert verified(ledger, lines) == [(FIRST + 1, "is missing")]


async def test_what_was_erased_or_is_too_old_may_be_gone(ledger: Ledger) -> None:
    ledger.erase(FIRST + 1)
    ledger.step()
    assert verified(ledger, await exported(ledger)) == []

    ledger.remove(FIRST)
    assert verified(ledger, await exported(ledger)) == [(FIRST, "is missing")]
    ledger.now += 31 * DAY
    assert verified(ledger, await exported(ledger)) == []


async def test_a_part_is_verified_as_a_part(ledger: Ledger) -> None:
    lines = await ledger.export(lambda entry: entry.sequence == FIRST + 3)

    assert len(lines) == 1 + 3 + 1
    report = check(lines, [ledger.key.public], now=ledger.now, part=True)
    assert (report.findings, report.messages) == ([], 1)
    assert "nothing shows what is not in the file" in report.notes[0]
    assert found(check(lines, [ledger.key.public], now=ledger.now))[0][0] == FIRST


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"7", b"[" * 100_000, b'{"index": 1e999}'])
async def test_any_bytes_are_a_finding_and_no_crash(ledger: Ledger, line: bytes) -> None:
    lines: list[str | bytes] = [*(await ledger.export())]
    lines[2] = line

    assert check(lines, [ledger.key.public], now=ledger.now).findings
    assert check([line], [ledger.key.public], now=ledger.now).findings
