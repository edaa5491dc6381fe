"""A folder becomes agents and problems, and what an edit did not change is not made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentd.catalog.catalog import load, merge_problems
from agentd.errors import UsageError
from agentd.problems import Problem, errors

VALID = "capabilities: [analysis]\n"


def test_every_manifest_becomes_an_agent(project: Any) -> None:
    project.write(manifests__deep__er__tester_yml="capabilities: [testing]\ninstructions: Test.")
    project.put("manifests/critic.agent.md", "---\ncapabilities: [review]\n---\nYou review.\n")

    catalog = project.load()

    assert not catalog.problems
    assert not catalog.broken
    assert set(catalog.agents) == {"analyst", "coder", "tester", "critic"}
    analyst = catalog.agents["analyst"]
    assert analyst.file == project.manifests / "analyst.yaml"
    assert analyst.prompt.render({"agent": {"name": "Ada"}}) == "You are Ada. Be brief."
    assert catalog.agents["critic"].prompt.render({}) == "You review."
    assert len(analyst.revision) == 12


def test_files_that_are_not_manifests_are_ignored(project: Any) -> None:
    for name in (
        "analyst.test.yaml",
        ".hidden.yaml",
        ".git/config.yaml",
        "#analyst.yaml#",
        "analyst.yaml~",
        "analyst.yaml.tmp",
        "README.md",
    ):
        project.put(f"manifests/{name}", "no: manifest")

    assert not project.load().problems


def test_a_folder_that_does_not_exist_is_a_usage_error(project: Any) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load(project.root / "nowhere")
    with pytest.raises(UsageError, match="name its folder"):
        load(project.manifests / "analyst.yaml")


def test_all_problems_of_all_files_are_reported_in_order(project: Any) -> None:
    project.write(
        manifests__analyst_yaml="capabilities: [analysis]\ninput: |\n  a\n    {{ contnt }}\n",
        manifests__coder_yaml="capabilities: [coding]\nprompt: team/codr.md\npromt: x\n",
        manifests__tester_yaml="capabilities: [t]\ninstructions: 'Hi {{ nme }}'\n",
        manifests__writer_yaml="capabilities: [w]\n",
        prompts__analyst_md="{% include 'tne.txt' %}",
    )
    project.put("manifests/z.agent.md", "---\ncapabilities: [z]\n---\n\nHi\n{{ nme }}\n")

    catalog = project.load()

    assert [each.place for each in catalog.problems] == [
        "manifests/analyst.yaml:4:8",
        "manifests/coder.yaml:2:9",
        "manifests/coder.yaml:3:1",
        "manifests/tester.yaml:2:22",
        "manifests/writer.yaml:1:1",
        "manifests/z.agent.md:6:4",
        "prompts/analyst.md:1:13",
    ]
    assert not catalog.agents
    assert len(catalog.broken) == 5
    analyst = project.manifests / "analyst.yaml"
    assert [p.file for p in catalog.problems_of(analyst)] == [
        "prompts/analyst.md",
        "manifests/analyst.yaml",
    ]


def test_defaults_apply_to_their_folder_and_the_folders_below(project: Any) -> None:
    project.write(
        manifests___defaults_yaml="model: ${M:-a/top}\nprompt: tone.txt\n",
        manifests__low___defaults_yaml="model: a/low\n",
        manifests__low__tester_yaml="capabilities: [t]\n",
    )

    catalog = project.load()

    models = {name: spec.manifest.model[0].name for name, spec in catalog.agents.items()}
    assert models == {"analyst": "a/top", "coder": "a/top", "tester": "a/low"}
    assert catalog.agents["tester"].prompt.render({}) == "Be brief."
    assert project.load(M="a/env").agents["analyst"].manifest.model[0].name == "a/env"


def test_a_problem_in_the_defaults_is_reported_once_and_breaks_their_agents(project: Any) -> None:
    project.write(manifests___defaults_yaml="limits: {timeout: soon}\n")

    catalog = project.load()

    [problem] = catalog.problems
    assert problem.place == "manifests/_defaults.yaml:1:19"
    assert problem.text == "`limits.timeout` must be a duration"
    assert catalog.broken == {project.manifests / f"{name}.yaml" for name in ("analyst", "coder")}


def test_a_second_agent_of_the_same_name_is_an_error(project: Any) -> None:
    project.write(manifests__other_yaml="capabilities: [x]\nname: analyst\n")

    catalog = project.load()

    [problem] = catalog.problems
    assert problem.place == "manifests/other.yaml:2:7"
    assert problem.text == "another agent is also called `analyst`"
    assert problem.hint == "it is in manifests/analyst.yaml; change one `name`"
    assert catalog.agents["analyst"].file.name == "analyst.yaml"
    assert catalog.broken == {project.manifests / "other.yaml"}


def test_a_warning_of_the_topology_does_not_break_an_agent(project: Any) -> None:
    emit = "capabilities: [analysis]\nemit:\n  - {task: codng.review}\n  - {task: coding.review}\n"
    project.write(manifests__analyst_yaml=emit)

    catalog = project.load()

    [problem] = catalog.problems
    assert problem.place == "manifests/analyst.yaml:3:12"
    assert (problem.severity, problem.hint) == ("warning", "did you mean `coding`?")
    assert "analyst" in catalog.agents


def test_a_file_that_a_manifest_names_is_not_a_manifest(project: Any) -> None:
    mock = "capabilities: [m]\ninstructions: x\nmodel: {name: mock/script, script: ../turns.yaml}\n"
    project.write(manifests__low__mock_yaml=mock, manifests__turns_yaml="- Hello.\n")

    catalog = project.load()
    assert not catalog.problems
    assert catalog.agents["mock"].manifest.model[0].script == ["Hello."]

    project.write(manifests__turns_yaml="- Hello again.\n")
    edited = project.load(catalog)
    assert edited.agents["mock"].revision != catalog.agents["mock"].revision

    project.write(
        manifests__low__mock_yaml=mock.replace("turns", "turn"),
        manifests__turns_yaml="capabilities: [t]\ninstructions: x\n",
    )
    renamed = project.load(edited)
    assert "turns" in renamed.agents
    assert [each.place for each in renamed.problems] == ["manifests/low/mock.yaml:3:36"]


def test_what_did_not_change_is_the_same_object(project: Any) -> None:
    first = project.load()
    project.write(manifests__coder_yaml="capabilities: [coding]\nprompt: analyst.md\n")

    second = project.load(first)

    assert second.agents["analyst"] is first.agents["analyst"]
    assert second.agents["coder"] is not first.agents["coder"]

    project.write(prompts__tone_txt="Be long.")
    third = project.load(second)
    assert third.agents["analyst"].revision != second.agents["analyst"].revision

    (project.manifests / "coder.yaml").unlink()
    assert set(project.load(third).agents) == {"analyst"}


def test_a_changed_variable_changes_its_agents(project: Any) -> None:
    project.write(manifests__analyst_yaml=VALID + "model: ${M}\n")
    first = project.load(M="a/b")

    assert project.load(first, M="c/d").agents["analyst"].manifest.model[0].name == "c/d"
    assert [p.text for p in errors(project.load(first).problems)] == ["M is not set"]


def test_a_prompt_that_is_not_text_breaks_only_the_agents_that_need_it(project: Any) -> None:
    (project.root / "prompts/tone.txt").write_bytes(b"\xff\xfe")

    catalog = project.load()

    [problem] = catalog.problems
    assert (problem.place, problem.severity) == ("prompts/analyst.md:1:39", "error")
    assert problem.text == "the prompt `tone.txt` is not UTF-8 text (line 1); save it as UTF-8"
    assert set(catalog.agents) == {"coder"}


def test_a_prompt_that_cannot_be_read_says_why(project: Any) -> None:
    (project.root / "prompts/analyst.md").write_bytes(b"Hi\n\xff")
    (project.root / "prompts/team/coder.md").unlink()
    (project.root / "prompts/team/coder.md").symlink_to("/etc/hostname")

    assert project.problems()[:2] == [
        "manifests/analyst.yaml:1:1: the prompt prompts/analyst.md is not UTF-8 text (line 2); "
        "save it as UTF-8",
        "manifests/coder.yaml:2:9: the prompt prompts/team/coder.md is a link to a file outside "
        "its folder",
    ]


def test_all_mistakes_of_all_kinds_are_reported_at_once(project: Any) -> None:
    project.write(
        manifests__coder_yaml="""\
capabilities: [coding, 5]
instructions: "{{ contnt }} {{ content | uper }}"
emit:
  - {event: a.b, when: output | lenght > 1 and otput}
  - {event: a.c, whn: x}
  - {event: a.d, when: output = 1}
tools:
  - http: {url: "https://a.test/{{ x | uper }}/{{ y y }}"}
  - {command: [ls, "{{ x | uper }}"], nme: x}
  - {command: [ls, "{{ x | uper }}"]}
  - {command: [ls]}
"""
    )

    assert [each.rpartition("; ")[0] or each for each in project.problems()] == [
        "manifests/coder.yaml:1:24: an item of `capabilities` must be text",
        "manifests/coder.yaml:2:19: unknown name `contnt`",
        "manifests/coder.yaml:2:42: there is no filter `uper`",
        "manifests/coder.yaml:4:33: there is no filter `lenght`",
        "manifests/coder.yaml:4:48: unknown name `otput`",
        "manifests/coder.yaml:5:18: unknown field `whn`",
        "manifests/coder.yaml:6:31: `=` sets a value",
        "manifests/coder.yaml:8:40: `url`: there is no filter `uper`",
        "manifests/coder.yaml:8:51: `url`: `y` does not fit what stands before it",
        "manifests/coder.yaml:9:39: unknown field `nme`",
        "manifests/coder.yaml:10:28: there is no filter `uper`",
        "manifests/coder.yaml:11:6: `tools` has two tools named `ls`",
    ]


def test_a_variable_that_is_not_set_is_one_problem(project: Any) -> None:
    project.write(manifests__coder_yaml="capabilities: [c]\ninstructions: x\n"
        "tools: [{http: {url: 'https://${NOPE}/x'}}]\n")  # fmt: skip

    [problem] = project.problems()
    assert "NOPE is not set" in problem


def test_a_mistake_is_placed_in_the_file_that_has_it(project: Any) -> None:
    project.write(
        manifests___defaults_yaml="# shared\ninput: '{{ contnt }}'\nhistory: {keep: 1}\n"
        "emit: [{event: a.b, when: otput}]\n",
        manifests__coder_yaml="prompt: missing.md\nhistory: {}\n",
    )
    (project.manifests / "analyst.yaml").unlink()

    assert [each.rpartition("; ")[0] or each for each in project.problems()] == [
        "manifests/_defaults.yaml:2:12: unknown name `contnt`",
        "manifests/_defaults.yaml:4:27: unknown name `otput`",
        "manifests/coder.yaml:1:1: `capabilities` is missing",
        "manifests/coder.yaml:1:9: there is no file prompts/missing.md",
    ]


def test_agents_with_errors_can_be_checked_further(project: Any) -> None:
    project.write(manifests__coder_yaml="model: nobody/x\npromt: x\n")

    [faulty] = project.load().faulty
    assert (faulty.name, faulty.manifest.model[0].name) == ("coder", "nobody/x")
    assert set(project.load().agents) == {"analyst"}


def test_a_manifest_that_cannot_be_read_is_broken_and_not_removed(project: Any) -> None:
    (project.manifests / "analyst.yaml").unlink()
    (project.root / "outside.yaml").write_text(VALID)
    (project.manifests / "analyst.yaml").symlink_to(project.root / "outside.yaml")

    catalog = project.load()

    assert [(each.place, each.text) for each in catalog.problems] == [
        ("manifests/analyst.yaml", "is a link to a file outside its folder")
    ]
    assert catalog.broken == {project.manifests / "analyst.yaml"}
    assert catalog.problems_of(Path("unknown")) == ()


def test_problems_are_merged_once_and_in_the_order_of_files_and_lines() -> None:
    def problem(file: str, line: int) -> Problem:
        return Problem(file=file, text="x", line=line)

    first, second, third = problem("a", 1), problem("a", 10), problem("b", 2)

    assert merge_problems([third, first], [second, first]) == (first, second, third)
