"""The arguments of `call` are compared with the tool before anything is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.catalog.catalog import load
from agentd.problems import errors
from agentd.tools.open import for_checks

MANIFEST = """capabilities: [a]
tools: [{command: [echo, "{{ text }}", "{{ to }}"], name: notify}]
call: {tool: notify, arguments: ARGUMENTS}
"""


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ("{text: content, to: \"'eve'\"}", []),
        ("content", []),
        ("{to: content}", ["3:1 `arguments` lacks `text`, which notify needs"]),
        (
            "{text: content, to: content, txt: content}",
            ["3:67 notify has no argument `txt`"],
        ),
    ],
)
async def test_what_is_missing_or_unknown_is_reported(
    tmp_path: Path, arguments: str, problems: list[str]
) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/me.yaml").write_text(MANIFEST.replace("ARGUMENTS", arguments))
    catalog = load(tmp_path / "manifests")
    assert not errors(catalog.problems), catalog.problems
    tools = for_checks()
    found = await tools.check(catalog.agents["me"])
    await tools.close()
    assert [f"{each.line}:{each.column} {each.text}" for each in found] == problems


async def test_the_tools_of_a_server_are_not_known_before_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    text = "capabilities: [a]\ntools: [{mcp: {command: [cat]}}]\ncall: {tool: x, arguments: {}}\n"
    (tmp_path / "manifests/me.yaml").write_text(text)
    tools = for_checks()
    assert await tools.check(load(tmp_path / "manifests").agents["me"]) == []
    await tools.close()
