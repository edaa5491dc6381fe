"""A step as it is stored."""

from __future__ import annotations

import pytest

from agentd.errors import DecodeError
from agentd.record.audit.step import ANCHOR_EVERY, Step
from tests.ledger import Ledger


def test_every_sixteenth_step_is_an_anchor_and_the_others_name_it() -> None:
    ledger = Ledger()
    for _ in range(ANCHOR_EVERY + 2):
        ledger.store()
        ledger.step()
    steps = ledger.steps()

    assert [step.number for step in steps if step.before is not None] == [0, ANCHOR_EVERY]
    assert [step.anchor for step in steps] == [0, *[1] * (ANCHOR_EVERY - 1), 0, ANCHOR_EVERY + 1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"\n\n",
        lambda data: data[:-1],
        lambda data: data + bytes(32),
        lambda data: data.replace(b'"number": 0', b'"number":  0'),
        lambda data: data.replace(b'"number": 0', b'"number": "x"'),
        lambda data: data.replace(b'"before": []', b'"before": ["QUE="]'),
        lambda data: data.replace(b'"number": 0', b'"more": 1, "number": 0'),
        lambda data: b"[" * 100_000 + data,
    ],
)
def test_what_agentd_did_not_write_is_refused(damage: type[bytes]) -> None:
    ledger = Ledger()
    ledger.store()
    ledger.step()

    with pytest.raises(DecodeError, match="no step of the audit"):
        Step.parse(damage(ledger.stored[1]), 1)
