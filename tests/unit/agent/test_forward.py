"""A task that came to the wrong agent is published again, once, to where it belongs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.forward import forward
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.queue.dead_letters import REASON
from agentd.queue.delivery import TASK as TASK_ID
from agentd.queue.topic import SIGNATURE, topic_headers, topic_of
from tests.unit.workbench import MANIFEST, Workbench, revision_of

HELLO = {"id": "t-1", "payload": {"content": "hello"}}


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(revision_of(tmp_path, MANIFEST))


async def forwarded(
    bench: Workbench, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None
) -> tuple[str, bytes, Mapping[str, str]]:
    """The subject, the bytes and the headers of what was published."""
    delivery = bench.delivery(body, headers=headers)
    for _ in range(2):  # the second delivery of a task publishes nothing new
        assert await forward(bench.task(delivery)) is None
    [stored] = bench.bus.streams[LOG].on("agents.dev.task.>")
    assert stored.data == delivery.data
    return stored.subject, stored.data, stored.headers


@pytest.mark.parametrize(
    ("fields", "subject"),
    [
        ({"target": "you"}, "agents.dev.task._agent.you.5"),
        ({"target": "you", "routing": {"priority": 8}}, "agents.dev.task._agent.you.8"),
    ],
)
async def test_a_task_goes_to_its_target_with_its_priority(
    bench: Workbench, fields: Mapping[str, Any], subject: str
) -> None:
    await bench.online("you", "other")
    assert (await forwarded(bench, {**HELLO, **fields}))[0] == subject


async def test_a_task_for_several_capabilities_goes_to_their_route(bench: Workbench) -> None:
    await bench.online("you", "analysis", "b")
    subject, _, _ = await forwarded(bench, {**HELLO, "routing": {"capabilities": ["b"]}})
    assert subject.startswith("agents.dev.task._route.")


async def test_a_task_keeps_its_headers_and_its_id(bench: Workbench) -> None:
    await bench.online("you", "other")
    body = {"payload": {"content": "x"}, "target": "you"}
    _, _, headers = await forwarded(bench, body, headers={"traceparent": "x", TASK_ID: "given"})
    assert (headers["traceparent"], headers[TASK_ID]) == ("x", "given")


async def test_a_task_keeps_the_topic_that_agentd_gave_it(bench: Workbench) -> None:
    """The signature is for one destination, so it is signed again; a forged one is not."""
    await bench.online("you", "other")
    body = {**HELLO, "target": "you"}
    data, secret = json.dumps(body).encode(), bench.services.secret
    signed = topic_headers("report.daily", Destination("_agent", "me"), data, secret)
    here = "agents.dev.task._agent.me"
    for number, headers in enumerate((signed, {**signed, SIGNATURE: "forged"})):
        delivery = bench.delivery(body, headers=headers, subject=here, sequence=number)
        assert await forward(bench.task(delivery)) is None
    stored = bench.bus.streams[LOG].on("agents.dev.task.>")
    again = [
        bench.delivery(each.data, headers=each.headers, subject=each.subject) for each in stored
    ]
    assert [str(topic_of(each, secret)) for each in again] == [
        "agents.dev.task.report.daily.5",
        "agents.dev.task._agent.you.5",
    ]


async def test_a_task_that_no_agent_takes_is_refused(bench: Workbench) -> None:
    outcome = await forward(bench.task(bench.delivery({**HELLO, "target": "you"})))
    assert outcome
    assert bench.result()["error"]["code"] == bench.dead_letter()[REASON] == "no_taker"
    assert bench.bus.streams[LOG].on("agents.dev.task.>") == []
