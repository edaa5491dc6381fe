"""The answers of an MCP server as text for a model."""

from __future__ import annotations

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

from agentd.tools.mcp.text import both, text_of


def test_content_that_is_not_text_is_described_in_brackets() -> None:
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


@pytest.mark.parametrize(
    ("text", "data", "answer"),
    [
        ("done", None, "done"),
        ("done", {"id": 4711}, 'done\n{"id": 4711}'),
        ("", {"id": 4711}, {"id": 4711}),
        ("", None, ""),
        ('{\n  "id": 4711\n}', {"id": 4711}, '{\n  "id": 4711\n}'),
        ("Bonn", {"result": "Bonn"}, "Bonn"),
        ("3", {"result": 3}, "3"),
        ("Bonn\nOslo", {"result": ["Bonn", "Oslo"]}, "Bonn\nOslo"),
        ("Bonn", {"result": "Oslo"}, 'Bonn\n{"result": "Oslo"}'),
        ("[" * 100_000, {}, "[" * 100_000 + "\n{}"),
    ],
)
def test_structured_content_stands_beside_the_text_unless_it_is_the_text(
    text: str, data: Any, answer: Any
) -> None:
    assert both(text, data) == answer
