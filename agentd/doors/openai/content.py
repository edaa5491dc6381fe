"""The contents of turns: texts, images and files, from OpenAI's form to that of `parts`."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any, cast

from agentd.doors.openai.errors import BadRequest
from agentd.doors.openai.fields import Object, items, obj, text
from agentd.nats import objects
from agentd.nats.bus import Bus

_TEXTS = ("text", "input_text", "output_text", "summary_text")
_LARGE = 16 * 1024  # characters of base64
_DATA_URL = re.compile(r"data:(?P<kind>[\w.+/-]*)(?:;[\w=.+-]*)*;base64,(?P<data>.*)", re.S)

Parts = list[dict[str, Any]]


def parts_of(content: Any, param: str) -> str | Parts:
    """A content as parts; as text if nothing else is in it.

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
    """The content of a task for what a user says: the texts are its instruction."""
    if isinstance(content, str):
        return content
    instruction = "\n".join(part["text"] for part in content if part["type"] == "text")
    parts = [part for part in content if part["type"] != "text"]
    return {"instruction": instruction, "parts": parts} if instruction else {"parts": parts}


def said_in(content: Any) -> Any:
    """What a user has said, from the content of a task: the opposite of `task_content`."""
    match content:
        case str(text):
            return text
        case {"parts": [*parts]}:
            said = content.get("instruction")
            return [*([{"type": "text", "text": said}] if said else []), *parts]
        case _:
            return json.dumps(content, ensure_ascii=False)


async def with_objects(bus: Bus, content: Any) -> Any:
    """The content with large images and files in the object store: a client sends those of a whole
    conversation again with every question, and a message has a limit.

    Raises:
        BusError: the store did not take one.
    """
    if not isinstance(content, list):
        return content
    return [await _with_object(bus, part) for part in cast("Parts", content)]


async def _with_object(bus: Bus, part: dict[str, Any]) -> dict[str, Any]:
    encoded = part.get("data", "")
    if len(encoded) < _LARGE:
        return part
    try:
        data = await asyncio.to_thread(base64.b64decode, encoded, validate=True)
    except ValueError:
        return part  # the agent says what is wrong with it
    kept = {name: value for name, value in part.items() if name != "data"}
    return {**kept, "object": await objects.put(bus, data)}


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
    found = _DATA_URL.fullmatch(text(url, param))
    return {"type": "image", **({"data": found["data"]} if found else {"url": url})}


def _file(file: Object, param: str) -> dict[str, Any]:
    if file.get("file_data") is None:
        problem = "is required: agentd stores no files for clients, so send the file as a data URL"
        raise BadRequest(f"{param}.file_data", problem)
    data = text(file["file_data"], f"{param}.file_data")
    found = _DATA_URL.fullmatch(data)
    name = str(file.get("filename") or "file")
    return {"type": "file", "data": found["data"] if found else data, "name": name}
