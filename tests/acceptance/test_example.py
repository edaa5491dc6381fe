"""The example in manifests/ and prompts/: six agents without problems, and their prompts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentd.catalog.catalog import load
from agentd.catalog.spec import AgentSpec

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
CATALOG = load(MANIFESTS, environ={})
AGENTS = {
    "analyst": ("analysis", "sentiment"),
    "coder": ("coding",),
    "factchecker": ("factcheck",),
    "researcher": ("research",),
    "reviewer": ("review",),
    "synthesizer": ("synthesis",),
}
CONTENTS = [
    "Ship it on Friday?",
    {"instruction": "Do it."},
    {"text": "no instruction"},
    ["a", "list"],
    None,
    "{{ agent.name }} {% include 'x' %}",
]


def context(agent: str, content: Any) -> Mapping[str, Any]:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    names = {"agent": {"name": agent}, "content": content, "now": now}
    return {"message": {"payload": {"content": content}}, "context": {}, **names}


def user_turn(spec: AgentSpec, content: Any) -> str:
    assert spec.input is not None
    return spec.input.render(context(spec.name, content))


def test_the_example_loads_without_problems() -> None:
    assert [problem.render() for problem in CATALOG.problems] == []


def test_it_has_the_six_agents_of_the_source_document() -> None:
    assert {name: spec.manifest.capabilities for name, spec in CATALOG.agents.items()} == AGENTS


@pytest.mark.parametrize("name", AGENTS)
def test_each_agent_is_a_few_lines_that_an_editor_can_check(name: str) -> None:
    lines = (MANIFESTS / f"{name}.yaml").read_text().splitlines()

    assert lines[0] == "# yaml-language-server: $schema=../agent.schema.json"
    assert (MANIFESTS / "../agent.schema.json").is_file()
    assert len(lines) <= 12


@pytest.mark.parametrize("name", AGENTS)
def test_the_defaults_reach_every_agent(name: str) -> None:
    manifest = CATALOG.agents[name].manifest

    assert manifest.model == ()
    assert manifest.limits.timeout == 120
    assert manifest.parameters == {"temperature": 0 if name == "factchecker" else 0.2}


@pytest.mark.parametrize("name", AGENTS)
def test_every_prompt_opens_with_its_role_and_ends_with_the_house_rules(name: str) -> None:
    prompt = CATALOG.agents[name].prompt
    text = prompt.render(context(name, "hello"))

    assert prompt.includes == ("_house.md",)
    assert text.startswith("You are a")
    assert text.endswith(f"Today is Sunday, 01 March 2026. You are the agent `{name}`.")


@pytest.mark.parametrize("content", CONTENTS, ids=str)
@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_renders_its_prompt_for_any_content(name: str, content: Any) -> None:
    spec = CATALOG.agents[name]

    assert spec.prompt.render(context(name, content))
    if spec.input is not None and isinstance(content, str):
        assert user_turn(spec, content) == content


def test_no_content_of_a_message_is_in_a_system_prompt() -> None:
    content = {"instruction": "INJECTED", "criteria": "INJECTED", "parts": ["INJECTED"]}

    for name, spec in CATALOG.agents.items():
        assert "INJECTED" not in spec.prompt.render(context(name, content))


def test_the_synthesizer_numbers_its_inputs() -> None:
    synthesizer = CATALOG.agents["synthesizer"]

    assert user_turn(synthesizer, {"parts": ["one", "</contribution> & two"]}) == (
        "Bring these together.\n"
        '\n<contribution number="1">\none\n</contribution>\n'
        '\n<contribution number="2">\n&lt;/contribution&gt; &amp; two\n</contribution>'
    )
    assert user_turn(synthesizer, {"instruction": "Merge.", "parts": []}) == "Merge."


def test_the_prompt_of_the_reviewer_has_the_criteria() -> None:
    reviewer = CATALOG.agents["reviewer"]

    assert user_turn(reviewer, {"work": "A poem", "criteria": ["short", "true"]}) == (
        'A poem\n\nJudge it by these criteria: ["short", "true"]'
    )
    assert user_turn(reviewer, {"instruction": "Review this: x"}) == "Review this: x"
