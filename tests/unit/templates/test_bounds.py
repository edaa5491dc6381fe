"""The limits of a rendering: the sizes of values, work and CPU time."""

from __future__ import annotations

from datetime import UTC, datetime
from time import sleep, thread_time

import pytest

from agentd.templates.bounds import (
    MAX_BITS,
    MAX_SECONDS,
    MAX_SIZE,
    MAX_WORK,
    BoundExceeded,
    Budget,
    check_size,
    percent_size,
    size,
)

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def test_a_value_that_occurs_twice_counts_twice() -> None:
    shared = ["abc"]

    assert size("abc") == 3
    assert size(7) == size(None) == size(NOW) == 0
    assert size([shared, shared]) == 2 * (16 + 16 + 3)
    assert size({"key": ("ab",)}) == 16 + 3 + 16 + 2


def test_the_size_of_a_large_value_is_an_error() -> None:
    with pytest.raises(BoundExceeded):
        size([["x" * MAX_SIZE], "x"])
    with pytest.raises(BoundExceeded):
        size([0] * MAX_SIZE)


def test_an_iterator_or_a_view_becomes_a_list() -> None:
    assert Budget().charge(iter([1, 2])) == [1, 2]
    assert Budget().charge({"a": 1}.items()) == [("a", 1)]


def test_one_long_pause_is_not_an_error() -> None:
    budget = Budget()

    burn(MAX_SECONDS * 1.5)  # as a garbage collection of a large heap does
    budget.spend()
    burn(MAX_SECONDS)
    with pytest.raises(BoundExceeded, match="longer"):
        budget.spend()


def test_only_cpu_time_of_this_thread_counts() -> None:
    budget = Budget()

    for _ in range(3):
        sleep(MAX_SECONDS)
        budget.spend()


def burn(seconds: float) -> None:
    end = thread_time() + seconds
    while thread_time() < end:
        pass


def test_a_value_may_have_the_maximum_size_and_no_more() -> None:
    check_size(MAX_SIZE)
    with pytest.raises(BoundExceeded, match="needs a value of 1,000,001 characters; the limit is"):
        check_size(MAX_SIZE + 1)


def test_the_work_of_all_steps_is_added_up() -> None:
    budget = Budget()
    budget.spend(MAX_WORK - 3)
    assert budget.charge("abc") == "abc"
    with pytest.raises(BoundExceeded, match="more than 32,000,000 characters in total"):
        budget.charge("a")


def test_a_number_has_a_limit_of_bits() -> None:
    assert Budget().charge(2**MAX_BITS - 1) == 2**MAX_BITS - 1
    with pytest.raises(BoundExceeded, match="more than 8,192 bits"):
        Budget().charge(2**MAX_BITS)


def test_a_list_that_contains_itself_is_too_large() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(BoundExceeded):
        size(endless)


def test_the_size_of_a_format_includes_its_widths() -> None:
    assert percent_size("%90d", 1) >= 90
    assert percent_size("%.70f", 1.0) >= 72
    with pytest.raises(BoundExceeded, match="write the width as a number"):
        percent_size("%*d", (90, 1))
