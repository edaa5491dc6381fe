"""A folder becomes agents and problems; what did not change is not made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.catalog.catalog import Catalog, load
from agentd.errors import UsageError
from agentd.problems import errors

VALID = "capabilities: [analysis]\n"


class Project:
    """A folder with manifests and prompts that is edited and loaded again."""

    def __init__(self, root: Path) -> None:
        self.manifests = root / "manifests"
        self.manifests.mkdir()
        self.root = root

    def write(self, **files: str) -> Project:
        """Writes files; `__` stands for a slash, the last `_` for the dot."""
        for name, text in files.items():
            self.put(".".join(name.replace("__", "/").rsplit("_", 1)), text)
        return self

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def load(self, previous: Catalog | None = None, **environ: str) -> Catalog:
        return load(self.manifests, environ=environ, previous=previous)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path).write(
        manifests__analyst_yaml=VALID,
        manifests__coder_yaml="capabilities: [coding]\nprompt: team/coder.md\n",
        prompts__analyst_md="You are {{ agent.name }}. {% include 'tone.txt' %}",
        prompts__team__coder_md="You write code.",
        prompts__tone_txt="Be brief.",
    )


def said(catalog: Catalog) -> list[str]:
    return [f"{each.place}: {each.text}" for each in catalog.problems]


def test_every_manifest_becomes_an_agent(project: Project) -> None:
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


def test_what_is_no_manifest_is_left_alone(project: Project) -> None:
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


def test_a_folder_that_is_none_is_a_usage_error(project: Project) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load(project.root / "nowhere")
    with pytest.raises(UsageError, match="name its folder"):
        load(project.manifests / "analyst.yaml")


def test_all_mistakes_of_all_files_are_told_in_order(project: Project) -> None:
    project.write(
        manifests__analyst_yaml="capabilities: [analysis]\ninput: |\n  a\n    {{ contnt }}\n",
        manifests__coder_yaml="capabilities: [coding]\nprompt: team/codr.md\npromt: x\n",
        manifests__tester_yaml="capabilities: [t]\ninstructions: 'Hi {{ nme }}'\n",
        manifests__writer_yaml="capabilities: [w]\n",
        prompts__analyst_md="{% include 'tne.txt' %}",
    )
    project.put("manifests/z.agent.md", "---\ncapabilities: [z]\n---\n\nHi\n{{ nme }}\n")

    catalog = project.load()

    assert said(catalog) == [
        "manifests/analyst.yaml:4:8: there is no 'contnt' here",
        "manifests/coder.yaml:2:9: there is no prompts/team/codr.md",
        "manifests/coder.yaml:3:1: unknown field `promt`",
        "manifests/tester.yaml:2:22: there is no 'nme' here",
        "manifests/writer.yaml:1:1: there is no prompts/writer.md",
        "manifests/z.agent.md:6:4: there is no 'nme' here",
        "prompts/analyst.md:1:13: there is no prompt 'tne.txt'",
    ]
    inline = {problem.file: problem for problem in catalog.problems}
    assert inline["manifests/tester.yaml"].source == "instructions: 'Hi {{ nme }}'"
    assert inline["manifests/z.agent.md"].source == "{{ nme }}"
    assert not catalog.agents
    assert len(catalog.broken) == 5
    analyst = project.manifests / "analyst.yaml"
    assert [p.file for p in catalog.problems_of(analyst)] == [
        "prompts/analyst.md",
        "manifests/analyst.yaml",
    ]


def test_a_mistake_in_a_folded_template_is_shown_at_its_field(project: Project) -> None:
    project.write(manifests__analyst_yaml="capabilities: [a]\ninput: >\n  One\n  {{ contnt }}\n")

    assert said(project.load()) == ["manifests/analyst.yaml:2:8: there is no 'contnt' here"]


def test_defaults_reach_their_folder_and_those_below(project: Project) -> None:
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


def test_a_mistake_in_the_defaults_is_told_once_and_breaks_their_agents(project: Project) -> None:
    project.write(manifests___defaults_yaml="limits: {timeout: soon}\n")

    catalog = project.load()

    assert said(catalog) == ["manifests/_defaults.yaml:1:19: `limits.timeout` must be a duration"]
    assert catalog.broken == {project.manifests / f"{name}.yaml" for name in ("analyst", "coder")}


def test_a_second_agent_of_a_name_is_an_error(project: Project) -> None:
    project.write(manifests__other_yaml="capabilities: [x]\nname: analyst\n")

    catalog = project.load()

    assert said(catalog) == ["manifests/other.yaml:2:7: a second agent called `analyst`"]
    assert "manifests/analyst.yaml" in catalog.problems[0].hint
    assert catalog.agents["analyst"].file.name == "analyst.yaml"
    assert catalog.broken == {project.manifests / "other.yaml"}


def test_work_that_nobody_takes_is_a_warning(project: Project) -> None:
    emit = "capabilities: [analysis]\nemit:\n  - {task: codng.review}\n  - {task: coding.review}\n"
    project.write(manifests__analyst_yaml=emit)

    catalog = project.load()

    (problem,) = [each for each in catalog.problems if "nobody" in each.text]
    assert problem.place == "manifests/analyst.yaml:3:12"
    assert (problem.severity, problem.hint) == ("warning", "did you mean `coding`?")
    assert "analyst" in catalog.agents


def test_a_script_is_read_beside_its_manifest_and_is_none_itself(project: Project) -> None:
    project.write(
        manifests__low__mock_yaml="capabilities: [m]\ninstructions: x\n"
        "model: {name: mock/script, script: ../turns.yaml}\n",
        manifests__turns_yaml="- Hello.\n",
    )
    catalog = project.load()
    assert not catalog.problems
    assert catalog.agents["mock"].manifest.model[0].script == ["Hello."]

    project.write(manifests__turns_yaml="- Hello again.\n")
    edited = project.load(catalog)
    assert edited.agents["mock"].revision != catalog.agents["mock"].revision

    project.write(
        manifests__low__mock_yaml="capabilities: [m]\ninstructions: x\n"
        "model: {name: mock/script, script: ../turn.yaml}\n",
        manifests__turns_yaml="capabilities: [t]\ninstructions: x\n",
    )
    assert said(project.load(edited)) == [
        "manifests/low/mock.yaml:3:36: there is no file manifests/turn.yaml"
    ]


def test_an_expression_that_chooses_a_model_is_checked(project: Project) -> None:
    project.write(
        manifests__analyst_yaml="capabilities: [a]\ninstructions: Hi.\nmodel:\n  routes:\n"
        "    - {when: contnt > 1, name: mock/echo}\n    - {when: now, name: mock/echo}\n"
        "    - {name: mock/script, script: turns.yaml}\n",
        manifests__turns_yaml="[Hello.]",
    )
    assert said(project.load()) == [
        "manifests/analyst.yaml:5:14: there is no 'contnt' here",
        "manifests/analyst.yaml:6:14: there is no 'now' here",
    ]


def test_a_revision_is_what_makes_the_agent_and_nothing_else(project: Project) -> None:
    def revision() -> str:
        return project.load().agents["analyst"].revision

    first = revision()
    project.write(manifests__analyst_yaml="# a comment\ncapabilities: ['analysis']\n")
    assert revision() == first

    project.write(prompts__tone_txt="Be long.")
    second = revision()
    project.write(manifests__analyst_yaml=VALID + "limits: {concurrency: 3}\n")
    third = revision()
    project.write(manifests___defaults_yaml="limits: {timeout: 9s}\n")
    fourth = revision()
    project.write(manifests___defaults_yaml="model: {name: openai/x, api_key: sk-one}\n")
    fifth = revision()
    project.write(manifests___defaults_yaml="model: {name: openai/x, api_key: sk-two}\n")
    assert len({first, second, third, fourth, fifth, revision()}) == 6


def test_what_did_not_change_is_the_same_object(project: Project) -> None:
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


def test_a_variable_that_changes_changes_its_agents(project: Project) -> None:
    project.write(manifests__analyst_yaml=VALID + "model: ${M}\n")
    first = project.load(M="a/b")

    assert project.load(first, M="c/d").agents["analyst"].manifest.model[0].name == "c/d"
    assert [p.text for p in errors(project.load(first).problems)] == ["M is not set"]


def test_a_prompt_that_is_no_text_breaks_only_who_needs_it(project: Project) -> None:
    (project.root / "prompts/tone.txt").write_bytes(b"\xff\xfe")

    catalog = project.load()

    assert said(catalog)[0] == "prompts/analyst.md:1:39: there is no prompt 'tone.txt'"
    assert said(catalog)[1] == "prompts/tone.txt: not UTF-8 text"
    assert set(catalog.agents) == {"coder"}


def test_a_manifest_that_is_not_read_is_broken_and_not_gone(project: Project) -> None:
    (project.manifests / "analyst.yaml").unlink()
    (project.root / "outside.yaml").write_text(VALID)
    (project.manifests / "analyst.yaml").symlink_to(project.root / "outside.yaml")

    catalog = project.load()

    assert said(catalog) == ["manifests/analyst.yaml: is a link to a file outside its folder"]
    assert catalog.broken == {project.manifests / "analyst.yaml"}


@pytest.mark.parametrize(
    ("used", "told"),
    [
        ("agent.nam", "did you mean 'agent.name'?"),
        ("context.conversation_id", "did you mean 'context.conversationId'?"),
        ("message['repyTo']", "did you mean 'message.replyTo'?"),
    ],
)
def test_a_field_that_is_not_there_is_told(project: Project, used: str, told: str) -> None:
    project.write(manifests__a_yaml=VALID, prompts__a_md=f"Hi.\n{{{{ {used} }}}}\n")
    [problem] = errors(project.load().problems)
    assert problem.line == 2
    assert problem.hint == told


def test_fields_of_content_and_metadata_are_free(project: Project) -> None:
    text = "{{ content.any.thing }} {{ context.metadata.tenant }} {{ message.get('x') }}"
    project.write(manifests__a_yaml=VALID, prompts__a_md=text)
    assert not project.load().problems
