"""The files of an agent, as they go on record: all of them, and no secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.catalog.conftest import Project

TOOL = "def look(city: str) -> str:\n    return city\n"


def test_an_agent_has_its_manifest_defaults_prompts_includes_schemas_and_tools(
    project: Project,
) -> None:
    project.put("manifests/_defaults.yaml", "retry: {attempts: 2}\n")
    project.put("manifests/team/_defaults.yaml", "limits: {turns: 3}\n")
    project.put(
        "manifests/team/analyst2.yaml",
        "capabilities: [a]\nprompt: analyst.md\ninput: \"{% include 'ask.md' %}\"\n"
        "output: {schema: answer.json}\ntools: [{python: weather.py:look}]\n",
    )
    project.put("manifests/team/answer.json", json.dumps({"type": "object"}))
    project.put("prompts/ask.md", "{{ content }}")
    project.put("tools/weather.py", TOOL)
    project.put("tools/helper.py", "X = 1\n")
    catalog = project.load()

    assert not catalog.problems
    sources = catalog.agents["analyst2"].sources
    assert sorted(sources) == [
        "manifests/_defaults.yaml",
        "manifests/team/_defaults.yaml",
        "manifests/team/analyst2.yaml",
        "manifests/team/answer.json",
        "prompts/analyst.md",
        "prompts/ask.md",
        "prompts/tone.txt",
        "tools/helper.py",
        "tools/weather.py",
    ]
    assert all(data == (project.root / name).read_bytes() for name, data in sources.items())


def test_what_other_agents_have_is_not_among_them(project: Project) -> None:
    project.put("tools/weather.py", TOOL)

    assert sorted(project.load().agents["coder"].sources) == [
        "manifests/coder.yaml",
        "prompts/team/coder.md",
    ]


def test_a_variable_is_not_filled_in(project: Project) -> None:
    project.put(
        "manifests/coder.yaml",
        "capabilities: [c]\nprompt: team/coder.md\n"
        "model: {name: openai/x, api_key: '${KEY}', api_base: '${BASE:-http://localhost}'}\n",
    )
    sources = project.load(KEY="very-secret-1", BASE="https://x:pw@host").agents["coder"].sources

    assert b"${KEY}" in sources["manifests/coder.yaml"]
    assert b"very-secret-1" not in b"".join(sources.values())
    assert b"pw@host" not in b"".join(sources.values())


@pytest.mark.parametrize(
    "secret", ["very-secret-1", "'very-secret-1'", "${KEY:-very-secret-1}", "|\n    very-secret-1"]
)
def test_a_secret_in_a_manifest_is_masked(project: Project, secret: str) -> None:
    project.put("manifests/_defaults.yaml", f"model:\n  name: openai/x\n  api_key: {secret}\n")
    sources = project.load().agents["coder"].sources

    defaults = sources["manifests/_defaults.yaml"].decode()
    assert "very-secret-1" not in defaults
    assert "***" in defaults
    assert "openai/x" in defaults


def test_a_credential_in_a_header_is_masked_and_its_template_stays(project: Project) -> None:
    project.put(
        "manifests/coder.yaml",
        "capabilities: [c]\nprompt: team/coder.md\n"
        "tools:\n  - name: look\n    description: Looks.\n    http:\n"
        "      url: https://example.org/{{ city }}\n"
        "      headers: {Authorization: Bearer abcdef-123456, X-Api-Key: k-98765$$4}\n",
    )
    catalog = project.load()

    assert not catalog.problems
    text = catalog.agents["coder"].sources["manifests/coder.yaml"].decode()
    assert "abcdef-123456" not in text
    assert "k-98765" not in text
    assert "{{ city }}" in text
