"""Joins: facts that belong together run once, whoever completes them; on a real server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agentd.nats import jetstream, streams
from agentd.protocol.message import new_id
from agentd.protocol.server_subjects import bucket
from agentd.settings import Settings
from tests.integration.test_subscribe import settled, stored, tell

if TYPE_CHECKING:
    from tests.integration.conftest import Team


def joiner(join: str, more: str = "") -> str:
    return f"capabilities: [synthesis]\njoin: {join}\n{more}"


def planner(count: int, *, of: str = "range", topic: str = "research.x") -> str:
    items = json.dumps([f"question {number}" for number in range(count)])
    script = json.dumps([{"text": items}])
    return (
        f"capabilities: [plan]\nmodel: {{name: mock/script, script: {script}}}\n"
        f"emit: [{{task: {topic}, for_each: output}}]\n"
    )


RESEARCHER = "capabilities: [research]\n"
ONE_OF_EACH = joiner("{wait_for: [event.part.a, event.part.b]}")
ALL = joiner("{wait_for: result.research.*, count: all}")


async def joined(team: Team, count: int = 1) -> list[dict[str, Any]]:
    """What was joined so far: the contents of the tasks."""
    found = await stored(team, "task._agent.joiner.*", count)
    return [task.payload.content for _, task in found]


async def at_rest(team: Team) -> None:
    await settled(team)
    await team.at_rest()


async def test_one_of_each_runs_once(team: Team) -> None:
    await team.run(joiner=ONE_OF_EACH)
    await tell(team, "part.b", {"b": 2}, correlationId="r1")
    await tell(team, "part.a", "A", correlationId="r2")
    await tell(team, "part.a", "A", correlationId="r1")
    [content] = await joined(team)
    assert content == {
        "complete": True,
        "missing": [],
        "facts": [
            {"subject": "event.part.a", "agent": "anonymous", "success": True, "data": "A"},
            {"subject": "event.part.b", "agent": "anonymous", "success": True, "data": {"b": 2}},
        ],
    }
    [(subject, result)] = await stored(team, "result.synthesis.*.*", 1)
    assert subject.specificity == "joined"
    assert result.correlation_id == "r1"
    [(_, told)] = await stored(team, "event.join.*", 1)
    assert told.payload.content["complete"]
    await at_rest(team)
    assert len(await joined(team)) == 1


async def test_what_is_late_is_told_and_runs_nothing(team: Team) -> None:
    await team.run(joiner=ONE_OF_EACH)
    for topic in ("part.a", "part.b", "part.a"):
        await tell(team, topic, "x", correlationId="r1")
    [(subject, late)] = await stored(team, "event.join_late.*", 1)
    [(joined_as, _)] = await stored(team, "event.join.*", 1)
    assert subject.specificity == joined_as.specificity
    assert late.payload.content["event"] == "late"
    assert 'agentd_late_facts_total{agent_id="joiner"} 1.0' in team.metrics.expose()[0].decode()
    await at_rest(team)
    assert len(await joined(team)) == 1


async def test_by_conversation(team: Team) -> None:
    join = "{wait_for: [event.part.a, event.part.b], by: conversation}"
    await team.run(joiner=joiner(join))
    for topic, conversation in (("a", "c1"), ("b", "c2"), ("b", "c1")):
        await tell(team, f"part.{topic}", topic, context={"conversationId": conversation})
    [(_, task)] = await stored(team, "task._agent.joiner.*", 1)
    assert task.context.conversation_id == "c1"


async def test_by_parent_of_the_tasks(team: Team) -> None:
    """Results of two tasks that a sender gave the same parent."""
    await team.run(
        researcher=RESEARCHER,
        joiner=joiner("{wait_for: result.research.*, by: parent, count: 2}"),
    )
    for parent in ("p1", "p2", "p1"):
        await team.ask("research", "go", context={"parentMessageId": parent})
    [content] = await joined(team)
    assert len(content["facts"]) == 2
    await at_rest(team)
    assert len(await joined(team)) == 1


async def test_so_many(team: Team) -> None:
    await team.run(joiner=joiner("{wait_for: [event.vote.*], count: 3}"))
    for number in range(3):
        await tell(team, f"vote.v{number}", number, correlationId="r1")
    [content] = await joined(team)
    assert [fact["data"] for fact in content["facts"]] == [0, 1, 2]


async def test_all_siblings_of_a_fan_out(team: Team, other: Team) -> None:
    agents = {"planner": planner(12), "researcher": RESEARCHER, "joiner": ALL}
    await team.run(**agents)
    await other.run(**agents)
    await team.ask("plan", "go", id="t1")
    [(_, task)] = await stored(team, "task._agent.joiner.*", 1)
    said = [fact["data"] for fact in task.payload.content["facts"]]
    assert len(said) == 12
    assert all(f"question {number}" in text for number, text in enumerate(said))
    assert task.context.siblings == ()
    assert task.correlation_id == "t1"
    await at_rest(team)
    assert len(await stored(team, "result.synthesis.*.*")) == 1


ROUTER = """
capabilities: [support]
model:
  name: mock/script
  script: ['{"billing": ["b1", "b2"], "technical": ["t1"], "refund": []}']
emit:
  - {task: billing.issue, for_each: output.billing}
  - {task: technical.issue, for_each: output.technical}
  - {task: refund.issue, for_each: output.refund}
  - {task: audit.entry}
  - {event: support.sorted}
"""
SPECIALISTS = {
    "billing": "capabilities: [billing]\n",
    "technical": (
        "capabilities: [technical]\n"
        "model: {name: mock/script, script: [{text: solved, latency: 400ms}]}\n"
    ),
    "auditor": "capabilities: [audit]\n",
}


def answers(tasks: list[dict[str, Any]]) -> list[list[str]]:
    """The agents whose answers were joined, each time."""
    assert all(task["complete"] for task in tasks)
    return [[fact["agent"] for fact in task["facts"]] for task in tasks]


@pytest.mark.parametrize("by", ["correlation", "parent"])
@pytest.mark.parametrize(
    "wait_for",
    ["[result.*.issue]", "[result.billing.*, result.refund.*, result.technical.*]"],
)
async def test_all_that_one_answer_emitted_is_joined(team: Team, by: str, wait_for: str) -> None:
    """Over several rules, one of which made nothing; other messages beside them do not count."""
    join = f"{{wait_for: {wait_for}, count: all, by: {by}}}"
    await team.run(router=ROUTER, joiner=joiner(join), **SPECIALISTS)
    await team.ask("support", "go")
    assert answers(await joined(team)) == [["billing", "billing", "technical"]]


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_all_that_follows_through_other_agents_is_joined(
    team: Team, other: Team, elsewhere: bool
) -> None:
    """Also where the agents before the join run in a process with other manifests."""
    passing = {name: text + "emit: [{task: check.done}]\n" for name, text in SPECIALISTS.items()}
    await team.run(router=ROUTER, **{**passing, "auditor": SPECIALISTS["auditor"]})
    agents = {
        "joiner": joiner("{wait_for: [result.check.*], count: all, timeout: 20s}"),
        "checker": "capabilities: [check]\n",
    }
    await (other if elsewhere else team).run(**agents)
    if elsewhere:  # nothing tells that process that an audit leads nowhere
        await team.run(router=ROUTER.replace("  - {task: audit.entry}\n", ""))
    await team.ask("support", "go")
    assert answers(await joined(team)) == [["checker"] * 3]


async def test_topics_that_a_rule_chooses_are_joined_in_the_order_of_the_items(team: Team) -> None:
    router = ROUTER[: ROUTER.index("emit:")] + (
        "emit:\n"
        "  - task: [billing.issue, refund.issue, technical.issue]\n"
        "    for_each: output.billing + output.technical + ['b3']\n"
        "    choose: \"'billing' if item[0] == 'b' else 'technical'\"\n"
    )
    patterns = "[result.*.issue, result.refund.*]"
    await team.run(
        router=router, joiner=joiner(f"{{wait_for: {patterns}, count: all}}"), **SPECIALISTS
    )
    await team.ask("support", "go")
    assert answers(await joined(team)) == [["billing", "billing", "technical", "billing"]]


async def test_what_a_model_emits_itself_is_joined(team: Team) -> None:
    calls = [
        {"name": "emit", "arguments": {"to": f"task.{domain}.issue", "content": "x"}}
        for domain in ("billing", "technical")
    ]
    script = json.dumps([{"tool_calls": calls}, {"text": "sent"}])
    await team.run(
        router=(
            f"capabilities: [support]\nmodel: {{name: mock/script, script: {script}}}\n"
            "emit: {allow: [task.*.issue], rules: [{task: billing.issue}]}\n"
        ),
        joiner=joiner("{wait_for: [result.*.issue], count: all}"),
        **SPECIALISTS,
    )
    await team.ask("support", "go")
    assert answers(await joined(team)) == [["billing", "billing", "technical"]]


async def test_a_result_on_the_way_says_what_follows_from_it(team: Team) -> None:
    """The billing agent passes the first issue on; whether it does, only its results say."""
    passing = "emit: [{task: technical.issue, when: content == 'b1'}]\n"
    await team.run(
        router=ROUTER,
        joiner=joiner("{wait_for: [result.*.issue], count: all}"),
        **{**SPECIALISTS, "billing": SPECIALISTS["billing"] + passing},
    )
    await team.ask("support", "go")
    [agents] = answers(await joined(team))
    assert sorted(agents) == ["billing", "billing", "technical", "technical"]


async def test_a_failed_sibling_is_one_of_all(team: Team) -> None:
    failing = "model: {name: mock/script, script: [{error: {status: 400, message: no}}]}\n"
    await team.run(planner=planner(2), researcher=RESEARCHER + failing, joiner=ALL)
    await team.ask("plan", "go")
    [content] = await joined(team)
    assert [fact["success"] for fact in content["facts"]] == [False, False]
    assert content["facts"][0]["error"]["code"] == "model_rejected"


async def test_a_fan_out_within_a_fan_out(team: Team) -> None:
    """The whole tree is joined by the request; each inner fan-out by its parent."""
    claims = '[{"text": "[1, 2, 3]"}]'
    await team.run(
        planner=planner(2),
        researcher=(
            f"capabilities: [research]\nmodel: {{name: mock/script, script: {claims}}}\n"
            "emit: [{task: check.claim, for_each: output}]\n"
        ),
        checker="capabilities: [check]\n",
        joiner=joiner("{wait_for: result.check.*, count: all}"),
        inner=(
            "capabilities: [digest]\njoin: {wait_for: result.check.*, count: all, by: parent}\n"
        ),
        outer=("capabilities: [summary]\njoin: {wait_for: result.digest.*, count: all}\n"),
    )
    await team.ask("plan", "go")
    [content] = await joined(team)
    assert len(content["facts"]) == 6
    inner = await stored(team, "task._agent.inner.*", 2)
    assert [len(task.payload.content["facts"]) for _, task in inner] == [3, 3]
    assert sorted(task.context.siblings[0].index for _, task in inner) == [0, 1]
    assert [len(task.context.siblings) for _, task in inner] == [1, 1]
    [(_, outer)] = await stored(team, "task._agent.outer.*", 1)
    assert len(outer.payload.content["facts"]) == 2
    await at_rest(team)
    assert len(await stored(team, "result.>")) == 1 + 2 + 6 + 1 + 2 + 1


@pytest.mark.parametrize("on_timeout", ["run", "fail"])
async def test_when_the_time_is_up(team: Team, on_timeout: str) -> None:
    join = "{wait_for: [event.part.a, event.part.b], timeout: 300ms, on_timeout: %s}"
    await team.run(joiner=joiner(join % on_timeout))
    await tell(team, "part.a", "A", correlationId="r1")
    [(_, result)] = await stored(team, "result.synthesis.*.*", 1)
    content = result.payload.content
    if on_timeout == "run":
        [task] = await joined(team)
        assert (task["complete"], task["missing"]) == (False, ["event.part.b"])
        assert content["success"]
    else:
        assert content["error"]["code"] == "join_timeout"
        assert "event.part.b" in content["error"]["message"]
        assert await joined(team, 0) == []
    await tell(team, "part.b", "B", correlationId="r1")
    await stored(team, "event.join_late.*", 1)


async def test_the_time_runs_while_nobody_does(team: Team, other: Team) -> None:
    agents = {"joiner": joiner("{wait_for: [event.part.a, event.part.b], timeout: 500ms}")}
    await other.run(**agents)
    await tell(team, "part.a", "A", correlationId="r1")
    await settled(team)
    await other.runtime.drain(5)
    await asyncio.sleep(0.6)
    await team.run(**agents)
    [content] = await joined(team)
    assert content["missing"] == ["event.part.b"]


async def test_a_fact_can_be_joined_and_run_for(team: Team) -> None:
    both = joiner("{wait_for: [event.part.a, event.part.b]}", "subscribe: event.part.a\n")
    await team.run(joiner=both)
    await tell(team, "part.a", "A", correlationId="r1")
    await tell(team, "part.b", "B", correlationId="r1")
    results = await stored(team, "result.synthesis.*.*", 2)
    assert sorted(subject.specificity for subject, _ in results) == ["a", "joined"]


async def test_a_request_in_the_same_conversation_is_joined_anew(team: Team) -> None:
    await team.run(planner=planner(2), researcher=RESEARCHER, joiner=ALL)
    for _ in range(2):
        await team.ask("plan", "go", context={"conversationId": "chat"})
    assert len(await joined(team, 2)) == 2


async def test_a_join_outlives_its_forgotten_state(team: Team) -> None:
    """Without its state a join may be gathered again; what is on record runs no second time."""
    await team.run(joiner=ONE_OF_EACH)
    for _ in range(2):
        await tell(team, "part.a", "A", correlationId="r1")
        await tell(team, "part.b", "B", correlationId="r1")
        await joined(team)
        await at_rest(team)
        keys = bucket(streams.JOINS, team.subjects.env, ">")
        await jetstream.api(team.bus, f"STREAM.PURGE.{streams.JOINS}", {"filter": keys})
    assert len(await joined(team)) == 1


async def test_large_facts_are_joined_by_reference(team: Team) -> None:
    await team.run(joiner=ONE_OF_EACH)
    large = "x" * 600_000
    for topic in ("part.a", "part.b"):
        await tell(team, topic, large, correlationId="r1", id=new_id())
    [(_, result)] = await stored(team, "result.synthesis.*.*", 1)
    assert result.payload.content["success"]


async def test_nobody_else_ends_a_join(team: Team) -> None:
    await team.run(joiner=ONE_OF_EACH)
    for content in ("now", {"join": 7}, {"join": "a.b"}, {"join": "unknown"}):
        await tell(team, "join_due.joiner", content)
    for topic in ("part.a", "part.b"):
        await tell(team, topic, "x", correlationId="r1")
    [content] = await joined(team)
    assert content["complete"]
    await at_rest(team)


def test_the_bucket_is_one_of_those_that_are_healed() -> None:
    assert streams.JOINS in [each["name"] for each in streams.configurations(Settings())]
