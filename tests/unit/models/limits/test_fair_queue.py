"""Agents take turns in the queue of an endpoint, and each agent's calls keep their order."""

from __future__ import annotations

import asyncio

import pytest

from agentd.models.limits.fair_queue import FairQueue, Waiter


def waiter(agent: str, deadline: float = 10.0) -> Waiter:
    return Waiter(agent, deadline, asyncio.get_running_loop().create_future())


def filled(*waiters: Waiter) -> FairQueue:
    queue = FairQueue()
    for each in waiters:
        queue.add(each)
    return queue


async def test_agents_take_turns_and_their_calls_keep_the_order() -> None:
    waiters = [waiter(agent) for agent in "aaabbc"]
    queue = filled(*waiters)

    order = [queue.pop() for _ in range(len(queue))]

    assert order == [waiters[index] for index in (0, 3, 5, 1, 4, 2)]
    assert len(queue) == 0


async def test_a_new_call_of_an_agent_goes_behind_the_turns_of_the_others() -> None:
    queue = filled(waiter("a"), waiter("b"))
    first = queue.pop()
    queue.add(waiter(first.agent))

    assert [queue.pop().agent for _ in range(2)] == ["b", "a"]


async def test_a_removed_call_gets_no_turn() -> None:
    waiters = [waiter(agent) for agent in "aab"]
    queue = filled(*waiters)

    queue.remove(waiters[0])

    assert [queue.pop() for _ in range(len(queue))] == waiters[1:]


async def test_to_remove_a_call_that_is_not_waiting_changes_nothing() -> None:
    gone, stays, stranger = waiter("a"), waiter("a"), waiter("z")
    queue = filled(gone, stays)
    for each in (gone, gone, stranger):
        queue.remove(each)

    assert len(queue) == 1
    assert queue.pop() is stays


async def test_an_agent_whose_last_call_was_removed_leaves_the_rotation() -> None:
    only, other = waiter("a"), waiter("b")
    queue = filled(only, other)

    queue.remove(only)

    assert queue.pop() is other
    with pytest.raises(KeyError):
        queue.pop()


async def test_an_agent_that_comes_back_goes_to_the_end_of_the_rotation() -> None:
    first, second = waiter("a"), waiter("b")
    queue = filled(first, second)

    queue.remove(first)
    queue.add(first)

    assert [queue.pop() for _ in range(2)] == [second, first]


async def test_calls_whose_deadline_comes_by_then_are_taken_out() -> None:
    early, exact, late = waiter("a", 4.9), waiter("b", 5.0), waiter("a", 5.1)
    queue = filled(early, exact, late)

    assert queue.pop_expiring(5.0) == [early, exact]
    assert len(queue) == 1
    assert queue.pop() is late


@pytest.mark.parametrize(("result", "has_slot"), [(True, True), (False, False)])
async def test_a_call_has_a_slot_when_its_turn_was_granted(result: bool, has_slot: bool) -> None:
    call = waiter("a")
    assert not call.has_slot

    call.turn.set_result(result)

    assert call.has_slot is has_slot


async def test_a_cancelled_call_has_no_slot() -> None:
    call = waiter("a")
    call.turn.cancel()

    assert not call.has_slot
