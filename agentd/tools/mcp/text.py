"""The content that an MCP server sends, as text: an image becomes its type and size."""

from __future__ import annotations

from collections.abc import Iterable

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)


def text_of(parts: Iterable[ContentBlock]) -> str:
    """The parts of an answer or of a prompt: text as it is, anything else described."""
    return "\n".join(map(_part, parts))


def resource_text(contents: Iterable[TextResourceContents | BlobResourceContents]) -> str:
    """The contents of a resource: text as it is, anything else described."""
    return "\n".join(map(_content, contents))


def _part(part: ContentBlock) -> str:
    match part:
        case TextContent():
            return part.text
        case ImageContent() | AudioContent():
            return f"[{part.mime_type}, {_size(part.data)}]"
        case ResourceLink():
            return f"[{part.name}: {part.uri}]"
        case EmbeddedResource():
            return _content(part.resource)


def _content(content: TextResourceContents | BlobResourceContents) -> str:
    if isinstance(content, TextResourceContents):
        return content.text
    return f"[{content.mime_type or 'bytes'}, {_size(content.blob)}, {content.uri}]"


def _size(base64: str) -> str:
    size = len(base64) * 3 // 4 - base64[-2:].count("=")
    return f"{size} bytes" if size < 1000 else f"{size / 1000:,.0f} kB"
