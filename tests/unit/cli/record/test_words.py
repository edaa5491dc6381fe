"""The words for the nodes of a trace."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.cli.record.words import details, duration, headline, money
from agentd.record.trace.node import Node


def node(kind: Any, name: str = "", text: str = "", *, status: Any = "", **known: Any) -> Node:
    return Node(kind=kind, name=name, text=text, status=status, began=0.0, details=known)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 ms"),
        (0.35, "350 ms"),
        (12.44, "12.4 s"),
        (130, "2 min 10 s"),
        (3_900, "1 h 5 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [(0.0, "$0.0000"), (0.000123, "$0.000123"), (0.5, "$0.5000"), (1234.5, "$1234.50")],
)
def test_an_amount(dollars: float, shown: str) -> None:
    assert money(dollars) == shown


@pytest.mark.parametrize(
    ("shown", "given"),
    [
        ("analyst  How is it?", node("task", "analyst", "How is it?")),
        ("analyst (suspended)", node("task", "analyst", state="suspended")),
        ("ops.general (waiting)", node("task", to="ops.general", state="waiting")),
        ("life 2: sent again", node("life", "2")),
        ("turn 3 gpt  Hm.", node("turn", "gpt", "Hm.", turn=3)),
        ('search {"q": 1} → 3 hits', node("call", "search", '{"q": 1}', answer="3 hits")),
        ("waits for a decision", node("approval", decision="waiting")),
        ("denied by maria: no", node("approval", "maria", "no", decision="denied")),
        ("expired", node("approval", decision="expired")),
        (
            "attempt failed: model_timeout: slow; again after 1.0 s",
            node("attempt", "a", "slow", event="attempt_failed", code="model_timeout", delay=1.0),
        ),
        (
            "begun again: the attempt before ended with its process",
            node("attempt", "a", event="attempt_started"),
        ),
        ("handed back", node("attempt", "a", event="handed_back")),
        ("m failed: rate: 429", node("model", "m", "429", event="model_failed", code="rate")),
        ("waits: it loads", node("model", "a", "it loads", event="model_awaited")),
        ("result: 42", node("result", "analyst", "42", status="ok")),
        ("error expired: late", node("result", "analyst", "late", status="failed", code="expired")),
        ("dead letter 7: exhausted: no", node("letter", "exhausted", "no", letter=7)),
        (
            "dead letter 7 sent again by maria",
            node("letter", "maria", event="letter_retried", letter=7),
        ),
        (
            "dead letter 7 dropped by maria",
            node("letter", "maria", event="letter_dropped", letter=7),
        ),
        (
            "joined result.x.y of a, result.x.y of b; missing event.z",
            node(
                "join",
                facts=[{"subject": "result.x.y", "source": who} for who in "ab"],
                missing=["event.z"],
            ),
        ),
        ("joined nothing", node("join")),
        ("joined 7 (no longer on record)", node("join", facts=[{"sequence": 7}])),
        ("task stopped by maria", node("decision", "maria", event="task_stopped")),
        ("decision without effect by eve: approve", node("decision", "eve", "approve")),
        ("accepted over HTTP from web", node("accepted", "web")),
        ("resumed: ops.general", node("resumed", "ops.general")),
        ("forwarded to ops", node("forwarded", "ops")),
        ("late fact, ignored", node("late")),
        ("remembered", node("memory")),
        ("event.billing.paid  {}", node("event", "event.billing.paid", "{}")),
        ("other", node("other")),
    ],
)
def test_what_happened(shown: str, given: Node) -> None:
    assert headline(given) == shown


def test_what_is_known_of_a_task() -> None:
    task = node(
        "task", to="analysis.general", source="maria", model="gpt", tokens=1234, cost=0.5,
        revision="9b1f", attempts=2, replicas=["a", "b"], cached=True, cut="context",
    )  # fmt: skip

    assert details(task)[2:] == [
        "to analysis.general", "from maria", "gpt", "1,234 tokens", "$0.5000", "revision 9b1f",
        "2 attempts", "replica a b", "cached", "cut off: context",
    ]  # fmt: skip


def test_what_is_known_of_a_turn() -> None:
    usage = {"inputTokens": 1200, "outputTokens": 34}
    turn = node("turn", usage=usage, cost=0.001, firstChunk=210.0, endpoint="https://x.example")

    assert details(turn) == [
        "1,200 + 34 tokens",
        "$0.001000",
        "first chunk 210 ms",
        "https://x.example",
    ]
    assert details(node("turn", usage={"inputTokens": "many", "outputTokens": None})) == []
