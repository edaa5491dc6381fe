"""Warnings about cycles of agents that only the limit of hops ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.catalog.catalog import Catalog

Folder = Callable[..., Catalog]
Warnings = Callable[[Catalog], list[str]]
Texts = Callable[[Catalog], list[str]]


def test_a_cycle_is_a_warning_with_the_way_through_it(folder: Folder, warnings: Warnings) -> None:
    catalog = folder(
        writer="emit: [{task: reviewer.draft}]", reviewer="emit: [{task: writer.again}]"
    )

    assert warnings(catalog) == [
        "reviewer:1:15 this cycle runs until limits.hops (16) ends it with an error: reviewer > "
        "task.writer.again > writer > task.reviewer.draft > reviewer; add a `when` to one of its "
        "rules, or set limits.hops if the cycle is intended"
    ]


@pytest.mark.parametrize(
    "bounded",
    [
        "emit: [{task: writer.again, when: output.verdict == 'reject'}]",
        "emit: [{task: writer.again, for_each: output.faults}]",
        "emit: {allow: [task.writer.again]}",
        "tools: [{agent: writer}]",
        "emit: [{task: writer.again}]\nlimits: {hops: 5}",
    ],
)
def test_a_cycle_that_an_answer_can_end_is_no_warning(
    folder: Folder, texts: Texts, bounded: str
) -> None:
    assert texts(folder(writer="emit: [{task: reviewer.draft}]", reviewer=bounded)) == []


def test_facts_can_form_a_cycle(folder: Folder) -> None:
    catalog = folder(a="subscribe: result.b.*", b="subscribe: result.a.*")

    [problem] = catalog.problems
    assert problem.place == "manifests/a.yaml:1:12"
    assert "a > result.a.* > b > result.b.* > a" in problem.text


def test_facts_of_another_specificity_form_no_cycle(folder: Folder, texts: Texts) -> None:
    catalog = folder(
        a="subscribe: event.go.now\nemit: [{event: a.done}]",
        b="subscribe: result.a.other\nemit: [{event: go.now}]",
    )

    assert texts(catalog) == []


@pytest.mark.parametrize(("by", "cycles"), [("parent", 1), ("correlation", 0)])
def test_a_join_ends_a_cycle_unless_it_joins_by_parent(
    folder: Folder, by: str, cycles: int
) -> None:
    catalog = folder(
        a=f"join: {{wait_for: [result.b.*], by: {by}}}\nemit: [{{task: b.more}}]", b=""
    )

    assert len(catalog.problems) == cycles


def test_each_group_of_agents_gets_one_warning(folder: Folder) -> None:
    catalog = folder(
        a="emit: [{task: b.x}, {task: b.y}]",
        b="emit: [{task: a.x}]",
        c="emit: [{task: d.x}]",
        d="emit: [{task: c.x}]",
        e="emit: [{task: a.x}]",
    )

    assert [each.file for each in catalog.problems] == ["manifests/a.yaml", "manifests/c.yaml"]
