"""The agents online that may take a task, or the error that says why none may."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentd.errors import TaskError
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.message import AgentIdentity, Routing, new
from agentd.routing.eligibility import require_taker
from agentd.routing.registry import Replica
from tests.unit.routing.test_registry import REPLICA

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
