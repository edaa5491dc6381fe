"""Images and files: their types, their place in a chat message, and a text for each."""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Mapping
from typing import Any

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
PDF = "application/pdf"

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", PDF),
)
_TEXTS = ("text/", "application/json", "application/xml", "application/yaml", "application/x-")


def media_type(data: bytes, name: str = "") -> str | None:
    """The type of `data` by its first bytes: an image that models take, a PDF, or text; else None.

    The file's `name` only decides between types of text. A name is not trusted beyond that.
    """
    for beginning, known in _BEGINNINGS:
        if data.startswith(beginning):
            return known
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    guessed = mimetypes.guess_type(name)[0] or ""
    return guessed if guessed.startswith(_TEXTS) else "text/plain"


def part(data: bytes, kind: str, name: str) -> dict[str, Any]:
    """An image, a PDF or a text as one part of a chat message, in OpenAI's shape."""
    if kind in IMAGES:
        return {"type": "image_url", "image_url": {"url": _data_url(kind, data)}}
    if kind == PDF:
        return {"type": "file", "file": {"filename": name, "file_data": _data_url(kind, data)}}
    return {"type": "text", "text": f"[{name}]\n{data.decode()}"}


def in_words(content: Any) -> str:
    """The content of a chat message as text; an image or a file becomes `[image/png, 12 kB]`."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(filter(None, map(_part_in_words, content)))
    return "" if content is None else json.dumps(content, ensure_ascii=False)


def size(part: Mapping[str, Any]) -> int:
    """The size in bytes of the image or file in a part; 0 if the part only has its URL."""
    url = _url(part)
    if not url.startswith("data:"):
        return 0
    return (len(url) - url.find(",") - 1) * 3 // 4 - url[-2:].count("=")


def _part_in_words(part: Any) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    if isinstance(text := part.get("text"), str):
        return text
    url = _url(part)
    if not url.startswith("data:"):
        return f"[{url or part.get('type')}]"
    kind = url[len("data:") :].partition(";")[0]
    shown = part["file"].get("filename", kind) if part.get("type") == "file" else kind
    return f"[{shown}, {max(1, round(size(part) / 1000)):,} kB]"


def _url(part: Mapping[str, Any]) -> str:
    for holder, field in (("image_url", "url"), ("file", "file_data")):
        held = part.get(holder)
        if isinstance(held, Mapping):
            return str(held.get(field, ""))
    return ""


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
