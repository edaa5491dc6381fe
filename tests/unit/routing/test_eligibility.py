"""The agents online that may take a task, and the room at its destination; or why there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from agentd.errors import TaskError
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import ROUTES
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.message import AgentIdentity, AgentMessage, Routing, new
from agentd.protocol.subjects import Subjects
from agentd.routing.eligibility import QUEUE_LIMIT, address, require_taker
from agentd.routing.registry import Replica, announce
from tests.memory_bus import MemoryBus, message
from tests.unit.routing.test_registry import REPLICA

ANALYSIS = Destination("analysis", "sentiment")
ONLINE = [
    replace(REPLICA, agent=name, instance=instance, capabilities=capabilities.split())
    for name, instance, capabilities in (
        ("both", "i1", "analysis research"),
        ("both", "i2", "analysis research"),
        ("analyst", "i1", "analysis"),
    )
]


def recipients(to: str, target: str | None = None, **routing: Any) -> Recipients:
    source = AgentIdentity(id="test")
    message = new("task", "hello", source=source, routing=Routing(**routing), target=target)
    return Recipients.of(message, Destination.parse(to))


@pytest.mark.parametrize(
    ("to", "takers"),
    [
        (recipients("analysis"), ["analyst", "both"]),
        (recipients("research.papers"), ["both"]),
        (recipients("@analyst"), ["analyst"]),
        (recipients("analysis", target="both"), ["both"]),
        (recipients("analysis", capabilities=("research",)), ["both"]),
        (recipients("analysis", exclusions=("both",)), ["analyst"]),
    ],
)
def test_each_agent_that_may_take_it_is_named_once(to: Recipients, takers: list[str]) -> None:
    assert require_taker(to, ONLINE, "dev") == takers


@pytest.mark.parametrize(
    ("to", "online", "text"),
    [
        (
            recipients("coding"),
            ONLINE,
            "no agent online in 'dev' takes coding.general; "
            "online: analyst (analysis), both (analysis research)",
        ),
        (
            recipients("@ghost"),
            [],
            "no agent online in 'dev' takes @ghost; online: no agent at all",
        ),
    ],
)
def test_without_a_taker_the_error_names_the_agents_online(
    to: Recipients, online: list[Replica], text: str
) -> None:
    with pytest.raises(TaskError) as refused:
        require_taker(to, online, "dev")

    assert str(refused.value) == text
    assert (refused.value.code, refused.value.retryable) == ("no_taker", True)


class BusyBus(MemoryBus):
    """A bus in memory on which WORK holds these tasks; `filters` has what was asked for."""

    def __init__(self, waiting: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.waiting = waiting
        self.filters: list[str] = []

    async def request(self, subject: str, data: bytes = b"", **options: Any) -> Msg:
        if subject != "$JS.API.STREAM.INFO.AGENTD_WORK":
            return await super().request(subject, data, **options)
        self.filters.append(json.loads(data)["subjects_filter"])
        return message(json.dumps({"state": {"subjects": self.waiting}}).encode())


async def start(bus: MemoryBus, **agents: str) -> None:
    """Announces agents, each with these capabilities."""
    for agent, capabilities in agents.items():
        announced = replace(REPLICA, agent=agent, capabilities=capabilities.split())
        await announce(cast("Bus", bus), "dev", announced, heartbeat=5, wait=True)


def task(target: str | None = None, **routing: Any) -> AgentMessage:
    source, routed = AgentIdentity(id="test"), Routing(**routing)
    return new("task", "x", source=source, target=target, routing=routed)


async def addressed(bus: MemoryBus, sent: AgentMessage, to: Destination = ANALYSIS) -> Destination:
    return await address(cast("Bus", bus), Subjects("dev"), to, sent)


async def refusal(bus: MemoryBus, sent: AgentMessage) -> TaskError:
    with pytest.raises(TaskError) as refused:
        await addressed(bus, sent)
    assert refused.value.retryable
    return refused.value


@pytest.mark.parametrize(
    ("waiting", "overloaded"),
    [
        (None, False),
        ({}, False),
        ({"work.dev.analysis.x.5": QUEUE_LIMIT - 1}, False),
        ({"work.dev.analysis.x.5": QUEUE_LIMIT}, True),
        ({"work.dev.analysis.x.5": QUEUE_LIMIT - 1, "work.dev.analysis.y.9": 1}, True),
    ],
)
async def test_a_destination_takes_tasks_until_the_limit_waits_there(
    waiting: Mapping[str, int] | None, overloaded: bool
) -> None:
    bus = BusyBus(waiting)
    await start(bus, analyst="analysis")
    if not overloaded:
        assert await addressed(bus, task()) == ANALYSIS
    else:
        error = await refusal(bus, task())
        assert error.code == "overloaded"
        assert str(error).startswith("10,000 tasks wait for analysis.sentiment")
        assert str(error).endswith("the limit is 10,000")
    assert bus.filters == ["work.dev.analysis.*.*"]


async def test_tasks_for_one_agent_wait_apart_from_those_of_its_capability() -> None:
    bus = BusyBus()
    await start(bus, analyst="analysis")
    assert await addressed(bus, task("analyst")) == Destination("_agent", "analyst")
    assert bus.filters == ["work.dev._agent.analyst.*"]


async def test_a_task_for_several_capabilities_goes_to_a_route_that_is_announced() -> None:
    bus = BusyBus()
    await start(bus, both="analysis b")
    sent = task(capabilities=("b",))
    route = Recipients.of(sent, ANALYSIS).destination
    assert await addressed(bus, sent) == route
    assert bus.filters == [f"work.dev._route.{route.specificity}.*"]
    [announced] = bus.streams[ROUTES].on("$KV.agentd_routes.dev.*")
    assert announced.subject.endswith(route.specificity)


async def test_a_plain_task_announces_no_route() -> None:
    bus = BusyBus()
    await start(bus, analyst="analysis")
    await addressed(bus, task())
    assert bus.streams[ROUTES].messages == {}


async def test_a_task_that_no_agent_online_takes_is_refused_with_who_is_there() -> None:
    bus = BusyBus()
    assert (await refusal(bus, task())).code == "no_taker"
    await start(bus, writer="writing", coder="coding")
    error = await refusal(bus, task())
    assert error.code == "no_taker"
    assert "analysis.sentiment" in str(error)
    assert str(error).endswith("online: coder (coding), writer (writing)")
    assert bus.filters == []


REFUND: dict[str, Any] = {"type": "object", "required": ["order"]}


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        ([None], False),
        ([REFUND], True),
        ([REFUND, None], False),
        ([REFUND, {"type": "string"}], False),
        ([REFUND, {"type": "number"}], True),
    ],
)
async def test_a_task_that_no_taker_accepts_is_refused_before_it_is_sent(
    accepted: list[dict[str, Any] | None], refused: bool
) -> None:
    bus = BusyBus()
    for number, schema in enumerate(accepted):
        one = replace(REPLICA, agent=f"a{number}", capabilities=["analysis"], accepts=schema)
        await announce(cast("Bus", bus), "dev", one, heartbeat=5, wait=True)
    other = replace(REPLICA, agent="other", capabilities=["b"], accepts=None)
    await announce(cast("Bus", bus), "dev", other, heartbeat=5, wait=True)
    if not refused:
        assert await addressed(bus, task()) == ANALYSIS
        return
    with pytest.raises(TaskError, match=r"does not accept this content: payload\.content: 'x'"):
        await addressed(bus, task())
    assert bus.filters == []
