"""Which agents take a message, and the reasons of the others."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from agentd.catalog.topology.explain import Candidate, Explanation, explain_fact, explain_task
from agentd.cli.route import of_replicas
from agentd.protocol.destination import Destination
from agentd.protocol.message import decode
from agentd.routing.registry import Replica

TEAM = [
    Candidate("analyst", ("analysis", "german"), max_hops=2),
    Candidate("other", ("analysis",), max_hops=16),
    Candidate(
        "coder", ("coding",), subscriptions=("result.analysis.*", "event.*.done"), max_hops=16
    ),
]


def explained(to: str, team: list[Candidate] = TEAM, /, **message: Any) -> Explanation:
    raw = json.dumps({"payload": {"content": "x"}, **message}).encode()
    return explain_task(Destination.parse(to), decode(raw), team, "dev")


def why_not(explanation: Explanation) -> dict[str, str]:
    return {each.agent: each.why for each in explanation.verdicts if not each.takes}


@pytest.mark.parametrize(
    ("target", "message", "takers", "reasons"),
    [
        (
            "analysis",
            {},
            ["analyst", "other"],
            {"coder": "lacks the capability `analysis` (has coding)"},
        ),
        (
            "@other",
            {},
            ["other"],
            {
                "analyst": "the message is for @other only",
                "coder": "the message is for @other only",
            },
        ),
        (
            "analysis.mood",
            {"routing": {"capabilities": ["german"], "exclusions": ["coder"]}},
            ["analyst"],
            {
                "other": "lacks the capability `german` (has analysis)",
                "coder": "lacks the capability `analysis` and `german` (has coding); "
                "the message excludes it",
            },
        ),
        (
            "coding",
            {"target": "other"},
            ["other"],
            {
                "analyst": "the message is for @other only",
                "coder": "the message is for @other only",
            },
        ),
        (
            "analysis",
            {"context": {"hops": 3, "path": ["coder", "other"]}},
            [],
            {
                "analyst": "the message has 3 hops, but its limits.hops is 2",
                "other": "it emitted the message itself",
                "coder": "lacks the capability `analysis` (has coding)",
            },
        ),
    ],
)
def test_every_other_agent_has_a_reason(
    target: str, message: dict[str, Any], takers: list[str], reasons: dict[str, str]
) -> None:
    explanation = explained(target, **message)

    assert explanation.takers == takers
    assert why_not(explanation) == reasons


def test_the_subject_is_the_one_that_the_message_would_have() -> None:
    plain = explained("analysis.mood", routing={"priority": 7})
    assert plain.subject == "agents.dev.task.analysis.mood.7"
    assert explained("@coder").subject == "agents.dev.task._agent.coder.5"
    routed = explained("analysis", routing={"capabilities": ["german"]}).subject
    assert routed.startswith("agents.dev.task._route.")


def test_a_misspelt_destination_gets_a_suggestion() -> None:
    assert explained("analysys").hint == "did you mean `analysis`?"
    assert explained("@codr").hint == "did you mean `coder`?"
    assert explained("analysis").hint == ""


def test_no_agent_runs_a_message_that_has_expired() -> None:
    an_hour_ago = (time.time() - 3600) * 1000
    late = explained("analysis", timestamp=an_hour_ago, routing={"timeout": 1000})

    assert late.objection == "it has expired"


def test_every_subscriber_gets_a_fact_but_not_its_publisher() -> None:
    explanation = explain_fact("event.brief.done", "analyst", TEAM, "dev")
    assert (explanation.takers, explanation.each) == (["coder"], True)
    assert why_not(explanation)["other"] == "subscribes to no facts"

    own = explain_fact("event.brief.done", "coder", TEAM, "dev")
    assert why_not(own)["coder"] == "published it itself"


def replica(agent: str, **fields: Any) -> Replica:
    given: dict[str, Any] = {
        "instance": "i", "host": "h", "pid": 1, "model": "m", "mock": True, "revision": "r",
        "refused": [], "done": 0, "failed": 0, "in_flight": 1, "concurrency": 8, "p50": None,
        "tokens": 0, "cost": None, "started": 0.0, "seen": 0.0, "capabilities": [agent],
    }  # fmt: skip
    return Replica(agent=agent, **(given | fields))


def test_an_agent_is_unavailable_if_all_its_replicas_drain() -> None:
    online = [replica("a", state="draining"), replica("a"), replica("b", state="draining")]

    first, second = of_replicas(online)

    assert (first.unavailable, first.note) == ("", "2 replicas, 2 of 16 busy")
    assert second.unavailable == "it is draining and takes no new tasks"
    assert explained("b", [first, second]).takers == []
