"""What an MCP server offers: names that differ, schemas that are valid, and not too many."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.manifest.json_schema.check import MOST_STEPS
from agentd.tools.mcp import offers as offers_module
from agentd.tools.mcp.offers import MOST_TOOLS, Described, offers

OBJECT = {"type": "object"}


def described(name: str, **fields: Any) -> Described:
    values: Any = {"description": "Does it.", "parameters": OBJECT, "again": False, **fields}
    return Described(name=name, **values)


def test_names_that_are_equal_after_cutting_stay_apart() -> None:
    names = ["files.read", "files/read", "x" * 64 + "_read", "x" * 64 + "_write", "plain"]
    found = offers([described(name) for name in names]).tools

    assert [each.tool.name for each in found] == names
    assert found[0].name == "files_read"
    assert found[4].name == "plain"
    assert len({each.name for each in found}) == 5
    assert max(len(each.name) for each in found) == 64


def test_a_name_does_not_depend_on_the_tools_beside_it() -> None:
    long = "x" * 64 + "_read"
    [alone] = offers([described(long)]).tools
    assert alone.name in {each.name for each in offers([described("a"), described(long)]).tools}


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"type": 7}, "its schema is not valid: 7 is not"),
        ({"type": "string"}, "it does not describe an object"),
        ({"properties": {"a": {"pattern": "("}}}, "its schema is not valid: '(' is not a 'regex'"),
        ({"properties": {str(n): OBJECT for n in range(20_000)}}, "more than 200,000 characters"),
    ],
)
def test_a_tool_with_a_bad_schema_is_left_out(parameters: dict[str, Any], problem: str) -> None:
    found = offers([described("good"), described("bad", parameters=parameters)])
    assert [each.name for each in found.tools] == ["good"]
    [text] = found.left_out
    assert text.startswith("bad is left out")
    assert problem in text


def test_all_schemas_of_a_server_share_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 schemas that each take their time would take a quarter of an hour."""
    monkeypatch.setattr(offers_module, "MOST_STEPS", MOST_STEPS // 20)
    costly = {"properties": {str(n): {"enum": list(range(50))} for n in range(25)}}
    tools = [described(f"t{n}", parameters={**costly, "title": f"{n}"}) for n in range(60)]

    found = offers([*tools, described("last")])

    assert 1 <= len(found.tools) < 60
    assert "too complex" in found.left_out[-1]


def test_only_so_many_tools_are_used() -> None:
    found = offers([described(f"t{number}") for number in range(MOST_TOOLS + 1)])
    assert len(found.tools) == MOST_TOOLS
    assert found.left_out == ("has more than 500 tools; only the first 500 are used",)


def test_a_schema_of_an_older_draft_is_converted() -> None:
    old = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": {"ttl": {"minimum": 0, "exclusiveMinimum": True}},
    }
    [tool] = offers([described("old", parameters=old)]).tools
    assert tool.tool.parameters == {
        "type": "object",
        "properties": {"ttl": {"exclusiveMinimum": 0}},
    }


def test_a_long_description_is_cut() -> None:
    [tool] = offers([described("a", description="x" * 9_000)]).tools
    assert len(tool.tool.description) == 8_000
