"""The log is compared with its tree: what may be gone, and what may not."""

from __future__ import annotations

import pytest

from agentd.protocol import erasure
from agentd.record.audit.keys import Signer
from tests.ledger import DAY, FIRST, Ledger, found


@pytest.fixture
def ledger() -> Ledger:
    """Three steps of two messages each."""
    made = Ledger()
    for _ in range(3):
        made.store()
        made.store()
        made.step()
    return made


async def test_an_untouched_log_is_verified(ledger: Ledger) -> None:
    report = await ledger.verify()

    assert report.findings == []
    assert (report.messages, report.first, report.last) == (6, FIRST, FIRST + 5)
    assert report.gone == {}


@pytest.mark.parametrize("domain", sorted(erasure.DOMAINS))
async def test_what_an_event_names_may_be_gone(ledger: Ledger, domain: str) -> None:
    ledger.erase(FIRST + 1, FIRST + 2, said_by=f"event.{domain}.x")
    ledger.step()

    report = await ledger.verify()
    assert (report.findings, report.gone) == ([], {"erased": 2})
    assert report.notes == [f"the event with sequence {FIRST + 6} says that 2 were erased"]


async def test_an_erasure_counts_before_it_has_a_checkpoint(ledger: Ledger) -> None:
    ledger.erase(FIRST + 1, said_by="event.dlq.dropped")

    assert (await ledger.verify()).findings == []


async def test_a_message_that_is_gone_without_a_word_is_found(ledger: Ledger) -> None:
    ledger.remove(FIRST + 1, FIRST + 2, FIRST + 4)

    report = await ledger.verify()
    assert [str(each.sequence) for each in report.findings] == [str(FIRST + 1), str(FIRST + 4)]
    assert report.findings[0].text.startswith(f"to {FIRST + 2} are missing: removed")


@pytest.mark.parametrize("domain", ["event.review.done", "task.dlq.dropped", "result.a.b.c"])
async def test_what_agents_can_publish_erases_nothing(ledger: Ledger, domain: str) -> None:
    ledger.erase(FIRST + 1, said_by=domain)

    assert found(await ledger.verify()) == [(FIRST + 1, "is missing")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"payload": {"content": {"erased": 7}}}',
        b'{"payload": {"content": {"erased": [[1]]}}}',
        b'{"payload": {"content": {"erased": [[null, 1]]}}}',
        b'{"payload": {"content": {"erased": [[1, 1e999]]}}}',
        b"[" * 100_000,
    ],
)
async def test_an_event_that_cannot_be_read_erases_nothing(ledger: Ledger, data: bytes) -> None:
    ledger.remove(FIRST)
    ledger.store("event.conversation.forgotten", data)

    assert found(await ledger.verify()) == [(FIRST, "is missing")]


async def test_nothing_erases_what_came_after_it(ledger: Ledger) -> None:
    ledger.store(
        "event.conversation.forgotten",
        b'{"payload": {"content": {"erased": [[1, 99999999999]]}}}',
    )
    last = ledger.store()
    ledger.step()
    ledger.remove(FIRST, last)

    assert found(await ledger.verify()) == [(last, "is missing")]


async def test_what_expires_may_be_gone_when_its_time_has_come(ledger: Ledger) -> None:
    gone = ledger.store(headers=b"NATS/1.0\r\nNats-TTL: 5m\r\n")
    kept = ledger.store(headers=b"NATS/1.0\r\nNats-TTL: 365h\r\n")
    ledger.step()
    ledger.now += 3600
    ledger.remove(gone)
    assert (await ledger.verify()).gone == {"expired": 1}

    ledger.remove(kept)
    assert found(await ledger.verify()) == [(kept, "is missing")]


async def test_what_is_older_than_the_log_may_be_gone(ledger: Ledger) -> None:
    ledger.remove(FIRST, FIRST + 1)
    assert found(await ledger.verify())

    ledger.now += 31 * DAY
    report = await ledger.verify()
    assert (report.findings, report.gone) == ([], {"older than the log": 2})


async def test_a_full_log_may_have_removed_its_oldest_messages_only(ledger: Ledger) -> None:
    ledger.remove(FIRST, FIRST + 3)
    ledger.size = ledger.max_bytes - 1000

    report = await ledger.verify()
    assert found(report) == [(FIRST + 3, "is missing")]
    assert report.gone == {"older than the log": 1}


async def test_a_log_that_was_full_once_stays_verifiable(ledger: Ledger) -> None:
    """An operator gives it more room later."""
    ledger.remove(FIRST)
    ledger.size = ledger.max_bytes - 1000
    ledger.store()
    ledger.step()
    ledger.max_bytes *= 10

    report = await ledger.verify()
    assert report.findings == []
    assert "the log keeps 10000000 bytes and 30 days from here on" in report.notes[0]


async def test_sequences_that_a_server_gave_twice_are_found_and_what_follows_is_verified(
    ledger: Ledger,
) -> None:
    """A server that loses its newest messages continues where it stood."""
    ledger.remove(FIRST + 4, FIRST + 5)
    ledger.sequence = FIRST + 4
    ledger.store(data=b"another")
    ledger.store(data=b"one")
    ledger.store(data=b"more")
    ledger.step()

    report = await ledger.verify()
    assert found(report) == [(FIRST + 4, f"to {FIRST + 5} was changed")]
    assert report.last == FIRST + 6


async def test_a_checkpoint_of_another_key_is_found(ledger: Ledger) -> None:
    report = await ledger.verify([Signer.new("agentd/dev/test").public])

    assert [each.sequence for each in report.findings] == [FIRST, FIRST + 2, FIRST + 4]
    assert "is not signed with the key" in report.findings[0].text


async def test_messages_without_a_checkpoint_are_mentioned(ledger: Ledger) -> None:
    ledger.store()
    ledger.store()
    assert (await ledger.verify()).notes == []

    ledger.now += 600
    [note] = (await ledger.verify()).notes
    assert note.startswith(f"2 messages after sequence {FIRST + 5} have no checkpoint yet")


async def test_a_reader_begins_at_an_anchor_when_older_steps_were_discarded() -> None:
    ledger = Ledger()
    for _ in range(40):
        ledger.store()
        ledger.step()
    for sequence in range(1, 20):
        del ledger.stored[sequence]

    report = await ledger.verify(full=True)
    assert report.findings == []
    assert (report.first, report.messages) == (FIRST + 32, 8)
    assert found(await ledger.verify()) == [(FIRST + 32, "and those before it")]
