"""The content that an MCP server sends, as text: an image becomes its type and size."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

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


def both(text: str, data: Any) -> Any:
    """The text and the structured content of an answer, without saying the same twice.

    The specification asks servers to repeat the content as text. Not all do: some say "done", and
    put the answer only into the structured content.
    """
    if data is None or _says(text, data):
        return text
    return f"{text}\n{json.dumps(data, ensure_ascii=False)}" if text else data


def _says(text: str, data: Any) -> bool:
    """Whether the text is the structured content."""
    values = [data]
    if isinstance(data, dict) and data.keys() == {"result"}:
        values.append(data["result"])  # the library for Python wraps whatever is no object
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = text
    parts = [
        "\n".join(each if isinstance(each, str) else json.dumps(each) for each in value)
        for value in values
        if isinstance(value, list) and value
    ]
    return given in values or text in values or text in parts


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
