"""What is odd about the agents of a folder together is told at its place, with its mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from agentd.catalog.catalog import Catalog, load

Folder = Callable[..., Catalog]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The catalog of these agents: name to manifest; one without `capabilities` has its name as
    its capability."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()

    def write(**manifests: str) -> Catalog:
        for name, text in manifests.items():
            text = dedent(text).strip() + "\ninstructions: Hi.\n"
            if not re.search("^capabilities:", text, re.MULTILINE):
                text += f"capabilities: [{name}]\n"
            (tmp_path / "manifests" / f"{name}.yaml").write_text(text)
        return load(Path("manifests"), environ={})

    return write


def said(catalog: Catalog) -> list[str]:
    """Each problem as `agent:line:column text; mend`."""
    return [
        f"{each.place.removeprefix('manifests/').replace('.yaml', '')} {each.text}; {each.hint}"
        for each in catalog.problems
    ]


def texts(catalog: Catalog) -> list[str]:
    return [each.text for each in catalog.problems]


# Work


def test_work_that_nobody_takes_is_told_with_the_nearest_capability(folder: Folder) -> None:
    catalog = folder(a="emit: [{task: checking.claims}]", b="capabilities: [checkin]")

    assert said(catalog) == [
        "a:1:15 nobody here takes tasks of `checking`; did you mean `checkin`?"
    ]
    assert {each.severity for each in catalog.problems} == {"warning"}
    assert catalog.agents.keys() == {"a", "b"}


def test_an_agents_name_is_no_capability(folder: Folder) -> None:
    catalog = folder(a="emit: [{task: reviewer.draft}]", reviewer="capabilities: [review]")

    assert said(catalog) == [
        "a:1:15 nobody here takes tasks of `reviewer`; it is an agent: give it this capability, "
        "or name it as `target: reviewer`"
    ]


def test_nobody_takes_what_it_has_just_handed_on(folder: Folder) -> None:
    catalog = folder(a="emit: [{task: a.more, when: output}]", b="")

    assert texts(catalog) == [
        "only a itself could take this, and nobody takes what it has just handed on"
    ]


@pytest.mark.parametrize(
    ("rule", "problems"),
    [
        ("{task: b.x, capabilities: [deep]}", []),
        ("{task: b.x, capabilities: [dep]}", ["a:1:35 nobody here has the capability `dep`"]),
        ("{task: b.x, capabilities: [c]}", ["a:1:15 nobody here has all of `b` and `c`"]),
        ("{task: b.x, exclusions: [b]}", ["a:1:15 all who could take this may not: b"]),
        (
            "{task: b.x, exclusions: [bb]}",
            ["a:1:33 no agent here is called `bb`: it keeps nobody from the work"],
        ),
        ("{task: b.x, target: cc}", ["a:1:28 no agent here is called `cc`"]),
        ("{task: zzz.x, target: c}", []),
        (
            "{task: b.x, target: c, capabilities: [deep]}",
            ["a:1:46 `c` lacks the capability `deep`"],
        ),
        ("{event: nobody.listens}", []),
    ],
)
def test_a_rule_names_only_what_is_there(folder: Folder, rule: str, problems: list[str]) -> None:
    catalog = folder(a=f"emit: [{rule}]", b="capabilities: [b, deep]", c="")

    assert [each.partition(";")[0] for each in said(catalog)] == problems


def test_a_target_that_is_a_capability_is_told_so(folder: Folder) -> None:
    catalog = folder(a="emit: [{task: b.x, target: deep}]", b="capabilities: [b, deep]")

    assert said(catalog) == ["a:1:28 no agent here is called `deep`; it is a capability, of b"]


@pytest.mark.parametrize(
    ("pattern", "problems"),
    [
        ("task.b.*", []),
        ("task.*.*", []),
        ("task.*.urgent", []),
        ("event.any.thing", []),
        ("task.bb.*", ["a:1:16 nobody here takes tasks of `bb`"]),
        ("task.a.*", ["a:1:16 only a itself could take this, and nobody takes what it has just "
                      "handed on"]),
    ],
)  # fmt: skip
def test_what_a_model_may_emit_has_takers(
    folder: Folder, pattern: str, problems: list[str]
) -> None:
    catalog = folder(a=f"emit: {{allow: ['{pattern}']}}", b="")

    assert [each.partition(";")[0] for each in said(catalog)] == problems


def test_a_model_cannot_hand_work_to_agents_that_take_none(folder: Folder) -> None:
    catalog = folder(
        a="capabilities: []\nsubscribe: event.x.y\nemit: {allow: ['task.*.*']}",
        b="capabilities: []\nsubscribe: event.x.y",
    )

    assert texts(catalog) == ["nobody here takes tasks"]


def test_agents_that_are_tools_are_there(folder: Folder) -> None:
    catalog = folder(
        a="""
        tools:
          - {agent: b}
          - {agent: deep}
          - {agent: nobody}
          - {agent: deep, gather: all, name: vote}
          - {agent: c, gather: all, name: poll}
        """,
        b="capabilities: [deep]",
        c="capabilities: [other]",
    )

    assert said(catalog) == [
        "a:4:13 no other agent here is called `nobody`, or has this capability; add the agent",
        "a:6:13 `c` is an agent, and no capability that another agent here has; `gather` asks "
        "all who have a capability",
    ]


def test_an_agent_out_of_reach_is_told(folder: Folder) -> None:
    catalog = folder(a="capabilities: []", b="")

    assert said(catalog) == [
        "a:1:1 is empty, and nothing here sends or says anything to this agent; give it a "
        "capability or `subscribe`; `agentd ask @a` reaches it as it is"
    ]


@pytest.mark.parametrize(
    "reached",
    [
        {"a": "capabilities: []\nsubscribe: event.x.y"},
        {"a": "capabilities: []\nschedule: {every: 1h, task: Go.}"},
        {"a": "capabilities: []", "b": "emit: [{task: b.x, target: a}]"},
        {"a": "capabilities: []", "b": "tools: [{agent: a}]"},
    ],
)
def test_there_are_many_ways_to_reach_one(folder: Folder, reached: dict[str, str]) -> None:
    assert texts(folder(**reached)) == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (
            "emit: [{task: b.x, target: a}]",
            "a:1:28 `emit.target` is this agent itself, which cannot take a task that it has just "
            "emitted; name another agent",
        ),
        (
            "tools: [{agent: a}]",
            "a:1:17 `tools.agent` is this agent itself, which cannot take a task that it has just "
            "emitted; name another agent",
        ),
        (
            "emit: [{task: b.x, target: b, exclusions: [b]}]",
            "a:1:28 `emit.target` is also in `exclusions`, so no agent may take this task; "
            "remove it from `exclusions`, or name another target",
        ),
        (
            "emit: {allow: [task.b.*, event.run.x]}",
            "a:1:26 `emit.allow` has `event.run.x`, but `run` is reserved for agentd; ",
        ),
    ],
)
def test_what_can_never_work_is_an_error(folder: Folder, fields: str, error: str) -> None:
    catalog = folder(a=fields, b="")

    assert said(catalog) == [error]
    assert {each.severity for each in catalog.problems} == {"error"}


# Facts


@pytest.mark.parametrize(
    ("heard", "problems"),
    [
        ("result.b.*", []),
        ("result.*.*", []),
        ("event.b.ready", []),
        ("event.from_outside.x", []),
        ("event.status.offline", []),
        ("result.bb.*", ["nobody here answers tasks of `bb`"]),
        ("event.b.raedy", ["nobody here says `event.b.raedy`"]),
        ("result.a.*", ["only a itself says `result.a.*`, and nobody hears itself"]),
        ("result.routed.x", []),
    ],
)
def test_a_fact_to_run_for_is_said_by_somebody(
    folder: Folder, heard: str, problems: list[str]
) -> None:
    catalog = folder(
        a=f"subscribe: [{heard}]",
        b="emit: [{event: b.ready}, {task: routed.x, target: c}]",
        c="limits: {hops: 3}",
    )

    assert texts(catalog) == problems


def test_a_fact_that_is_misspelt_is_told_with_its_mend(folder: Folder) -> None:
    catalog = folder(a="subscribe: event.brief.raedy", b="emit: [{event: brief.ready}]")

    assert said(catalog) == [
        "a:1:12 nobody here says `event.brief.raedy`; did you mean `event.brief.ready`?"
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            "subscribe: [result.b.*, result.b.x]",
            "a:1:25 `result.b.*` has `result.b.x` in it; leave it out: a fact is run for once",
        ),
        (
            "subscribe: ['result.*.x', result.b.*]",
            "a:1:27 `result.*.x` and `result.b.*` both match `result.b.x`; it is run for once; "
            "if that is meant, nothing is wrong",
        ),
        (
            "subscribe: [result.b.*]\njoin: {wait_for: [result.b.x, result.c.*]}",
            "a:1:13 `result.b.x` is joined as well: it runs for each such fact, and again for the "
            "join; leave it out here or under `join`, unless both are meant",
        ),
    ],
)
def test_subscriptions_that_overlap_are_told(folder: Folder, fields: str, problem: str) -> None:
    assert said(folder(a=fields, b="", c="")) == [problem]


def test_what_agentd_says_of_itself_is_no_part_of_everything(folder: Folder) -> None:
    assert texts(folder(a="subscribe: ['event.*.*', event.status.offline]")) == []


# Joins


def test_a_join_waits_for_what_somebody_says(folder: Folder) -> None:
    catalog = folder(
        a="join: {wait_for: [result.b.*, result.cc.*, event.x.y, result.a.*]}",
        b="",
        c="",
    )

    assert texts(catalog) == [
        "nobody here answers tasks of `cc`; the join waits for its timeout",
        "nobody here says `event.x.y`; the join waits for its timeout",
        "only a itself says `result.a.*`, and nobody hears itself",
    ]


FAN = "emit: [{task: digging.part, for_each: output}]"
DIGGER = "capabilities: [digging]"


@pytest.mark.parametrize(
    ("splitter", "joins"),
    [
        (FAN, True),
        ("emit: {allow: [task.digging.*]}", True),
        ("tools: [{agent: digger}]", False),
        ("emit: [{task: digging.part}]", False),
        ("", False),
    ],
)
def test_all_siblings_are_those_of_a_fan_out(folder: Folder, splitter: str, joins: bool) -> None:
    catalog = folder(
        splitter=splitter,
        digger=DIGGER,
        joiner="join: {wait_for: ['result.digging.*'], count: all}",
    )

    expected = [
        "waits for siblings, but nothing here makes any: the first facts complete it",
    ]
    assert texts(catalog) == ([] if joins else expected)


def test_siblings_are_those_of_what_follows_a_fan_out_too(folder: Folder) -> None:
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
def test_a_join_waits_for_no_more_than_can_come(
    folder: Folder, count: int, planner: str, most: int | None
) -> None:
    catalog = folder(
        planner=planner,
        one="capabilities: [dig]",
        two="capabilities: [dig]",
        joiner=f"join: {{wait_for: ['result.dig.*', 'event.dig.*'], count: {count}}}",
        listener="capabilities: [dig]\nsubscribe: 'event.go.*'",
        teller="emit: [{event: dig.begins}, {event: go.away}]",
    )

    text = f"waits for {count} facts, but of these a request brings {most} here"
    assert texts(catalog) == ([] if most is None else [text])


def test_a_conversation_may_bring_any_number(folder: Folder) -> None:
    catalog = folder(a="join: {wait_for: [result.b.*], by: conversation, count: 5}", b="")

    assert texts(catalog) == []


# Circles


def test_a_circle_is_told_with_its_way(folder: Folder) -> None:
    catalog = folder(
        writer="emit: [{task: reviewer.draft}]", reviewer="emit: [{task: writer.again}]"
    )

    assert said(catalog) == [
        "reviewer:1:15 goes round until limits.hops (16) ends it with an error: reviewer > "
        "task.writer.again > writer > task.reviewer.draft > reviewer; give a rule of it a `when`, "
        "or set limits.hops if that is meant"
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
def test_a_circle_that_an_answer_may_end_is_fine(folder: Folder, bounded: str) -> None:
    assert texts(folder(writer="emit: [{task: reviewer.draft}]", reviewer=bounded)) == []


def test_facts_make_circles_too(folder: Folder) -> None:
    catalog = folder(a="subscribe: result.b.*", b="subscribe: result.a.*")

    [problem] = catalog.problems
    assert problem.place == "manifests/a.yaml:1:12"
    assert "a > result.a.* > b > result.b.* > a" in problem.text


def test_facts_of_another_specificity_make_none(folder: Folder) -> None:
    catalog = folder(
        a="subscribe: event.go.now\nemit: [{event: a.done}]",
        b="subscribe: result.a.other\nemit: [{event: go.now}]",
    )

    assert texts(catalog) == []


@pytest.mark.parametrize(("by", "circles"), [("parent", 1), ("correlation", 0)])
def test_a_join_runs_once_for_a_request(folder: Folder, by: str, circles: int) -> None:
    catalog = folder(
        a=f"join: {{wait_for: [result.b.*], by: {by}}}\nemit: [{{task: b.more}}]", b=""
    )

    assert len(catalog.problems) == circles


def test_each_group_of_agents_has_its_circle_told_once(folder: Folder) -> None:
    catalog = folder(
        a="emit: [{task: b.x}, {task: b.y}]",
        b="emit: [{task: a.x}]",
        c="emit: [{task: d.x}]",
        d="emit: [{task: c.x}]",
        e="emit: [{task: a.x}]",
    )

    assert [each.file for each in catalog.problems] == ["manifests/a.yaml", "manifests/c.yaml"]


def test_a_long_chain_is_walked(folder: Folder) -> None:
    chain = {f"a{i}": f"emit: [{{task: a{i + 1}.x}}]" for i in range(300)}
    end = "join: {wait_for: [result.a299.*], count: 2}"

    catalog = folder(**chain, a300="", joiner=end)

    assert texts(catalog) == ["waits for 2 facts, but of these a request brings 1 here"]


# The folder as a whole


def test_the_example_is_without_fault() -> None:
    assert load(Path(__file__).parents[4] / "manifests", environ={}).problems == ()


def test_nothing_is_said_while_a_file_does_not_load(folder: Folder) -> None:
    catalog = folder(a="emit: [{task: b.x}]", b="promt: x")

    assert texts(catalog) == ["unknown field `promt`"]


def test_a_place_is_right_after_an_edit_of_comments(folder: Folder) -> None:
    before = folder(a="emit: [{task: b.x}]")
    Path("manifests/a.yaml").write_text("# A comment.\n" + Path("manifests/a.yaml").read_text())

    after = load(Path("manifests"), environ={}, previous=before)

    assert [each.line for each in (*before.problems, *after.problems)] == [1, 2]
    assert after.agents["a"] is before.agents["a"]
