"""Warnings about joins that wait for more facts than can arrive."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.catalog.catalog import Catalog

Folder = Callable[..., Catalog]
Texts = Callable[[Catalog], list[str]]


FAN = "emit: [{task: digging.part, for_each: output}]"
DIGGER = "capabilities: [digging]"


@pytest.mark.parametrize(
    ("splitter", "joins"),
    [
        (FAN, True),
        ("emit: {allow: [task.digging.*]}", True),
        ("tools: [{agent: digger}]", False),
        ("emit: [{task: digging.part}]", True),
        ("", False),
    ],
)
def test_count_all_needs_a_fan_out(
    folder: Folder, texts: Texts, splitter: str, joins: bool
) -> None:
    catalog = folder(
        splitter=splitter,
        digger=DIGGER,
        joiner="join: {wait_for: ['result.digging.*'], count: all}",
    )

    expected = [
        "`count: all` waits for all that one answer emits, but no agent here emits what leads to "
        "these facts, so one fact of each pattern completes the join",
    ]
    assert texts(catalog) == ([] if joins else expected)


def test_the_facts_that_follow_a_fan_out_are_siblings_too(folder: Folder, texts: Texts) -> None:
    catalog = folder(
        splitter=FAN,
        digger=DIGGER + "\nemit: [{task: check.it}]",
        checker="capabilities: [check]\nemit: [{event: all.checked}]",
        joiner="join: {wait_for: ['result.check.*', event.all.checked], count: all}",
    )

    assert texts(catalog) == []


@pytest.mark.parametrize(
    ("count", "planner", "most"),
    [
        (3, "emit: [{task: dig.a}, {task: dig.b}]", 2),
        (2, "emit: [{task: dig.a}, {task: dig.b}]", None),
        (9, "emit: [{task: dig.a, for_each: output}]", None),
        (3, "emit: [{task: dig.a}, {event: dig.it}]", 2),
        (4, "emit: [{task: dig.a}, {event: go.on}]", 2),
        (9, "emit: {allow: ['task.dig.*']}", None),
    ],
)
def test_a_join_should_not_wait_for_more_facts_than_can_arrive(
    folder: Folder, texts: Texts, count: int, planner: str, most: int | None
) -> None:
    catalog = folder(
        planner=planner,
        one="capabilities: [dig]",
        two="capabilities: [dig]",
        joiner=f"join: {{wait_for: ['result.dig.*', 'event.dig.*'], count: {count}}}",
        listener="capabilities: [dig]\nsubscribe: 'event.go.*'",
        teller="emit: [{event: dig.begins}, {event: go.away}]",
    )

    text = f"the join waits for {count} facts, but one request leads to at most {most} of them here"
    assert texts(catalog) == ([] if most is None else [text])


def test_a_conversation_can_bring_any_number_of_facts(folder: Folder, texts: Texts) -> None:
    catalog = folder(a="join: {wait_for: [result.b.*], by: conversation, count: 5}", b="")

    assert texts(catalog) == []


def test_a_long_chain_of_agents_is_counted(folder: Folder, texts: Texts) -> None:
    chain = {f"a{i}": f"emit: [{{task: a{i + 1}.x}}]" for i in range(300)}
    end = "join: {wait_for: [result.a299.*], count: 2}"

    catalog = folder(**chain, a300="", joiner=end)

    assert texts(catalog) == [
        "the join waits for 2 facts, but one request leads to at most 1 of them here"
    ]
