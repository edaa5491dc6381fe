"""The reference says what the model says, and its examples are manifests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentd.manifest.agent import Manifest
from agentd.manifest.file import read_defaults, read_manifest
from agentd.manifest.reference import flow_style, page_text
from agentd.manifest.yaml.nodes import plain
from agentd.manifest.yaml.reader import read
from agentd.problems import errors

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/manifest.md").read_text()
FENCES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
ENVIRON = {"LLM_URL": "http://127.0.0.1:1/v1"}


def test_the_committed_reference_is_current() -> None:
    assert page_text(PAGE) == PAGE, "python -m agentd.manifest.reference"
    with pytest.raises(ValueError, match="fields"):
        page_text("no marks")


def test_every_field_has_its_section_and_example() -> None:
    for name in Manifest.model_fields:
        assert f"\n### {name}\n" in PAGE
        assert f"\n```yaml\n{name}: " in PAGE


@pytest.mark.parametrize("fence", FENCES)
def test_every_yaml_in_the_reference_loads(fence: str) -> None:
    whole = fence if "capabilities:" in fence else f"capabilities: [a]\n{fence}"
    made = read_manifest(whole.encode(), "doc.yaml", stem="doc", defaults=(), environ=ENVIRON)
    assert not errors(made.problems)
    if "_defaults.yaml" in fence:
        assert not read_defaults(fence.encode(), "_defaults.yaml").problems


def test_the_single_file_agent_in_the_reference_loads() -> None:
    (text,) = re.findall(r"```markdown\n(.*?)```", PAGE, re.DOTALL)
    made = read_manifest(text.encode(), "r.agent.md", stem="r", defaults=(), environ={})

    assert made.manifest
    assert made.body
    assert made.body.text.startswith("You review")


def test_the_error_in_the_reference_is_the_one_you_see() -> None:
    source = b"description: x\ncapabilities: [a]\npromt: analyst.md\n"
    made = read_manifest(source, "manifests/analyst.yaml", stem="a", defaults=(), environ={})

    assert made.problems[0].render() in PAGE


@pytest.mark.parametrize(
    "value", ["plain", "yes", "5", "a: b", "{{ x }}", "", [1, "a"], {"k": [True, None, 0.5]}]
)
def test_values_on_one_line_are_read_back(value: object) -> None:
    root = read(f"a: {flow_style(value)}", "f").root
    assert root
    assert plain(root) == {"a": value}
