"""Which band of a route may hold a task, and how often an empty one is looked at again."""

from __future__ import annotations

import asyncio

import pytest

from agentd.protocol.subjects import Subject
from agentd.queue.bands import ACK_WAIT, Band, Route, consumer_config, route_of
from agentd.testing.virtual_time import in_virtual_time


class NoConsumers:
    """Consumers that nobody pulls."""

    stream = "AGENTD_WORK"

    def consumer(self, priority: int) -> str:
        raise AssertionError("nothing is pulled here")

    async def make(self, priority: int) -> None:
        raise AssertionError("nothing is pulled here")


class CountingPuller:
    """A puller that counts how often it is woken."""

    def __init__(self) -> None:
        self.wakes = 0

    def wake(self) -> None:
        self.wakes += 1


def route_with(*pullers: CountingPuller) -> Route:
    return Route("analysis", NoConsumers(), pullers=set(pullers))


async def look_times(route: Route, seconds: float = 5.0) -> list[float]:
    """The times, in seconds from now, at which band 5 gets its hint back; each look finds the band
    empty, as a puller does."""
    loop = asyncio.get_running_loop()
    start, times = loop.time(), list[float]()
    band = route.bands[5]
    while loop.time() < start + seconds:
        await asyncio.sleep(0.01)
        if band.hint:
            times.append(round(loop.time() - start, 2))
            band.hint = False
            route.look_again(5)
    return times


def find_empty(route: Route) -> None:
    """What a puller does when the server has nothing for band 5."""
    route.bands[5].hint = False
    route.look_again(5)


def test_a_route_has_ten_bands_that_start_empty_and_without_consumers() -> None:
    bands = route_with().bands
    assert len(bands) == 10
    assert len({id(band) for band in bands}) == 10
    empty = Band(hint=False, rung=0, made=False, due=0, looks=0, doubted=False)
    assert all(vars(band) == vars(empty) for band in bands)


def test_a_ring_hints_at_one_band_and_wakes_every_puller() -> None:
    pullers = CountingPuller(), CountingPuller()
    route = route_with(*pullers)
    route.ring(7)
    route.ring(7)
    assert [band.hint for band in route.bands] == [number == 7 for number in range(10)]
    assert (route.bands[7].rung, route.bands[7].due) == (2, 2)
    assert [puller.wakes for puller in pullers] == [2, 2]


@in_virtual_time
async def test_a_band_that_rang_and_is_empty_is_looked_at_three_times_more() -> None:
    puller = CountingPuller()
    route = route_with(puller)
    route.ring(5)
    find_empty(route)
    assert await look_times(route) == pytest.approx([0.02, 0.12, 0.62], abs=0.021)
    assert puller.wakes == 1 + 3


@in_virtual_time
async def test_a_band_that_never_rang_is_not_looked_at_again() -> None:
    route = route_with()
    find_empty(route)
    assert await look_times(route) == []


@in_virtual_time
async def test_a_band_whose_tasks_have_all_come_is_not_looked_at_again() -> None:
    route = route_with()
    route.ring(5)
    route.bands[5].due -= 1
    find_empty(route)
    assert await look_times(route) == []


@in_virtual_time
async def test_a_ring_that_another_replica_answered_is_forgotten() -> None:
    """One ring stays without a task; the next ring, whose task comes, must not cost more looks."""
    route = route_with()
    route.ring(5)
    find_empty(route)
    await look_times(route)
    assert route.bands[5].due == 0
    route.ring(5)
    route.bands[5].due -= 1
    find_empty(route)
    assert await look_times(route) == []


@in_virtual_time
async def test_while_a_look_is_pending_no_second_one_is_planned_and_no_ring_forgotten() -> None:
    route = route_with()
    route.ring(5)
    find_empty(route)
    find_empty(route)
    find_empty(route)
    assert (route.bands[5].due, route.bands[5].looks) == (1, 1)
    assert len(await look_times(route)) == 3


@in_virtual_time
async def test_a_new_ring_begins_the_looks_anew() -> None:
    route = route_with()
    route.ring(5)
    find_empty(route)
    await look_times(route)
    route.ring(5)
    find_empty(route)
    assert len(await look_times(route)) == 3


@pytest.mark.parametrize(
    ("subject", "route"),
    [
        ("agents.dev.task.analysis.sentiment", "analysis"),
        ("agents.dev.task.analysis.general.9", "analysis"),
        ("agents.dev.task._agent.analyst", "_agent.analyst"),
        ("agents.dev.task._route.0123456789ab.3", "_route.0123456789ab"),
    ],
)
def test_a_task_waits_on_the_route_of_its_domain_or_of_its_one_agent(
    subject: str, route: str
) -> None:
    assert route_of(Subject.parse(subject)) == route


def test_consumers_redeliver_without_end_after_the_acknowledgement_wait() -> None:
    config = consumer_config("name", idle=60)
    assert config == {
        "durable_name": "name",
        "name": "name",
        "ack_policy": "explicit",
        "ack_wait": ACK_WAIT * 1e9,
        "max_deliver": -1,
        "max_ack_pending": -1,
        "inactive_threshold": 60e9,
    }
