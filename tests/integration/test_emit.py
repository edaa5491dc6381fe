"""What follows an answer: on record together with it, once, with its lineage; on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from agentd.agent.emit import follow_up_id
from agentd.nats import jetstream
from agentd.nats.shared_value import Secret
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import Subject

if TYPE_CHECKING:
    from tests.integration.conftest import Team

PLANNER = """
capabilities: [plan]
model: {{name: mock/script, script: [{{text: {answer}}}]}}
emit: {emit}
"""
CLAIMS = json.dumps(json.dumps({"claims": ["one", "two", "three"], "score": 0.7}))
WORKER = "capabilities: [work]\n"


def planner(emit: str, answer: str = CLAIMS) -> str:
    return PLANNER.format(answer=answer, emit=emit)


async def seed(team: Team) -> str:
    """What the ids of all that follows the task `t1` are derived from."""
    secret = Secret()
    await secret.read(team.bus, team.subjects.env)
    return secret.identify(team.subjects.result("plan", "x", "t1"), 2**53)


async def stored(team: Team, pattern: str) -> list[tuple[Subject, AgentMessage]]:
    """What is on record on these subjects, oldest first."""
    found = jetstream.stored(team.bus, LOG, team.subjects.pattern(pattern))
    return [
        (Subject.parse((msg.headers or {})["Nats-Subject"]), decode(msg.data))
        async for msg in found
    ]


async def messages(team: Team, pattern: str) -> list[AgentMessage]:
    return [message for _, message in await stored(team, pattern)]


async def test_a_task_for_each_item_is_done_once(team: Team) -> None:
    rule = (
        "[{task: work.check, for_each: output.claims, content: '{\"claim\": item}', priority: 7}]"
    )
    await team.run(planner=planner(rule), worker=WORKER)
    assert (await team.ask("plan", "go", id="t1"))["success"]
    await team.at_rest()
    tasks = await stored(team, "task.work.>")
    assert [task.payload.content for _, task in tasks] == [
        {"claim": "one"},
        {"claim": "two"},
        {"claim": "three"},
    ]
    assert {subject.priority for subject, _ in tasks} == {7}
    results = await messages(team, "result.work.*.*")
    assert sorted(str(result.context.parent_message_id) for result in results) == sorted(
        task.id for _, task in tasks
    )


async def test_a_stranger_that_guesses_ids_prevents_nothing(team: Team) -> None:
    """The server stores nothing under an id that it knows, and a result is stored once."""
    result = team.subjects.result("plan", "x", "t1")
    guessed = [follow_up_id(result, 0, place) for place in range(3)]
    rule = "[{task: work.check, for_each: output.claims}]\nhistory: {max_messages: 4}"
    await team.run(planner=planner(rule), worker=WORKER)
    for name in (*guessed, "t1.conversation_exchange", "dlq.1.t1"):
        junk = team.subjects.event("junk", "x")
        await jetstream.store(team.bus, junk, b"{}", message_id=name)
    for name in guessed:
        task = {"id": name, "payload": {"content": "mine"}}
        await team.send(team.subjects.task("work", "check"), task)
    assert (await team.ask("plan", "go", id="t1"))["success"]
    await team.at_rest()
    contents = [each.payload.content for each in await messages(team, "task.work.>")]
    assert sorted(contents) == ["mine", "mine", "mine", "one", "three", "two"]
    assert len(await messages(team, "result.work.*.*")) == 6
    exchanges = await messages(team, "event.conversation.*")
    assert [each.payload.content["agent"] for each in exchanges].count("planner") == 1


async def test_what_follows_knows_where_it_comes_from(team: Team) -> None:
    await team.run(planner=planner("[{task: work.check, for_each: output.claims}]"), worker=WORKER)
    sent = {
        "context": {"conversationId": "c1", "metadata": {"user": "maria"}, "hops": 2},
        "payload": {"content": "go", "constraints": {"maxCost": 0.9}},
        "routing": {"timeout": 60_000, "priority": 8},
    }
    await team.ask("plan", "go", id="t1", **sent)
    await team.at_rest()
    tasks = await messages(team, "task.work.>")
    for index, task in enumerate(tasks):
        assert task.id == follow_up_id(await seed(team), 0, index)
        assert (task.context.conversation_id, task.context.parent_message_id) == ("c1", "t1")
        assert task.correlation_id == "t1"
        assert (task.context.hops, task.context.path) == (3, ("planner",))
        assert task.context.metadata == {"user": "maria"}
        assert task.payload.constraints.max_cost == pytest.approx(0.3)  # pyright: ignore[reportUnknownMemberType]
        assert task.routing.priority == 8
        assert 0 < (task.routing.timeout or 0) <= 60_000
        [place] = task.context.siblings
        assert (place.of, place.index, place.count) == ("t1", index, 3)
    for result in await messages(team, "result.work.*.*"):
        assert result.context.task_parent_id == "t1"
        assert result.context.siblings[0].count == 3


async def test_a_rule_chooses_the_topic_or_the_target_of_each_item(team: Team) -> None:
    rules = """
      - task: [work.one, hard.two]
        for_each: output.claims
        choose: "'hard' if item == 'two' else 'work'"
      - {task: work.more, target: [worker, expert], choose: "'expert'"}
    """
    await team.run(planner=planner(rules), worker=WORKER, expert="capabilities: [hard]\n")
    await team.ask("plan", "go")
    await team.at_rest()
    results = await stored(team, "result.>")
    answers = [(f"{place.domain}.{place.specificity}", each.source.id) for place, each in results]
    assert sorted(answers) == [
        ("hard.two", "expert"),
        ("plan.x", "planner"),
        ("work.more", "expert"),
        ("work.one", "worker"),
        ("work.one", "worker"),
    ]


async def test_a_choice_that_is_not_in_the_list_is_an_error(team: Team) -> None:
    rules = "[{task: [work.one, hard.two], for_each: output.claims, choose: item}]"
    await team.run(planner=planner(rules), worker=WORKER, expert="capabilities: [hard]\n")
    error = (await team.ask("plan", "go"))["error"]
    assert error["code"] == "emit_failed"
    assert (
        "choose: gives 'one', which is not one of task.work.one, task.hard.two" in error["message"]
    )


async def test_an_event_when_it_holds(team: Team) -> None:
    rules = """
      - {event: report.ready, when: output.score > 0.5, content: '{"score": output.score}'}
      - {event: report.poor, when: output.score <= 0.5}
      - {event: report.by, content: 'agent.name ~ " in " ~ context.conversationId'}
    """
    await team.run(planner=planner(rules))
    await team.ask("plan", "me", context={"conversationId": "c1"})
    [(ready, one), (by, two)] = await stored(team, "event.report.*")
    assert (ready.specificity, one.payload.content) == ("ready", {"score": 0.7})
    assert (by.specificity, two.payload.content) == ("by", "planner in c1")
    [place] = one.context.siblings
    assert (place.index, place.count, place.topic) == (0, 2, "event.report.ready")
    assert place.topics == {"event.report.ready": 1, "event.report.poor": 0, "event.report.by": 1}


async def test_of_a_list_only_the_items_that_hold_are_siblings(team: Team) -> None:
    rule = "[{task: work.check, for_each: output.claims, when: item != 'two'}]"
    await team.run(planner=planner(rule), worker=WORKER)
    await team.ask("plan", "go")
    tasks = await messages(team, "task.work.>")
    assert [task.payload.content for task in tasks] == ["one", "three"]
    assert [(p.index, p.count) for task in tasks for p in task.context.siblings] == [(0, 2), (1, 2)]


@pytest.mark.parametrize(
    ("emit", "why"),
    [
        ("[{event: a.b, when: output.missing > 1}]", "planner.yaml:5:22: when: output.missing > 1"),
        ("[{event: a.b, for_each: output.score}]", "for_each: gives float, not a list"),
        ("[{event: a.b, for_each: 'range(2000) | list'}]", "2,000 items; the most are"),
        ("[{event: a.b, content: range}]", "emit rule 2, a.b: cannot be sent as JSON"),
    ],
)
async def test_a_rule_that_fails_is_the_tasks_error(team: Team, emit: str, why: str) -> None:
    await team.run(planner=planner(f"[{{event: never.sent}}, {emit[1:-1]}]"))
    content = await team.ask("plan", "go")
    assert content["error"]["code"] == "emit_failed"
    assert why.partition(":5:")[0] in content["error"]["message"]
    assert why.rpartition(": when")[2] in content["error"]["message"]
    assert await messages(team, "event.never.sent") == []


async def test_nothing_follows_an_error(team: Team) -> None:
    failing = planner("[{event: report.ready}]").replace("{text:", "{error: {status: 400}, text:")
    await team.run(planner=failing)
    assert not (await team.ask("plan", "go"))["success"]
    assert await messages(team, "event.report.*") == []


async def test_text_is_read_as_it_is(team: Team) -> None:
    await team.run(planner=planner("[{event: report.said}]", answer="'[Not] JSON.'"))
    await team.ask("plan", "go")
    [event] = await messages(team, "event.report.said")
    assert event.payload.content == "[Not] JSON."


async def test_who_shall_do_it(team: Team) -> None:
    """A target and exclusions are obeyed, and the result stands where its topic says."""
    rules = """
      - {task: work.one, target: second}
      - {task: work.two, exclusions: [second]}
      - {task: work.three, capabilities: [extra]}
    """
    await team.run(
        planner=planner(rules),
        first="capabilities: [work]\n",
        second="capabilities: [work, extra]\n",
    )
    await team.ask("plan", "go", id="t1")
    await team.at_rest()
    done = {
        subject.specificity: result.source.id
        for subject, result in await stored(team, "result.work.*.*")
    }
    assert done == {"one": "second", "two": "first", "three": "second"}


async def test_work_that_nobody_takes_waits(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    rules = "[{task: work.check, for_each: output.claims}]"
    await team.run(planner=planner(rules))
    assert (await team.ask("plan", "go"))["success"]
    assert caplog.text.count("no agent online takes work.check") == 1
    await team.run(planner=planner(rules), worker=WORKER)
    await team.at_rest()
    assert len(await messages(team, "result.work.*.*")) == 3


async def test_what_follows_is_there_as_soon_as_the_result(team: Team) -> None:
    await team.run(planner=planner("[{event: part.x, for_each: 'range(300) | list'}]"))
    seen: list[int] = []

    async def look(_: object) -> None:
        seen.append(len(await messages(team, "event.part.x")))

    await team.bus.subscribe(team.subjects.pattern("result.plan.*.*"), look)
    await team.ask("plan", "go")
    assert len(await messages(team, "event.part.x")) == 300


class TestTheTool:
    """What the model itself emits."""

    ALLOW = "{allow: [task.work.*, event.report.ready], limit: 2}"

    def agent(self, *turns: Mapping[str, Any]) -> str:
        script = json.dumps([*turns, {"text": "done"}])
        return (
            f"capabilities: [plan]\nmodel: {{name: mock/script, script: {script}}}\n"
            f"emit: {self.ALLOW}\n"
        )

    @staticmethod
    def calls(*arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"tool_calls": [{"name": "emit", "arguments": each} for each in arguments]}

    async def test_it_hands_on_work(self, team: Team) -> None:
        first = {"to": "task.work.a", "content": "A", "priority": 9}
        second = {"to": "event.report.ready", "content": {"b": 1}}
        await team.run(planner=self.agent(self.calls(first), self.calls(second)), worker=WORKER)
        assert (await team.ask("plan", "go", id="t1"))["data"] == "done"
        await team.at_rest()
        [(subject, task)] = await stored(team, "task.work.>")
        assert (subject.priority, task.payload.content) == (9, "A")
        assert task.id == follow_up_id(await seed(team), 0, 0)
        [event] = await messages(team, "event.report.ready")
        assert event.payload.content == {"b": 1}
        assert len(await messages(team, "result.work.*.*")) == 1

    async def test_what_is_not_allowed_is_told_to_the_model(self, team: Team) -> None:
        wrong = [
            {"to": "task.other.a", "content": "A"},
            {"to": "event.run.t1", "content": "A"},
            {"to": "event.approval.t1", "content": {"decision": "approve"}},
            {"to": "task.work.*", "content": "A"},
            {"to": "task.work.a", "content": "A", "priority": 11},
            {"to": "task.work.a"},
        ]
        right = [{"to": "task.work.a", "content": n} for n in range(3)]
        await team.run(planner=self.agent(self.calls(*wrong), self.calls(*right)))
        await team.ask("plan", "go", id="t1")
        told = [
            event.payload.content["text"]
            for event in await messages(team, "event.run.t1")
            if event.payload.content["event"] == "tool_answered"
        ]
        assert len(told) == 9
        assert sum("may not be emitted" in text for text in told) == 4
        assert sum("do not fit its schema" in text for text in told) == 2
        assert sum("2 messages, which is its limit" in text for text in told) == 1
        assert len(await messages(team, "task.work.>")) == 2


async def test_an_answer_that_comes_second_emits_nothing(team: Team) -> None:
    """The batch is refused as a whole when a result is there already."""
    slow = planner("[{event: report.ready}]").replace("{text:", "{latency: 1s, text:")
    await team.run(planner=slow)
    asking = asyncio.create_task(team.ask("plan", "go", id="t1"))
    async with asyncio.timeout(20):
        while not team.runtime.agents["planner"].in_flight:  # noqa: ASYNC110 (nobody tells it)
            await asyncio.sleep(0.01)
    answered = {"type": "result", "payload": {"content": {"success": True, "data": "mine"}}}
    await team.send(team.subjects.result("plan", "x", "t1"), answered)
    assert (await asking)["data"] == "mine"
    await team.at_rest()
    assert await messages(team, "event.report.ready") == []


async def test_what_follows_waits_for_its_turn_at_the_server(team: Team) -> None:
    """The server takes 50 batches at once, of all replicas together."""
    await team.run(planner=planner("[{event: report.ready}]"))
    subject = team.subjects.event("other", "batch")

    async def begin(number: int) -> None:
        batch = {"Nats-Batch-Id": f"{team.subjects.env}{number}", "Nats-Batch-Sequence": "1"}
        await team.send(subject, b"1", **batch)

    async def end(number: int) -> None:
        batch = {"Nats-Batch-Id": f"{team.subjects.env}{number}", "Nats-Batch-Sequence": "2"}
        await team.send(subject, b"2", **batch, **{"Nats-Batch-Commit": "1"})

    await asyncio.gather(*map(begin, range(50)))
    asking = asyncio.create_task(team.ask("plan", "go"))
    await asyncio.sleep(0.3)
    assert not asking.done()
    await asyncio.gather(*map(end, range(50)))
    assert (await asking)["success"]
    assert len(await messages(team, "event.report.ready")) == 1
