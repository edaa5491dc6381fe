"""Agents take turns for the slots of an endpoint; the calls of one agent keep their order."""

from __future__ import annotations

import asyncio

import pytest

from agentd.models.limits.fair_queue import FairQueue, Waiter


def waiter(agent: str, deadline: float = 60.0) -> Waiter:
    return Waiter(agent, deadline, asyncio.get_running_loop().create_future())


def joined(*agents: str) -> tuple[FairQueue, list[Waiter]]:
    queue, waiters = FairQueue(), [waiter(agent) for agent in agents]
    for each in waiters:
        queue.join(each)
    return queue, waiters


def taken(queue: FairQueue) -> list[Waiter]:
    """All waiters, in the order in which their turn comes."""
    return [queue.next() for _ in range(len(queue))]


async def test_agents_are_served_in_rotation_and_their_calls_in_order() -> None:
    queue, (a1, a2, a3, b1, c1, c2) = joined("a", "a", "a", "b", "c", "c")
    assert len(queue) == 6
    assert taken(queue) == [a1, b1, c1, a2, c2, a3]
    assert len(queue) == 0


async def test_an_empty_queue_has_no_next_call() -> None:
    queue, _ = joined()
    with pytest.raises(KeyError):
        queue.next()


async def test_an_agent_that_joins_later_waits_behind_the_others() -> None:
    queue, (a1, a2) = joined("a", "a")
    assert queue.next() is a1
    b1 = waiter("b")
    queue.join(b1)
    assert taken(queue) == [a2, b1]


async def test_a_call_that_leaves_has_no_turn_and_leaves_once() -> None:
    queue, (a1, a2, b1) = joined("a", "a", "b")
    queue.leave(a1)
    queue.leave(a1)
    queue.leave(b1)
    queue.leave(b1)
    assert len(queue) == 1
    assert taken(queue) == [a2]
    queue.leave(a2)
    assert len(queue) == 0


async def test_an_agent_whose_last_call_left_joins_at_the_end_again() -> None:
    queue, (a1, b1) = joined("a", "b")
    queue.leave(a1)
    queue.join(a1)
    assert taken(queue) == [b1, a1]


async def test_calls_whose_deadline_is_over_are_taken_out() -> None:
    queue = FairQueue()
    early, exact, late = waiter("a", 9.9), waiter("b", 10.0), waiter("a", 10.1)
    for each in (early, exact, late):
        queue.join(each)
    assert {*queue.hopeless(10.0)} == {early, exact}
    assert taken(queue) == [late]


async def test_a_waiter_has_a_slot_only_after_a_turn_that_gave_one() -> None:
    waiting, served, refused, gone = (waiter("a") for _ in range(4))
    served.turn.set_result(True)
    refused.turn.set_result(False)
    gone.turn.cancel()
    assert [each.has_slot for each in (waiting, served, refused, gone)] == [
        False,
        True,
        False,
        False,
    ]
