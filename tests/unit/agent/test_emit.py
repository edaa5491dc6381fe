"""What a manifest may say of follow-ups, facts and joins, and how an answer is read."""

from __future__ import annotations

import pytest

from agentd.agent.emit import follow_up_id, readable
from agentd.manifest.file import read_manifest

MISTAKES = [
    (
        "emit: [{event: run.x}]",
        "`emit.event` must not begin with run.; agentd publishes such events itself",
    ),
    (
        "emit: [{task: _agent.b}]",
        "`emit.task` must not begin with _; to name an agent, use `target`",
    ),
    ("emit: [{event: a.b, target: c}]", "`emit.target` cannot be combined with `event`"),
    ("emit: [{when: output}]", "`emit` needs either `task` or `event`"),
    ("emit: {allow: [foo]}", "`emit.allow` must be `task.` or `event.`"),
    ("subscribe: {to: event.a.b, from: 1y}", "`subscribe.from` must be a duration"),
    ("subscribe: [event.a]", "`subscribe` must be `result.` or `event.`"),
    ("subscribe: {to: []}", "`subscribe.to` is empty"),
    ("join: {wait_for: [event.a.b], count: 0}", "`join.count` must be a number from 1 to 1,000"),
    ("join: {wait_for: []}", "`join.wait_for` is empty"),
]


@pytest.mark.parametrize(("field", "mistake"), MISTAKES, ids=[field for field, _ in MISTAKES])
def test_a_mistake_is_told_once_with_its_mend(field: str, mistake: str) -> None:
    text = f"capabilities: [a]\ninstructions: Hi.\n{field}\n"
    [problem] = read_manifest(text.encode(), "a.yaml", stem="a", defaults=(), environ={}).problems
    assert problem.line == 3
    assert f"{problem.text}; {problem.hint}".startswith(mistake)


def test_short_forms_stand_for_the_long_ones() -> None:
    text = "capabilities: [a]\nsubscribe: event.a.b\nemit: [{event: a.b}]\n"
    text += "join: {wait_for: event.a.b}\n"
    made = read_manifest(text.encode(), "a.yaml", stem="a", defaults=(), environ={})
    assert made.manifest
    assert made.manifest.subscribe
    assert made.manifest.subscribe.to == ("event.a.b",)
    assert made.manifest.emit.rules[0].event == ("a.b",)
    assert made.manifest.join
    assert (made.manifest.join.by, made.manifest.join.count) == ("correlation", None)


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("Hello.", "Hello."),
        ("12", "12"),
        (' {"a": 1}\n', {"a": 1}),
        ("[1, 2]", [1, 2]),
        ("[1] and more", "[1] and more"),
        ("{" * 100_000, "{" * 100_000),
        ({"a": 1}, {"a": 1}),
        (None, None),
    ],
)
def test_an_answer_is_read_as_json_where_it_is_an_object_or_a_list(
    answer: object, read: object
) -> None:
    assert readable(answer) == read


def test_ids_tell_results_rules_and_places_apart() -> None:
    ids = {
        follow_up_id(result, rule, place)
        for result in ("agents.dev.result.a.b.t1", "agents.prod.result.a.b.t1")
        for rule in range(3)
        for place in range(3)
    }
    assert len(ids) == 18
