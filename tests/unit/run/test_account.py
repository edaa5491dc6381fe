"""The arithmetic of a conversation's account: nothing is lost, nothing is spent twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentd.run.account import Account, Hold, total

NOW = 1_000.0

cents = st.integers(0, 100).map(lambda number: number / 100)
tasks = st.sampled_from(["a", "b", "c"])
events = st.tuples(st.sampled_from(["reserve", "settle", "crash", "pass"]), tasks, cents, cents)


def reserve(account: Account, task: str, amount: float, by: str, now: float = NOW) -> Account:
    return account.takes_over(task, now).reserve(task, amount, by=by, until=now + 60)


def test_three_times_ten_cents_is_thirty() -> None:
    assert total(0.1, 0.1, 0.1) == 0.3


def test_a_call_is_set_aside_then_settled() -> None:
    held = reserve(Account(), "t", 0.2, "1")
    assert (held.spent, held.reserved) == (0, 0.2)
    done = held.settle("t", 0.15, by="1", keep_until=None)
    assert done == Account(spent=0.15)
    assert done.settle("t", 0.15, by="1", keep_until=None) is done


def test_a_failed_attempt_is_remembered_for_the_next() -> None:
    failed = reserve(Account(), "t", 0.2, "1").settle("t", 0.2, by="1", keep_until=NOW + 9)
    assert (failed.spent, failed.reserved, failed.paid("t")) == (0.2, 0, 0.2)
    again = reserve(failed, "t", 0.3, "2")
    assert (again.spent, again.reserved, again.paid("t")) == (0.2, 0.3, 0.2)
    assert again.settle("t", 0.1, by="2", keep_until=None) == Account(spent=0.3)


def test_an_attempt_that_cost_nothing_leaves_nothing() -> None:
    held = reserve(Account(), "t", 0.2, "1")
    assert held.settle("t", 0.0, by="1", keep_until=NOW + 9) == Account()


def test_what_a_crash_left_counts_as_spent_when_the_task_comes_again() -> None:
    held = reserve(Account(), "t", 0.2, "dead")
    again = reserve(held, "t", 0.2, "2")
    assert (again.spent, again.reserved, again.paid("t")) == (0.2, 0.2, 0.2)
    # Whoever was thought dead and is not finds that all has been counted.
    assert again.settle("t", 0.1, by="dead", keep_until=None) is again


def test_what_nobody_comes_back_for_counts_as_spent_when_it_is_overdue() -> None:
    held = reserve(Account(), "gone", 0.2, "dead")
    soon = reserve(held, "other", 0.1, "2", NOW + 59)
    assert (soon.spent, soon.reserved) == (0, 0.3)
    late = reserve(held, "other", 0.1, "2", NOW + 61)
    assert (late.spent, late.reserved) == (0.2, 0.1)


def test_it_is_written_as_json_and_read_back() -> None:
    account = reserve(Account(spent=1.5), "t", 0.2, "1")
    assert Account.parse(account.dump()) == account
    assert Account.parse(b"") == Account()
    assert account.holds["t"] == Hold(amount=0.2, paid=0.0, by="1", until=NOW + 60)


@given(st.lists(events, max_size=30))
def test_all_that_was_paid_or_may_have_been_is_counted(
    happened: list[tuple[str, str, float, float]],
) -> None:
    """`spent` never falls, and covers every call that was made at its cost or its reserve."""
    account, paid, now = Account(), 0.0, NOW
    running: dict[str, tuple[str, float]] = {}
    for number, (what, task, amount, cost) in enumerate(happened):
        before = account.spent
        if what == "reserve" and task not in running:
            account = reserve(account, task, amount, str(number), now)
            running[task] = (str(number), amount)
        elif what == "settle" and task in running:
            by, held = running.pop(task)
            account = account.settle(task, min(cost, held), by=by, keep_until=None)
            paid += min(cost, held)
        elif what == "crash" and task in running:
            _, held = running.pop(task)
            paid += held
        elif what == "pass":
            now += 30
        assert account.spent >= before
        alive = [held for _, held in running.values()]
        assert total(account.spent, account.reserved) >= total(paid, *alive) - 1e-6
    assert all(hold.amount >= 0 for hold in account.holds.values())
