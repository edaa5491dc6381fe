"""What a task is about: its subject says it, or headers that only agentd can have signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from agentd.nats.bus import Bus
from agentd.nats.shared_value import Secret
from agentd.protocol.destination import Destination
from agentd.protocol.subjects import Subject
from agentd.queue.delivery import LIFE, Parcel
from agentd.queue.topic import SIGNATURE, TOPIC, read_topic, topic_headers, topic_of
from tests.memory_bus import MemoryBus

AGENT = "agents.dev.task._agent.analyst"
HERE = Destination("_agent", "analyst")
DATA = b'{"id": "t-1"}'


@pytest.fixture
async def secret() -> Secret:
    """The secret of a log that held three messages before."""
    return await made(MemoryBus())


async def made(memory: MemoryBus) -> Secret:
    for _ in range(3):
        await memory.request("agents.dev.event.a.b", b"{}")
    secret = Secret()
    await secret.read(cast("Bus", memory), "dev")
    return secret


def task(headers: Mapping[str, str], subject: str = AGENT, *, sequence: int = 9) -> Parcel:
    return Parcel(
        data=DATA,
        headers=headers,
        subject=Subject.parse(subject),
        attempt=1,
        stored_at=1.0,
        sequence=sequence,
    )


@pytest.mark.parametrize(
    ("subject", "topic", "about"),
    [
        (AGENT, "report.daily", "agents.dev.task.report.daily"),
        ("agents.dev.task._route.0123.9", "report.daily", "agents.dev.task.report.daily.9"),
        ("agents.dev.task.analysis.x", "report.daily", "agents.dev.task.analysis.x"),
        (AGENT, "report", AGENT),
        (AGENT, "a.b.c", AGENT),
    ],
)
def test_the_topic_of_a_task_for_an_agent_or_a_route_stands_in_its_headers(
    secret: Secret, subject: str, topic: str, about: str
) -> None:
    to = Subject.parse(subject)
    headers = topic_headers(topic, Destination(to.domain, to.specificity), DATA, secret)
    assert str(topic_of(task(headers, subject), secret)) == about


def test_without_a_topic_the_subject_says_it(secret: Secret) -> None:
    assert str(topic_of(task({}), secret)) == AGENT


@pytest.mark.parametrize(
    ("topic", "to", "data"),
    [
        ("report.weekly", HERE, DATA),
        ("report.daily", Destination("_agent", "writer"), DATA),
        ("report.daily", HERE, b'{"id": "t-2"}'),
    ],
)
def test_a_signature_is_for_one_topic_one_destination_and_the_same_bytes(
    secret: Secret, topic: str, to: Destination, data: bytes
) -> None:
    headers = {**topic_headers(topic, to, data, secret), TOPIC: "report.daily"}
    assert str(topic_of(task(headers), secret)) == AGENT


@pytest.mark.parametrize("signature", [None, "", "ü", "0" * 32])
def test_a_stranger_cannot_choose_the_topic(secret: Secret, signature: str | None) -> None:
    headers = {TOPIC: "report.daily"} | ({} if signature is None else {SIGNATURE: signature})
    forged = topic_headers("report.daily", HERE, DATA, Secret())
    assert str(topic_of(task(headers), secret)) == AGENT
    assert str(topic_of(task(forged), secret)) == AGENT


def test_what_the_log_held_before_there_was_a_secret_needs_no_signature(secret: Secret) -> None:
    headers = {TOPIC: "report.daily"}
    assert str(topic_of(task(headers, sequence=3), secret)) == "agents.dev.task.report.daily"
    assert str(topic_of(task(headers, sequence=4), secret)) == AGENT
    copy = {**headers, LIFE: "3", "Nats-Scheduler": "sched.dev.approval.t-1"}
    assert str(topic_of(task(copy), secret)) == "agents.dev.task.report.daily"
    assert str(topic_of(task({**headers, LIFE: "3"}), secret)) == AGENT


async def test_who_has_no_secret_at_hand_reads_it() -> None:
    memory = MemoryBus()
    secret = await made(memory)
    headers = topic_headers("report.daily", HERE, DATA, secret)
    read = await read_topic(cast("Bus", memory), task(headers))
    assert str(read) == "agents.dev.task.report.daily"
    assert str(await read_topic(cast("Bus", memory), task({TOPIC: "a.b"}))) == AGENT
