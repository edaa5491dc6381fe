"""The answers of an MCP server as text for a model."""

from __future__ import annotations

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

from agentd.tools.mcp.text import text_of


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
