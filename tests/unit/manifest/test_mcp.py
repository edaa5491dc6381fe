"""MCP servers in manifests and prompts, and their answers as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

from agentd.catalog.catalog import load
from agentd.manifest.mcp import McpPrompt, McpResource, McpServer
from agentd.tools.mcp.text import text_of


def problems(folder: Path, *servers: dict[str, Any], prompt: str = "Hi.") -> list[str]:
    """What is wrong with an agent that has these servers."""
    tools = [{"mcp": server} for server in servers]
    manifest = {"capabilities": ["a"], "instructions": prompt, "tools": tools}
    (folder / "me.yaml").write_text(json.dumps(manifest))
    return [f"{p.text}; {p.hint}" if p.hint else p.text for p in load(folder).problems]


def server(**more: Any) -> dict[str, Any]:
    return {"command": ["mcp-server-time"], **more}


def test_texts_have_a_short_and_a_long_form() -> None:
    short = {"resources": {"a": "file:///a"}, "prompts": {"b": "review"}}
    declared = McpServer.model_validate(server(**short))
    assert declared.texts == {
        "a": McpResource(uri="file:///a"),
        "b": McpPrompt(prompt="review"),
    }
    long = {"prompts": {"b": {"prompt": "review", "arguments": {"x": "y"}, "default": "none"}}}
    review = McpServer.model_validate(server(**long)).prompts["b"]
    assert (review.arguments, review.default) == ({"x": "y"}, "none")


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ({}, "needs either `command` or `url`"),
        (server(url="http://x"), "needs either `command` or `url`"),
        ({"url": "ftp://x"}, "`url` must begin with http:// or https://"),
        ({"url": "http://x", "env": {"A": "b"}}, "`env` and `cwd` go with `command`"),
        (server(headers={"A": "b"}), "`headers` go with `url`"),
        (
            server(resources={"a": "x"}, prompts={"a": "y"}),
            "has `a` twice: among `resources` and `prompts`",
        ),
        (
            server(resources={"a-b": "x"}),
            "`a-b` is no name for a template; write letters, digits and _",
        ),
    ],
)
def test_a_server_that_is_none_is_refused(
    tmp_path: Path, declared: dict[str, Any], problem: str
) -> None:
    [told] = problems(tmp_path, declared)
    assert problem in told


def test_two_servers_do_not_give_texts_of_one_name(tmp_path: Path) -> None:
    first = server(resources={"readme": "file:///a"})
    second = server(prompts={"readme": "b"})
    [told] = problems(tmp_path, first, second)
    assert "has two servers that give `mcp.readme`; rename one of them" in told


def test_a_prompt_names_only_what_its_servers_give(tmp_path: Path) -> None:
    declared = server(resources={"readme": "file:///a"}, prompts={"review": "b"})
    assert not problems(tmp_path, declared, prompt="{{ mcp.readme }}{{ mcp['review'] }}")
    assert problems(tmp_path, declared, prompt="{{ mcp.reamde }}") == [
        "there is no 'mcp.reamde' here; did you mean 'mcp.readme'?"
    ]
    assert problems(tmp_path, declared, prompt="{{ mcp.x }}") == [
        "there is no 'mcp.x' here; there is mcp.readme, mcp.review"
    ]
    assert problems(tmp_path, server(), prompt="{{ mcp.readme }}") == [
        "there is no 'mcp' here; it knows agent, content, context, message, now"
    ]


def test_all_but_text_is_told_in_words() -> None:
    blob = BlobResourceContents(uri="file:///a.pdf", mime_type="application/pdf", blob="AAAA")
    parts = [
        TextContent(type="text", text="Look:"),
        ImageContent(type="image", data="A" * 16_000, mime_type="image/png"),
        AudioContent(type="audio", data="AA==", mime_type="audio/wav"),
        EmbeddedResource(type="resource", resource=blob),
        ResourceLink(type="resource_link", name="more", uri="file:///b"),
    ]
    assert text_of(parts).splitlines() == [
        "Look:",
        "[image/png, 12 kB]",
        "[audio/wav, 1 bytes]",
        "[application/pdf, 3 bytes, file:///a.pdf]",
        "[more: file:///b]",
    ]
