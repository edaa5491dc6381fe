"""The contents of turns: texts, images and files, from OpenAI's form to ours.

Both of OpenAI's interfaces are read into the chat form, in which a history has them. The content of
a task has its images and files as `parts`.
"""

from __future__ import annotations

import re
from typing import Any

from agentd.doors.openai.errors import BadRequest
from agentd.doors.openai.fields import Object, items, obj, text
from agentd.protocol import media

_TEXTS = ("text", "input_text", "output_text", "summary_text")
_DATA_URL = re.compile(r"data:(?P<kind>[\w.+/-]*)(?:;[\w=.+-]*)*;base64,(?P<data>.*)", re.S)

Parts = list[dict[str, Any]]


def chat_content(content: Any, param: str) -> str | Parts:
    """A content in the chat form: text if nothing else is in it.

    Raises:
        BadRequest: it has a part that no agent takes.
    """
    if content is None or isinstance(content, str):
        return content or ""
    listed = items(content, param)
    parts = [_part(obj(each, f"{param}[{i}]"), f"{param}[{i}]") for i, each in enumerate(listed)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def task_content(content: str | Parts) -> Any:
    """A content in the chat form as that of a task."""
    if isinstance(content, str):
        return content
    instruction = "\n".join(part["text"] for part in content if part["type"] == "text")
    parts = [_attachment(part) for part in content if part["type"] != "text"]
    return {"instruction": instruction, "parts": parts} if instruction else {"parts": parts}


def _part(part: Object, param: str) -> dict[str, Any]:
    match part.get("type"):
        case kind if kind in _TEXTS:
            return {"type": "text", "text": text(part.get("text"), f"{param}.text")}
        case "refusal":
            return {"type": "text", "text": text(part.get("refusal"), f"{param}.refusal")}
        case "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            return _image(url, f"{param}.image_url.url")
        case "input_image":
            return _image(part.get("image_url"), f"{param}.image_url")
        case "file":
            return _file(obj(part.get("file"), f"{param}.file"), f"{param}.file")
        case "input_file":
            return _file(part, param)
        case kind:
            raise BadRequest(
                f"{param}.type", f"is {str(kind)[:100]!r}: agents take texts, images and files"
            )


def _image(url: Any, param: str) -> dict[str, Any]:
    if url is None:
        raise BadRequest(
            param, "is required: agentd stores no files for clients, so send the image"
        )
    return {"type": "image_url", "image_url": {"url": text(url, param)}}


def _file(file: Object, param: str) -> dict[str, Any]:
    if file.get("file_data") is None:
        problem = "is required: agentd stores no files for clients, so send the file as a data URL"
        raise BadRequest(f"{param}.file_data", problem)
    data = text(file["file_data"], f"{param}.file_data")
    if not _DATA_URL.fullmatch(data):
        data = f"data:{media.PDF};base64,{data}"
    name = str(file.get("filename") or "file")
    return {"type": "file", "file": {"filename": name, "file_data": data}}


def _attachment(part: Object) -> dict[str, Any]:
    """An image or a file as a part of a task."""
    is_file = part["type"] == "file"
    url = part["file"]["file_data"] if is_file else part["image_url"]["url"]
    found = _DATA_URL.fullmatch(url)
    source = {"data": found["data"]} if found else {"url": url}
    if is_file:
        return {"type": "file", **source, "name": part["file"]["filename"]}
    return {"type": "image", **source}
