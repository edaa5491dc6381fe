"""A rate in a sliding window: what is available now, and when more will be."""

from __future__ import annotations

import pytest

from agentd.manifest.rate import SLOTS, Allowance, Window

SIXTY = Allowance(60, 60.0)  # slots of 3 seconds


def test_a_slot_is_a_twentieth_of_the_period() -> None:
    assert SIXTY.slot == 60.0 / SLOTS == 3.0
    assert (SIXTY.slot_at(0.0), SIXTY.slot_at(2.9), SIXTY.slot_at(3.0)) == (0, 0, 1)


@pytest.mark.parametrize(
    ("allowance", "text"),
    [
        (Allowance(5, 1.0), "5/s"),
        (SIXTY, "60/min"),
        (Allowance(1000, 3600.0), "1,000/h"),
        (Allowance(7, 86400.0), "7/day"),
        (Allowance(7, 90.0), "7/90 s"),
    ],
)
def test_a_rate_is_shown_as_it_is_written(allowance: Allowance, text: str) -> None:
    assert str(allowance) == text


def test_what_is_available_is_what_has_not_been_taken() -> None:
    assert SIXTY.available(Window()) == 60
    assert SIXTY.available(Window({1: 20.0, 2: 15.0})) == 25
    assert SIXTY.available(Window({1: 61.0})) == 0


def test_an_amount_is_available_a_period_after_enough_was_used() -> None:
    window = Window({10: 40.0, 12: 20.0})

    assert SIXTY.available_at(Window({10: 40.0}), 20) == 0
    assert SIXTY.available_at(window, 1) == (10 + SLOTS + 1) * 3.0
    assert SIXTY.available_at(window, 40) == (10 + SLOTS + 1) * 3.0
    assert SIXTY.available_at(window, 41) == (12 + SLOTS + 1) * 3.0


def test_an_amount_above_the_rate_waits_for_an_empty_window() -> None:
    assert SIXTY.available_at(Window(), 1_000) == 0
    assert SIXTY.available_at(Window({10: 1.0}), 1_000) == (10 + SLOTS + 1) * 3.0


def test_a_window_forgets_a_slot_after_a_whole_period() -> None:
    window = Window({10: 1.0, 11: 2.0})

    assert window.since(10 + SLOTS) == window
    assert window.since(11 + SLOTS) == Window({11: 2.0})
    assert window.since(12 + SLOTS) == Window()


def test_amounts_are_added_and_given_back() -> None:
    window = Window({1: 5.0}).plus({1: 2.0, 2: 3.0})

    assert window == Window({1: 7.0, 2: 3.0})
    assert window.plus({1: -4.0, 2: -3.0}) == Window({1: 3.0})
    assert window.plus({9: -1.0}) == window
    assert (window.total, window.newest) == (10.0, 2)
    assert (Window().total, Window().newest) == (0, 0)


def test_a_window_survives_being_stored() -> None:
    window = Window({1: 5.0, 22: 0.5})

    assert Window.parse(window.dump()) == window
    assert Window.parse(b"") == Window()
