"""Facts that agents run for: each once for every agent that subscribes; on a real server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from agentd.nats import jetstream
from agentd.nats.streams import LOG, WORK
from agentd.protocol.message import AgentMessage, decode, new_id
from agentd.protocol.subjects import Subject
from agentd.queue import dead_letters

if TYPE_CHECKING:
    from tests.integration.conftest import Team

RESEARCHER = "capabilities: [research]\n"
WRITER = "capabilities: [writing]\nsubscribe: [result.research.*, event.review.requested]\n"
FAILING = "{name: mock/script, script: [{error: {status: 400, message: no}}]}"


async def tell(team: Team, topic: str, content: Any, **fields: Any) -> None:
    """Publishes an event."""
    domain, specificity = topic.split(".")
    event = {"id": new_id(), "type": "event", "payload": {"content": content}, **fields}
    await team.send(team.subjects.event(domain, specificity), event)


async def stored(team: Team, pattern: str, count: int = 0) -> list[tuple[Subject, AgentMessage]]:
    """What is on record on these subjects, as soon as it is so many."""
    async with asyncio.timeout(20):
        while True:
            found = [
                (Subject.parse((msg.headers or {})["Nats-Subject"]), decode(msg.data))
                async for msg in jetstream.stored(team.bus, LOG, team.subjects.pattern(pattern))
            ]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def settled(team: Team) -> None:
    """Waits until every fact is acknowledged."""
    async with asyncio.timeout(20):
        while True:
            page = await jetstream.api(team.bus, f"CONSUMER.LIST.{LOG}")
            ours = [c for c in page["consumers"] if c["name"].startswith(team.subjects.env)]
            if not any(c["num_pending"] or c["num_ack_pending"] for c in ours):
                return
            await asyncio.sleep(0.02)


async def test_a_result_is_a_fact_for_every_subscriber(team: Team) -> None:
    await team.run(
        researcher=RESEARCHER,
        writer=WRITER,
        critic="capabilities: []\nsubscribe: result.research.*\n",
    )
    await team.ask("research", "why is the sky blue", id="t1")
    [(subject, written)] = await stored(team, "result.writing.*.*", 1)
    assert subject.specificity == "x"
    assert "why is the sky blue" in written.payload.content["data"]
    [(_, answer)] = await stored(team, "result.research.*.*")
    assert written.context.hops == answer.context.hops + 1
    assert written.context.path == ("researcher", "writer")
    assert written.context.conversation_id == answer.context.conversation_id
    assert written.correlation_id == answer.correlation_id
    [(_, judged)] = await stored(team, "result._agent.critic.*", 1)
    assert judged.source.id == "critic"
    await settled(team)
    assert len(await stored(team, "result.>")) == 3


async def test_an_event_is_run_for_with_what_it_says(team: Team) -> None:
    await team.run(writer=WRITER)
    await tell(team, "review.requested", {"instruction": "look at this"})
    await tell(team, "review.other", "not for it")
    [(subject, written)] = await stored(team, "result.writing.*.*", 1)
    assert subject.specificity == "requested"
    assert "look at this" in written.payload.content["data"]
    await settled(team)
    assert len(await stored(team, "result.>")) == 1


async def test_two_replicas_share_the_facts(team: Team, other: Team) -> None:
    await team.run(writer=WRITER)
    await other.run(writer=WRITER)
    for number in range(20):
        await tell(team, "review.requested", f"number {number}")
    results = await stored(team, "result.writing.*.*", 20)
    await settled(team)
    assert len(await stored(team, "result.writing.*.*")) == len(results) == 20


async def test_an_agent_does_not_run_for_its_own_words(team: Team) -> None:
    await team.run(
        writer="""
        capabilities: [writing]
        subscribe: [result.*.*, event.*.*]
        emit: [{event: review.requested}]
        """
    )
    await team.ask("writing", "hello")
    await settled(team)
    assert len(await stored(team, "result.>")) == 1


async def test_two_agents_that_run_for_each_other_end(team: Team) -> None:
    def one(name: str, of: str) -> str:
        return f"capabilities: [{name}]\nsubscribe: result.{of}.*\nlimits: {{hops: 4}}\n"

    await team.run(ping=one("ping", "pong"), pong=one("pong", "ping"))
    await team.ask("ping", "go")
    [letter] = await buried(team)
    assert (letter.headers or {})[dead_letters.REASON] == "hops"
    await settled(team)
    assert len(await stored(team, "result.>")) == 6  # the last one is the error, and no fact


async def buried(team: Team) -> list[Any]:
    async with asyncio.timeout(20):
        while not (found := await team.letters()):  # noqa: ASYNC110 (the log cannot be awaited)
            await asyncio.sleep(0.02)
    return found


async def test_errors_are_facts_for_those_who_ask(team: Team) -> None:
    await team.run(
        researcher=RESEARCHER + f"model: {FAILING}\n",
        writer=WRITER,
        mourner="capabilities: [mourning]\nsubscribe: {to: result.research.*, errors: true}\n",
    )
    await team.ask("research", "go")
    [(_, mourned)] = await stored(team, "result.mourning.*.*", 1)
    assert "model_rejected" in mourned.payload.content["data"]
    await settled(team)
    assert await stored(team, "result.writing.>") == []


async def test_a_new_agent_begins_with_new_facts_or_further_back(team: Team) -> None:
    await tell(team, "review.requested", "before")
    late = "capabilities: [archive]\nsubscribe: {to: event.review.requested, from: 1h}\n"
    await team.run(writer=WRITER, archivist=late)
    await tell(team, "review.requested", "after")
    await stored(team, "result.archive.*.*", 2)
    await settled(team)
    [(_, written)] = await stored(team, "result.writing.*.*")
    assert "after" in written.payload.content["data"]


async def test_an_edit_keeps_the_place_in_the_log(team: Team) -> None:
    await team.run(writer=WRITER)
    await tell(team, "review.requested", "one")
    await stored(team, "result.writing.*.*", 1)
    await team.run(writer="capabilities: [writing]\nsubscribe: [event.review.*, event.more.*]\n")
    await tell(team, "more.x", "two")
    await tell(team, "review.other", "three")
    await stored(team, "result.writing.*.*", 3)
    await settled(team)
    assert len(await stored(team, "result.writing.*.*")) == 3


async def test_what_is_told_while_nobody_runs_is_run_for_later(team: Team, other: Team) -> None:
    await other.run(writer=WRITER)
    await other.runtime.drain(5)
    await tell(team, "review.requested", "are you there")
    await team.run(writer=WRITER)
    [(_, written)] = await stored(team, "result.writing.*.*", 1)
    assert "are you there" in written.payload.content["data"]


async def test_a_consumer_that_is_gone_is_made_again(team: Team) -> None:
    await team.run(writer=WRITER)
    await tell(team, "review.requested", "one")
    await stored(team, "result.writing.*.*", 1)
    await settled(team)
    name = f"{team.subjects.env}+_facts+writer"
    await jetstream.api(team.bus, f"CONSUMER.DELETE.{LOG}.{name}")
    await tell(team, "review.requested", "two")
    results = await stored(team, "result.writing.*.*", 2)
    await settled(team)
    assert len(await stored(team, "result.writing.*.*")) == len(results) == 2


async def test_a_failed_run_is_buried_and_can_be_sent_again(team: Team) -> None:
    stubborn = WRITER + "limits: {hops: 1}\n"
    await team.run(writer=stubborn)
    await tell(team, "review.requested", "try", context={"hops": 5})
    await buried(team)
    await team.run(writer=WRITER)
    [letter] = [each async for each in dead_letters.listed(team.bus, team.subjects)]
    assert str(letter.subject) == team.subjects.task_for("writer")
    assert json.loads(letter.data)["payload"]["content"] == "try"
    await dead_letters.send_again(team.bus, team.subjects, letter)
    topic = letter.headers["Agentd-Topic"]
    result = await team.result(f"agents.{team.subjects.env}.result.{topic}.{letter.task_id}")
    assert result.payload.content["success"]


async def test_what_is_no_message_runs_nothing(team: Team) -> None:
    """A fact on a subject outside the grammar is refused, so that its sender hears of it."""
    await team.run(writer=WRITER)
    await team.send(team.subjects.event("review", "requested"), b"no json")
    await team.send(f"agents.{team.subjects.env}.result.research.a$b.c", b"{}")
    await tell(team, "review.requested", "fine")
    await settled(team)
    found = [each.payload.content for _, each in await stored(team, "result.writing.*.*", 2)]
    refused, written = sorted(found, key=lambda content: content["success"])
    assert refused["error"]["code"] == "malformed"
    assert "fine" in written["data"]


async def test_facts_and_tasks_take_turns(team: Team, other: Team) -> None:
    manifest = """
        capabilities: [writing]
        subscribe: event.review.requested
        limits: {concurrency: 1}
        """
    await other.run(writer=manifest)
    await other.runtime.drain(5)
    for number in range(10):
        await tell(team, "review.requested", f"fact {number}")
        subject = team.subjects.task("writing", "x")
        await team.send(subject, {"id": new_id(), "payload": {"content": f"task {number}"}})
    work = {"subjects_filter": f"work.{team.subjects.env}.>"}
    async with asyncio.timeout(20):
        while True:
            info = await jetstream.api(team.bus, f"STREAM.INFO.{WORK}", work)
            if sum((info["state"].get("subjects") or {}).values()) == 10:
                break
            await asyncio.sleep(0.02)
    await team.run(writer=manifest)
    results = await stored(team, "result.writing.*.*", 20)
    kinds = ["task" if subject.specificity == "x" else "fact" for subject, _ in results]
    assert {"task", "fact"} <= set(kinds[:6])
