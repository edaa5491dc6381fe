"""The tools and texts that an agent takes from an MCP server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentd.errors import TaskError
from agentd.manifest.tools import ToolEntry
from agentd.tools.mcp.offers import Described, offers
from agentd.tools.mcp_tool import McpSource
from agentd.tools.port import ToolError

OBJECT = {"type": "object"}


class FakeConnection:
    """Stands in for `McpConnection`."""

    name, trouble = "server", ""

    def __init__(self, *tools: Described) -> None:
        self.offer(*tools)
        self.settled = asyncio.Event()
        self.settled.set()
        self.texts: dict[str, str] = {}

    def offer(self, *tools: Described) -> None:
        self.offers = offers(tools)

    async def text(self, wanted: Any) -> str:
        if wanted.uri not in self.texts:
            raise ToolError("no such resource")
        return self.texts[wanted.uri]


def described(name: str, **fields: Any) -> Described:
    values: Any = {"description": "Does it.", "parameters": OBJECT, "again": False, **fields}
    return Described(name=name, **values)


def source(connection: Any, **entry: Any) -> McpSource:
    mcp = {"command": ["server"], **entry.pop("mcp", {})}
    return McpSource(connection, ToolEntry.model_validate({"mcp": mcp, **entry}), "one")


def test_a_tool_that_cannot_be_used_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tools = [described("good", again=True), described("bad", parameters={"type": 7})]

    [tool] = source(FakeConnection(*tools)).tools
    assert (tool.name, tool.takes_key) == ("good", True)
    assert "bad is left out, its schema is not valid" in caplog.text


def test_a_name_that_the_server_does_not_have_is_a_warning_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection = FakeConnection(described("echo"))
    found = source(connection, allow=["ecko"])
    for _ in range(3):
        assert found.tools
        connection.offer(described("echo", description="another"))

    assert caplog.text.count("has no tool `ecko`; did you mean `echo`?") == 1


def test_tools_are_made_again_only_when_others_are_offered() -> None:
    connection = FakeConnection(described("echo"))
    found = source(connection)
    before = found.tools
    assert found.tools is before
    connection.offer(described("other"))
    assert [tool.name for tool in found.tools] == ["other"]


async def test_texts_are_read_or_replaced_by_their_defaults() -> None:
    connection = FakeConnection()
    connection.texts["file:///a"] = "A"
    wanted = {"a": "file:///a", "b": {"uri": "file:///b", "default": "none"}}

    assert await source(connection, mcp={"resources": wanted}).prepare() == {"a": "A", "b": "none"}


async def test_a_text_without_a_default_fails_the_task() -> None:
    found = source(FakeConnection(), mcp={"resources": {"b": "file:///b"}})

    with pytest.raises(TaskError, match=r"mcp\.b: no such resource") as caught:
        await found.prepare()
    assert caught.value.retryable
    assert caught.value.code == "mcp"


async def test_a_server_that_is_not_tried_yet_is_waited_for_only_so_long() -> None:
    connection = FakeConnection()
    connection.settled.clear()

    assert await source(connection, timeout="10ms").prepare() == {}
