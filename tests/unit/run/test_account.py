"""The arithmetic of a conversation's account: nothing is lost, nothing is spent twice."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from agentd.protocol.subjects import digest
from agentd.run.account import Account, Hold, account_subject, total

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
    # What it had paid before is not forgotten.
    third = reserve(again, "t", 0.2, "3")
    assert (third.spent, third.paid("t")) == (0.4, 0.4)
    # Whoever was thought dead and is not finds that all has been counted.
    assert again.settle("t", 0.1, by="dead", keep_until=None) is again


def test_what_nobody_comes_back_for_counts_as_spent_when_it_is_overdue() -> None:
    held = reserve(Account(), "gone", 0.2, "dead")
    soon = reserve(held, "other", 0.1, "2", NOW + 59)
    assert (soon.spent, soon.reserved) == (0, 0.3)
    late = reserve(held, "other", 0.1, "2", NOW + 61)
    assert (late.spent, late.reserved) == (0.2, 0.1)


def test_a_hold_counts_as_spent_only_after_its_last_moment() -> None:
    held = Account().reserve("gone", 0.2, by="dead", until=NOW)
    assert held.takes_over("other", NOW) == held
    assert held.takes_over("other", NOW + 0.001) == Account(spent=0.2)


def test_the_holds_of_other_tasks_that_are_not_overdue_stay() -> None:
    account = Account(spent=1.0).reserve("a", 0.2, by="1", until=NOW + 1)
    account = account.reserve("b", 0.3, by="2", until=NOW - 1).reserve(
        "c", 0.4, by="3", until=NOW + 9
    )
    after = account.takes_over("c", NOW)
    assert after.spent == 1.7
    assert after.holds == {
        "a": Hold(amount=0.2, paid=0.0, by="1", until=NOW + 1),
        "c": Hold(amount=0.0, paid=0.4, by="3", until=NOW + 9),
    }


def test_a_task_takes_over_what_it_paid_itself_even_when_that_is_overdue() -> None:
    paid = reserve(Account(), "t", 0.2, "1").settle("t", 0.2, by="1", keep_until=NOW - 1)
    assert paid.takes_over("t", NOW) == paid
    assert paid.takes_over("other", NOW) == Account(spent=0.2)


def test_only_the_attempt_that_set_money_aside_settles_it() -> None:
    held = reserve(Account(), "t", 0.2, "1")
    assert held.settle("t", 0.1, by="2", keep_until=None) is held
    assert held.settle("other", 0.1, by="1", keep_until=None) is held


def test_what_a_failed_attempt_paid_is_kept_for_the_next_attempt() -> None:
    failed = reserve(Account(), "t", 0.2, "1").settle("t", 0.1, by="1", keep_until=NOW + 9)
    assert failed.holds == {"t": Hold(amount=0.0, paid=0.1, by="", until=NOW + 9)}


def test_it_is_written_as_json_and_read_back() -> None:
    account = reserve(Account(spent=1.5), "t", 0.2, "1")
    assert Account.parse(account.dump()) == account
    assert Account.parse(b"") == Account()
    assert account.holds["t"] == Hold(amount=0.2, paid=0.0, by="1", until=NOW + 60)
    assert json.loads(account.dump()) == {
        "spent": 1.5,
        "reserved": {"t": {"amount": 0.2, "paid": 0.0, "by": "1", "until": NOW + 60}},
    }


def test_money_is_as_exact_as_a_millionth_of_a_cent() -> None:
    assert total(0.1, 0.000_000_001) == 0.100_000_001
    assert total(0.1, 0.000_000_000_1) == 0.1
    assert total() == 0


def test_the_account_of_a_conversation_has_a_subject_of_its_own_in_the_bucket_of_budgets() -> None:
    subject = account_subject("dev", "c/1")
    assert subject == f"$KV.agentd_budgets.dev.{digest('c/1')}"
    assert account_subject("dev", "c/2") != subject


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
