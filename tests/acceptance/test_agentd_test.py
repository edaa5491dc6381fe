"""`agentd test` plays the cases of `*.test.yaml` files: offline, recorded and live."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from outside import Project, projects

from agentd.testing.stub_model import Behaviour, StubModel

AGENT = """
model: {{name: openai/stub, api_base: {base}, price: {{input: 1, output: 1}}}}
tools: [{{python: sky.py:look, effects: true}}]
"""
SKY = '''
def look(city: str) -> str:
    """The sky above a city."""
    raise SystemExit("called")
'''


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    for project in projects(tmp_path / "project"):
        project.write("tools/sky.py", SKY)
        project.agent("me", *AGENT.format(base="http://127.0.0.1:1").splitlines())
        yield project


@pytest.fixture
async def stub() -> AsyncIterator[StubModel]:
    async with StubModel().serve() as stub:
        yield stub


def cases(*fields: str) -> str:
    return "cases:\n" + "".join(f"  - {{name: c{n}, {each}}}\n" for n, each in enumerate(fields))


async def test_each_expectation_can_fail(project: Project) -> None:
    turns = 'model: [{tool_calls: [{name: look, arguments: {city: Bonn}}]}, \'{"sky": "grey"}\']'
    given = f"input: x, tools: {{look: grey}}, {turns}, expect: "
    expectations = {
        "{contains: blue}": "does not contain 'blue'",
        "{matches: '^blue'}": "does not match '^blue'",
        "{json: {sky: blue}}": "the answer.sky is \"grey\", not 'blue'",
        "{json: {sea: blue}}": "the answer has no 'sea'",
        "{tool_calls: [{name: look, arguments: {city: Ulm}}]}": "look is not called with",
        "{tool_calls: []}": "no tool call is expected; called: look",
        "{max_turns: 1}": "it took 2 turns; max_turns is 1",
        "{that: output.sky == 'blue'}": "`output.sky == 'blue'` does not hold",
        "{that: output.nothing}": "has no 'nothing'",
        "{error: budget}": "the error budget is expected",
        "{judge: it is blue}": "needs a `judge:` model",
    }
    project.write("manifests/me.test.yaml", cases(*(given + each for each in expectations)))
    done = await project.run("test", "--json")
    reports = json.loads(done.out)
    assert done.code == 1
    for report, mismatch in zip(reports, expectations.values(), strict=True):
        assert not report["passed"]
        assert mismatch in report["runs"][0]["mistakes"][0]


async def test_a_run_that_meets_all_conditions_passes(project: Project) -> None:
    judge = 'judge: {name: mock/script, script: [\'{"pass": true, "reason": "ok"}\']}\n'
    project.write(
        "manifests/me.test.yaml",
        judge
        + cases(
            "input: x, model: [It is GREY.], expect: {contains: grey, judge: it names a colour}",
            "input: x, model: [{error: {status: 400}}], expect: {error: model_rejected}",
            "input: x, tools: {look: {error: broken}}, model: [{tool_calls: [{name: look, "
            "arguments: {city: B}}]}, ok], expect: {tool_calls: [look], max_turns: 2}",
        ),
    )
    done = await project.run("test", "--junit", "report/junit.xml")
    assert (done.code, done.out.splitlines()[-1]) == (0, "3 passed")
    suite = ElementTree.parse(project.root / "report" / "junit.xml").getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("me", "3", "0")


async def test_a_tool_with_effects_is_never_really_called(project: Project) -> None:
    turns = "[{tool_calls: [{name: look, arguments: {city: Bonn}}]}, done]"
    that = "expect: {that: calls | length == 1, contains: done}"
    project.write("manifests/me.test.yaml", cases(f"input: x, model: {turns}, {that}"))
    assert (await project.run("test")).code == 0


async def test_real_models_are_called_only_with_live_and_record(
    project: Project, stub: StubModel
) -> None:
    project.agent("me", *AGENT.format(base=stub.url).splitlines())
    case = "input: x, runs: 3, pass: 2, expect: {contains: grey, max_cost: 1}"
    project.write("manifests/me.test.yaml", cases(case))
    refused = await project.run("test")
    assert (refused.code, stub.count) == (2, 0)
    assert "record it with --record, or play it with --live" in refused.err

    stub.plan = lambda number, _: Behaviour(text="grey" if number % 3 else "blue")
    live = await project.run("test", "--live")
    assert (live.code, stub.count) == (0, 3)
    assert "2 of 3 runs" in live.out
    stub.plan = lambda _, __: Behaviour(text="blue")
    assert (await project.run("test", "--live")).code == 1

    stub.plan = lambda _, __: Behaviour(text="recorded grey")
    assert (await project.run("test", "--record")).code == 0
    calls = stub.count
    played = await project.run("test")
    assert (played.code, stub.count) == (0, calls)
    cassette = json.loads((project.root / "manifests" / "me.cassette.json").read_text())
    assert cassette["cases"]["c0"]["turns"][0]["text"] == "recorded grey"


async def test_a_failed_recording_keeps_the_old_one_and_a_replay_says_what_has_changed(
    project: Project, stub: StubModel
) -> None:
    def prompted(text: str) -> None:
        prompt = f"instructions: '{text} {{{{ now }}}} {{{{ message.id }}}} {{{{ agent.model }}}}'"
        project.agent("me", prompt, *AGENT.format(base=stub.url).splitlines())

    prompted("Name a colour.")
    project.write("manifests/me.test.yaml", cases("input: x, expect: {contains: grey}"))
    stub.plan = lambda _, __: Behaviour(text="grey")
    assert (await project.run("test", "--record")).code == 0
    # A prompt that shows the time or the id of the task is still the same prompt.
    assert "changed" not in (await project.run("test")).out

    for behaviour in (Behaviour(text="blue"), Behaviour(fault="401")):
        stub.plan = lambda _, __, behaviour=behaviour: behaviour
        failed = await project.run("test", "--record")
        assert failed.code == 1
        assert "an earlier recording is kept" in failed.out
    prompted("Name a dark colour.")
    replayed = await project.run("test")
    assert replayed.code == 0
    assert "recorded before these changed: prompt; record it again: --record" in replayed.out
    [report] = json.loads((await project.run("test", "--json")).out)
    assert report["changed"] == ["prompt"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cases: []\n", "is empty"),
        (cases("input: x, expect: {contians: a}"), "unknown field `contians`; did you mean"),
        (cases("input: x, expect: {matches: '('}"), "is not a regular expression"),
        (cases("input: x, expect: {that: outptu}"), "unknown name `outptu`"),
        (cases("input: x, model: openai/gpt-4o, expect: {}"), "must be `mock/echo` or a list"),
        (cases("input: x, tools: {look: {returns: 1, error: b}}, expect: {}"), "exactly one of"),
        ("agent: you\n" + cases("input: x, expect: {}"), "there is no agent `you`"),
    ],
)
async def test_a_problem_in_a_test_file_names_its_place(
    project: Project, text: str, problem: str
) -> None:
    project.write("manifests/me.test.yaml", text)
    done = await project.run("test")
    assert (done.code, done.out) == (2, "")
    assert "manifests/me.test.yaml" in done.err
    assert problem in done.err


async def test_new_writes_a_test_that_passes(project: Project) -> None:
    assert (await project.run("new", "poet", "--test")).code == 0
    done = await project.run("test", "-k", "poet")
    assert (done.code, done.out.splitlines()[-1]) == (0, "2 passed")
