"""A limit follows what an endpoint can take, and ignores what says nothing about that."""

from __future__ import annotations

import pytest

from agentd.models.limits.pace import AFTER_REFUSAL, CREDIBLE, LEAST, MOST, Pace

KIND = ("analyst", "openai/x")


def answers(pace: Pace, count: int, *, took: float = 1.0, start: float = 0.0) -> float:
    """Counts so many answers, one after the other, at full use; returns the time afterwards."""
    now = start
    for _ in range(count):
        pace.answered(KIND, now, now + took, int(pace.limit))
        now += took
    return now


def test_an_endpoint_that_refuses_nothing_is_not_slowed() -> None:
    pace = Pace()
    answers(pace, 1000)
    assert pace.limit == MOST


@pytest.mark.parametrize("in_flight", [1, CREDIBLE, 600])
def test_the_first_cut_starts_from_the_calls_in_flight(in_flight: int) -> None:
    pace = Pace()
    assert pace.refused(0, 1, in_flight)
    assert pace.limit == pytest.approx(AFTER_REFUSAL * max(in_flight, CREDIBLE))


def test_the_limit_is_lowered_once_per_round_trip() -> None:
    pace = Pace()
    assert [pace.refused(began, 1 + began, 64) for began in (0.0, 0.1, 0.9)] == [True, False, False]
    lowered = pace.limit
    assert pace.refused(1.1, 2, 44)
    assert pace.limit == pytest.approx(AFTER_REFUSAL * lowered)


def test_the_limit_stays_within_its_bounds() -> None:
    pace = Pace(most=4)
    for number in range(50):
        pace.refused(number, number + 0.5, 1)
    assert pace.limit == LEAST
    answers(pace, 10_000, start=50)
    assert pace.limit == 4


def test_answers_raise_the_limit_by_about_one_per_round_trip() -> None:
    pace = Pace(most=100)
    for number in range(3):
        pace.refused(number, number + 0.5, 1)
    before = pace.limit
    for _ in range(int(before)):  # a round trip at full use
        pace.answered(KIND, 3, 4, int(pace.limit))
    assert before + 0.9 < pace.limit < before + 2


def test_near_the_last_refusal_the_limit_rises_more_slowly() -> None:
    pace = Pace()
    pace.refused(0, 0.5, 64)
    pace.refused(1, 1.5, 64)
    at_last = 64 * AFTER_REFUSAL
    steps: dict[bool, list[float]] = {True: [], False: []}
    while pace.limit < at_last + 3:
        before = pace.limit
        pace.answered(KIND, 2, 2.1, int(before))
        steps[abs(before - at_last) < 1].append(pace.limit - before)
    assert max(steps[True]) < min(steps[False]) / 5


def test_a_limit_that_is_not_used_is_not_raised() -> None:
    pace = Pace()
    pace.refused(0, 0.5, 64)
    before = pace.limit
    for _ in range(100):
        pace.answered(KIND, 1, 2, 3)
    assert pace.limit == before


def test_answers_that_take_much_longer_lower_the_limit_a_little() -> None:
    pace = Pace()
    lowered: list[bool] = []
    now = 0.0
    for number in range(200):
        took = 1.0 + 0.2 * (number % 5) if number < 150 else 6.0
        lowered.append(pace.answered(KIND, now, now + took, 100))
        now += took
    assert not any(lowered[:150])
    assert any(lowered[150:])
    assert 50 < pace.limit < 100


def test_a_permanent_change_of_speed_is_learnt() -> None:
    pace = Pace()
    now = answers(pace, 100, took=1.0)
    now = answers(pace, 500, took=6.0, start=now)
    before = pace.limit
    answers(pace, 100, took=6.0, start=now)
    assert pace.limit >= before


def test_answers_are_only_compared_with_those_of_their_kind() -> None:
    pace = Pace()
    for number in range(400):
        kind = (f"agent-{number % 2}", "openai/x")
        pace.answered(kind, number, number + (30.0 if number % 2 else 0.5), 100)
    assert pace.limit == MOST


def test_slow_answers_at_a_low_load_do_not_lower_the_limit() -> None:
    pace = Pace()
    now = answers(pace, 0)
    for number in range(200):
        took = 1.0 if number < 100 else 9.0
        pace.answered(KIND, now, now + took, 3)
        now += took
    assert pace.limit == MOST


def warmed_up(most: float = MOST, *, answers: int = 40) -> tuple[Pace, float]:
    """A pace that has seen so many answers of one second each, and the time afterwards."""
    pace, now = Pace(most), 0.0
    for _ in range(answers):
        pace.answered(KIND, now, now + 1.0, 100)
        now += 1.0
    return pace, now


def late_answers(pace: Pace, now: float, count: int, *, took: float, in_flight: int) -> list[bool]:
    """Whether each of so many late answers lowered the limit."""
    return [pace.answered(KIND, now, now + took, in_flight) for _ in range(count)]


@pytest.mark.parametrize(("in_flight", "raised"), [(21, False), (22, False), (23, True)])
def test_a_limit_is_raised_only_if_half_of_it_is_used(in_flight: int, raised: bool) -> None:
    pace = Pace()
    pace.refused(0, 0.5, 64)
    limit = pace.limit
    assert limit == pytest.approx(44.8)
    pace.answered(KIND, 1, 2, in_flight)
    assert (pace.limit > limit) is raised


def test_a_limit_of_which_exactly_half_is_used_is_raised() -> None:
    pace = Pace(most=100)
    pace.refused(0, 0.5, 100)
    assert pace.limit == 70
    pace.answered(KIND, 1, 2, 35)
    assert pace.limit > 70


def test_the_limit_rises_twice_as_fast_after_ten_seconds_without_a_cut() -> None:
    rises: list[float] = []
    for now in (100.0, 110.0, 130.0):
        pace = Pace()
        pace.refused(99.0, 100.0, 200)
        before = pace.limit
        pace.answered(KIND, 101.0, now, 140)
        rises.append((pace.limit - before) * before)
    assert rises == pytest.approx([1.0, 2.0, 4.0])


def test_one_answer_raises_the_limit_by_one_at_most() -> None:
    pace = Pace()
    for number in range(30):
        pace.refused(number, number + 0.5, 1)
    assert pace.limit == LEAST
    pace.answered(KIND, 40, 1_000, 1)
    assert pace.limit == LEAST + 1


def test_a_refusal_of_a_call_that_began_with_the_last_cut_does_not_count() -> None:
    pace = Pace()
    assert pace.refused(0, 1, 64)
    assert not pace.refused(1, 2, 64)
    assert pace.refused(1.001, 2, 64)


@pytest.mark.parametrize(("seen", "judged"), [(4, False), (5, True)])
def test_delays_are_judged_after_twenty_answers(seen: int, judged: bool) -> None:
    """Sixteen late answers are a window; the median must rest on twenty answers before them."""
    pace, now = warmed_up(answers=seen + 14)
    lowered = late_answers(pace, now, 16, took=50.0, in_flight=100)
    assert any(lowered) is judged


def test_a_window_has_sixteen_late_answers() -> None:
    pace, now = warmed_up()
    # The answers before them have begun a window of their own; it ends with 24 - 16 of them.
    lowered = late_answers(pace, now, 40, took=50.0, in_flight=100)
    windows = [number for number, each in enumerate(lowered, 1) if each]
    assert windows[0] in (11, 27)


@pytest.mark.parametrize(("took", "lowers"), [(1.5, False), (4.0, True)])
def test_answers_are_late_if_they_take_more_than_twice_as_long(took: float, lowers: bool) -> None:
    pace, now = warmed_up(answers=400)
    assert any(late_answers(pace, now, 32, took=took, in_flight=100)) is lowers


@pytest.mark.parametrize(("in_flight", "lowers"), [(31, False), (32, True)])
def test_late_answers_count_only_at_half_of_a_credible_load(in_flight: int, lowers: bool) -> None:
    pace, now = warmed_up()
    assert any(late_answers(pace, now, 32, took=50.0, in_flight=in_flight)) is lowers


def test_quick_answers_are_compared_like_slow_ones() -> None:
    pace, now = Pace(), 0.0
    lowered: list[bool] = []
    for number in range(80):
        took = 0.01 if number < 40 else 0.5
        lowered.append(pace.answered(KIND, now, now + took, 100))
        now += took
    assert not any(lowered[:40])
    assert any(lowered[40:])


@pytest.mark.parametrize(("late", "lowers"), [(7, False), (8, True)])
def test_half_of_a_window_must_be_late(late: int, lowers: bool) -> None:
    pace, now = warmed_up(answers=35)  # the end of a window
    for _ in range(16 - late):
        assert not pace.answered(KIND, now, now + 1.0, 100)
        now += 1.0
    assert any(late_answers(pace, now, late, took=50.0, in_flight=100)) is lowers


def test_the_delay_of_a_call_that_began_with_the_last_cut_does_not_count() -> None:
    pace, now = warmed_up(answers=35)
    assert pace.refused(now - 1, now, 100)
    assert not any(late_answers(pace, now, 16, took=50.0, in_flight=100))
    assert any(late_answers(pace, now + 1, 16, took=50.0, in_flight=100))
