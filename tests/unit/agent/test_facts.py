"""A fact becomes a task, or is left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.facts import Facts, run_id
from agentd.errors import Again
from agentd.nats.shared_value import Secret
from agentd.protocol.subjects import Subject
from agentd.queue.delivery import Delivery
from agentd.queue.topic import topic_of
from tests.unit.workbench import Workbench, revision_of

RESULT = "agents.dev.result.research.climate.t9"
SUBSCRIBES = (
    "capabilities: [brief]\ninstructions: Hi.\n"
    "subscribe: {to: [result.research.*, event.review.asked]}\n"
)


async def taken(
    folder: Path,
    content: Any,
    *,
    subject: str = RESULT,
    source: str = "digger",
    attempt: int = 1,
    manifest: str = SUBSCRIBES,
) -> Delivery | None:
    """What a fact becomes for the agent `me`."""
    revision = revision_of(folder, manifest)
    kind = Subject.parse(subject).type
    body = {
        "id": "m1",
        "type": kind,
        "source": {"id": source, "type": "agent"},
        "routing": {"priority": 8},
        "context": {"conversationId": "c"},
        "payload": {"content": content},
    }
    bench = Workbench(revision)
    fact = bench.delivery(json.dumps(body).encode(), subject=subject, attempt=attempt)
    facts = Facts(bench.services, "me")
    return await facts.take(fact, revision.spec)


def answer(data: Any) -> dict[str, Any]:
    return {"success": True, "data": data, "error": None}


async def test_a_result_becomes_a_task_with_its_answer(tmp_path: Path) -> None:
    delivery = await taken(tmp_path, answer("It is warm."))

    assert delivery is not None
    task = delivery.task()
    assert task.payload.content == "It is warm."
    assert task.id == Secret().digest(run_id(Subject.parse(RESULT), "m1", "me"))
    assert (task.target, task.correlation_id) == ("me", "m1")
    assert (task.context.conversation_id, task.context.parent_message_id) == ("c", "m1")
    assert task.routing.priority == 8
    assert str(delivery.subject) == "agents.dev.task._agent.me"
    assert str(topic_of(delivery, Secret())) == "agents.dev.task.brief.climate"


async def test_an_event_becomes_a_task_with_its_content(tmp_path: Path) -> None:
    delivery = await taken(tmp_path, {"page": 3}, subject="agents.dev.event.review.asked")

    assert delivery is not None
    assert delivery.task().payload.content == {"page": 3}


async def test_an_agent_does_not_run_for_its_own_facts(tmp_path: Path) -> None:
    assert await taken(tmp_path, answer("mine"), source="me") is None


async def test_errors_are_only_for_agents_that_ask_for_them(tmp_path: Path) -> None:
    failed = {"success": False, "data": None, "error": {"code": "x"}}
    assert await taken(tmp_path, failed) is None

    asks = SUBSCRIBES.replace("{to:", "{errors: true, to:")
    delivery = await taken(tmp_path, failed, manifest=asks)
    assert delivery is not None
    assert delivery.task().payload.content == {"error": {"code": "x"}}


async def test_a_fact_of_an_older_manifest_is_handed_back_a_few_times(tmp_path: Path) -> None:
    """Another replica may have the manifest that subscribes to it."""
    subject = "agents.dev.event.other.thing"
    with pytest.raises(Again) as again:
        await taken(tmp_path, "x", subject=subject, attempt=4)
    assert again.value.delay == 1.0

    assert await taken(tmp_path, "x", subject=subject, attempt=5) is None


async def test_bytes_that_are_no_message_are_passed_over(tmp_path: Path) -> None:
    revision = revision_of(tmp_path, SUBSCRIBES)
    bench = Workbench(revision)
    fact = bench.delivery(b"\xff", subject=RESULT)
    facts = Facts(bench.services, "me")

    assert await facts.take(fact, revision.spec) is None


def test_the_task_of_a_fact_has_one_id_for_each_agent() -> None:
    subject = Subject.parse(RESULT)

    assert run_id(subject, "m1", "me") == run_id(subject, "m1", "me")
    assert run_id(subject, "m1", "me") != run_id(subject, "m1", "you")
    assert run_id(subject, "m1", "me") != run_id(subject, "m2", "me")
