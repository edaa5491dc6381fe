"""Warnings about subscriptions that no fact matches, or that overlap."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.catalog.catalog import Catalog

Folder = Callable[..., Catalog]
Warnings = Callable[[Catalog], list[str]]
Texts = Callable[[Catalog], list[str]]


@pytest.mark.parametrize(
    ("heard", "problems"),
    [
        ("result.b.*", []),
        ("result.*.*", []),
        ("event.b.ready", []),
        ("event.from_outside.x", []),
        ("event.status.offline", []),
        ("result.bb.*", ["no agent here answers tasks of `bb`"]),
        ("event.b.raedy", ["no agent here publishes `event.b.raedy`"]),
        (
            "result.a.*",
            ["only a itself publishes `result.a.*`, and an agent does not receive its own facts"],
        ),
        ("result.routed.x", []),
    ],
)
def test_a_subscription_needs_an_agent_that_publishes_the_fact(
    folder: Folder, texts: Texts, heard: str, problems: list[str]
) -> None:
    catalog = folder(
        a=f"subscribe: [{heard}]",
        b="emit: [{event: b.ready}, {task: routed.x, target: c}]",
        c="limits: {hops: 3}",
    )

    assert texts(catalog) == problems


def test_a_misspelt_event_gets_a_suggestion(folder: Folder, warnings: Warnings) -> None:
    catalog = folder(a="subscribe: event.brief.raedy", b="emit: [{event: brief.ready}]")

    assert warnings(catalog) == [
        "a:1:12 no agent here publishes `event.brief.raedy`; did you mean `event.brief.ready`?"
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            "subscribe: [result.b.*, result.b.x]",
            "a:1:25 `result.b.*` already includes `result.b.x`; remove it: the agent runs once for "
            "each fact",
        ),
        (
            "subscribe: ['result.*.x', result.b.*]",
            "a:1:27 `result.*.x` and `result.b.*` both match `result.b.x`; the agent runs "
            "once for such a fact; ignore this if both patterns are intended",
        ),
        (
            "subscribe: [result.b.*]\njoin: {wait_for: [result.b.x, result.c.*]}",
            "a:1:13 `result.b.x` is also joined, so the agent runs for each such fact and again "
            "for the join; remove it here or under `join`, unless both runs are intended",
        ),
    ],
)
def test_overlapping_subscriptions_are_a_warning(
    folder: Folder, warnings: Warnings, fields: str, problem: str
) -> None:
    assert warnings(folder(a=fields, b="", c="")) == [problem]


def test_a_wildcard_does_not_include_the_events_of_agentd(folder: Folder, texts: Texts) -> None:
    assert texts(folder(a="subscribe: ['event.*.*', event.status.offline]")) == []


def test_a_join_needs_agents_that_publish_its_facts(folder: Folder, texts: Texts) -> None:
    catalog = folder(
        a="join: {wait_for: [result.b.*, result.cc.*, event.x.y, result.a.*]}",
        b="",
        c="",
    )

    assert texts(catalog) == [
        "no agent here answers tasks of `cc`, so the join waits until its timeout",
        "no agent here publishes `event.x.y`, so the join waits until its timeout",
        "only a itself publishes `result.a.*`, and an agent does not receive its own facts",
    ]
