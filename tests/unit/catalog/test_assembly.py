"""An agent is made of its manifest and all files that the manifest names; problems have places."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.problems import errors

VALID = "capabilities: [analysis]\n"


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (
            "capabilities: [a]\nprompt: team/codr.md\n",
            "manifests/me.yaml:2:9: there is no file prompts/team/codr.md; "
            "did you mean `team/coder.md`?",
        ),
        (
            "capabilities: [a]\n",
            "manifests/me.yaml:1:1: there is no file prompts/me.md; "
            "create the file, or set `instructions` here",
        ),
        (
            "capabilities: [a]\nprompt: You are kind.\n",
            "manifests/me.yaml:2:9: there is no file prompts/You are kind.; "
            "to write the prompt itself here, use `instructions`",
        ),
        (
            "capabilities: [a]\ninstructions: prompts/team/coder.md\n",
            "manifests/me.yaml:2:15: `instructions` is the text of the prompt, and "
            "`prompts/team/coder.md` looks like a file; write `prompt: team/coder.md`",
        ),
        (
            "capabilities: [a]\ninstructions: ../me.txt\n",
            "manifests/me.yaml:2:15: `instructions` is the text of the prompt, and `../me.txt` "
            "looks like a file; put the file into prompts/, and write `prompt: me.txt`",
        ),
        (
            "capabilities: [a]\nprompt: empty.md\n",
            "prompts/empty.md: the prompt is empty",
        ),
        (
            "capabilities: [a]\ninstructions: Hi.\noutput: {schema: answr.json}\n",
            "manifests/me.yaml:3:18: there is no file manifests/answr.json; "
            "did you mean `answer.json`?",
        ),
        (
            "capabilities: [a]\ninstructions: Hi.\noutput: {schema: zzz}\n",
            "manifests/me.yaml:3:18: there is no file manifests/zzz; "
            "put it beside the manifest, as YAML or JSON",
        ),
        (
            "capabilities: [a]\ninstructions: Hi.\noutput: {schema: list.json}\n",
            "manifests/me.yaml:3:18: the file does not hold a JSON Schema; a schema is a mapping",
        ),
        (
            "capabilities: [a]\ninstructions: Hi.\noutput: {schema: {type: text}}\n",
            "manifests/me.yaml:3:10: `output.schema` is not a valid JSON Schema: "
            "'text' is not valid under any of the given schemas (at ['type']); "
            "see https://json-schema.org",
        ),
        (
            "capabilities: [a]\ninstructions: Hi.\ntools: [{python: wether.py:forecast}]\n",
            "manifests/me.yaml:3:10: there is no file tools/wether.py; did you mean `weather.py`?",
        ),
        (
            "capabilities: [a]\ninstructions: Hi.\ntools: [{python: zzz.py:f}]\n",
            "manifests/me.yaml:3:10: there is no file tools/zzz.py; "
            "create the file with this function",
        ),
        (
            "capabilities: [a]\ninstructions: Hi.\ntools: [{python: broken.py:f}]\n",
            "tools/broken.py:1:5: does not compile: invalid syntax",
        ),
    ],
)
def test_a_file_that_is_missing_or_invalid_is_a_problem(
    project: Any, manifest: str, problem: str
) -> None:
    project.put("manifests/me.yaml", manifest)
    project.put("manifests/answer.json", "{}")
    project.put("manifests/list.json", "[]")
    project.put("prompts/empty.md", " \n")
    project.put("tools/weather.py", "def forecast(): ...\n")
    project.put("tools/broken.py", "def (")

    assert project.problems() == [problem]


def test_problems_of_templates_show_their_line_of_the_file(project: Any) -> None:
    project.write(
        manifests__analyst_yaml=VALID + "input: |\n  a\n    {{ contnt }}\n",
        manifests__coder_yaml="capabilities: [t]\ninstructions: 'Hi {{ nme }}'\n",
    )
    project.put("manifests/z.agent.md", "---\ncapabilities: [z]\n---\n\nHi\n{{ nme }}\n")

    literal, quoted, below = project.load().problems

    assert (literal.place, literal.source) == ("manifests/analyst.yaml:4:8", "    {{ contnt }}")
    assert quoted.place == "manifests/coder.yaml:2:22"
    assert quoted.source == "instructions: 'Hi {{ nme }}'"
    assert (below.place, below.source) == ("manifests/z.agent.md:6:4", "{{ nme }}")


def test_a_problem_in_a_folded_template_is_shown_at_its_field(project: Any) -> None:
    project.write(manifests__analyst_yaml=VALID + "input: >\n  One\n  {{ contnt }}\n")

    [problem] = project.load().problems

    assert problem.place == "manifests/analyst.yaml:2:8"


@pytest.mark.parametrize(
    ("used", "hint"),
    [
        ("agent.nam", "did you mean `agent.name`?"),
        ("context.conversation_id", "did you mean `context.conversationId`?"),
        ("message['repyTo']", "did you mean `message.replyTo`?"),
    ],
)
def test_an_unknown_name_in_a_prompt_gets_a_suggestion(project: Any, used: str, hint: str) -> None:
    project.write(manifests__a_yaml=VALID, prompts__a_md=f"Hi.\n{{{{ {used} }}}}\n")

    [problem] = errors(project.load().problems)

    assert problem.line == 2
    assert problem.hint == hint


def test_a_prompt_can_use_any_field_of_content_and_metadata(project: Any) -> None:
    text = "{{ content.any.thing }} {{ context.metadata.tenant }} {{ message.get('x') }}"
    project.write(manifests__a_yaml=VALID, prompts__a_md=text)

    assert not project.load().problems


def test_an_expression_can_only_use_known_names(project: Any) -> None:
    project.write(
        manifests__analyst_yaml="capabilities: [a]\ninstructions: Hi.\nmodel:\n  routes:\n"
        "    - {when: contnt > 1, name: mock/echo}\n    - {when: now, name: mock/echo}\n"
        "    - {name: mock/script, script: turns.yaml}\n",
        manifests__turns_yaml="[Hello.]",
    )

    assert [each.place for each in project.load().problems] == [
        "manifests/analyst.yaml:5:14",
        "manifests/analyst.yaml:6:14",
    ]


def test_a_template_of_a_tool_can_only_use_its_parameters(project: Any) -> None:
    tool = "{command: [ls, '{{ paht }}'], parameters: {properties: {path: {}}}}"
    project.write(manifests__analyst_yaml=VALID + f"tools: [{tool}]\n")

    [problem] = project.load().problems

    assert problem.place == "manifests/analyst.yaml:2:28"
    assert problem.hint == "did you mean `path`?"


def test_a_prompt_can_use_the_texts_of_the_mcp_servers(project: Any) -> None:
    def problems(prompt: str, **server: object) -> list[str]:
        tools = [{"mcp": {"command": ["server"], **server}}] if server else []
        manifest = {"capabilities": ["a"], "instructions": prompt, "tools": tools}
        project.put("manifests/me.yaml", json.dumps(manifest))
        return [f"{each.text}; {each.hint}" for each in project.load().problems]

    declared: dict[str, object] = {
        "resources": {"readme": "file:///a"},
        "prompts": {"review": "b"},
    }
    assert not problems("{{ mcp.readme }}{{ mcp['review'] }}", **declared)
    assert "did you mean `mcp.readme`?" in problems("{{ mcp.reamde }}", **declared)[0]
    assert "the known fields are mcp.readme, mcp.review" in problems("{{ mcp.x }}", **declared)[0]
    assert "unknown name `mcp`" in problems("{{ mcp.readme }}")[0]


def test_the_content_of_a_file_replaces_its_name(project: Any) -> None:
    project.put(
        "manifests/me.yaml",
        "capabilities: [a]\ninstructions: Hi.\n"
        "model: [mock/echo, {name: mock/script, script: turns.yaml}]\n"
        "history: {model: {name: mock/script, script: turns.yaml}}\n"
        "output: {schema: answer.json}\n"
        "tools: [{openapi: pets.yaml}]\n",
    )
    project.put("manifests/turns.yaml", "- Hello.")
    project.put("manifests/answer.json", '{"type": "object"}')
    project.put("manifests/pets.yaml", "openapi: 3.1.0\ninfo: {}\nservers: [{url: 'https://a.b'}]\n"
                "paths: {/: {get: {operationId: look, responses: {}}}}\n")  # fmt: skip

    catalog = project.load()

    assert not errors(catalog.problems)
    manifest = catalog.agents["me"].manifest
    assert [model.script for model in manifest.model] == [None, ["Hello."]]
    assert manifest.history.model.script == ["Hello."]
    assert manifest.output.schema_ == {"type": "object"}
    assert manifest.tools[0].openapi.document["openapi"] == "3.1.0"


def test_an_agent_with_a_python_tool_has_all_files_of_the_folder(project: Any) -> None:
    project.put("tools/weather.py", "import units\ndef forecast(): ...\n")
    project.put("tools/units.py", "C = 1\n")
    project.put("manifests/analyst.yaml", VALID + "tools: [{python: weather.py:forecast}]\n")

    agents = project.load().agents

    assert set(agents["analyst"].tools) == {"weather.py", "units.py"}
    assert agents["coder"].tools == {}


def test_a_revision_depends_on_all_that_makes_the_agent_and_on_nothing_else(project: Any) -> None:
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


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ("[{command: [echo, x], name: notify}]", "did you mean `notify`?"),
        ("[]", "declare it under `tools`"),
        ("[{mcp: {command: [cat]}}]", None),
        ("[{command: [echo, x], name: notfy}]", None),
    ],
)
def test_an_agent_must_have_the_tool_that_it_calls(
    project: Any, tools: str, problem: str | None
) -> None:
    text = f"capabilities: [a]\ntools: {tools}\ncall: {{tool: notfy}}\n"
    found = [
        each for each in project.write(manifests__me_yaml=text).problems() if "me.yaml" in each
    ]
    expected = f"manifests/me.yaml:3:14: there is no tool `notfy`; {problem}"
    assert found == ([expected] if problem else [])


def test_the_expressions_of_a_call_are_checked(project: Any) -> None:
    tools = "[{command: [echo, '{{ x }}'], name: f}]"
    text = f"capabilities: [a]\ntools: {tools}\ncall: {{tool: f, arguments: {{x: [contnt]}}}}\n"
    [found] = [each for each in project.write(manifests__me_yaml=text).problems() if "me.y" in each]
    assert found == "manifests/me.yaml:3:33: unknown name `contnt`; did you mean `content`?"
