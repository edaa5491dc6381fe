"""Images and files in a task: checked, fetched, and passed to the model in its provider's format.

A task has them in `payload.content.parts`; `docs/protocol.md` describes the format.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import ipaddress
import json
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from agentd.errors import TaskError, UsageError
from agentd.nats import objects
from agentd.nats.bus import Bus
from agentd.protocol import media
from agentd.protocol.message import AgentMessage

MOST_PARTS = 32
LARGEST = 20_000_000  # bytes, of all images and files of a task together

_SOURCES = ("url", "data", "object")
_LONGEST_NAME = 255
_UNSUPPORTED = (
    f"is neither an image that models take ({', '.join(kind[6:] for kind in media.IMAGES)}) nor a "
    "PDF, nor text in UTF-8"
)
_is_digest = re.compile(r"sha256:[0-9a-f]{64}").fullmatch


async def contents(bus: Bus, content: Any) -> list[dict[str, Any]]:
    """The parts of a task's content, in OpenAI's chat shape.

    Raises:
        TaskError: a part is malformed (`bad_part`), has a type that no model takes
            (`unsupported_part`), or refers to an object that does not exist (`object_missing`).
        BusError: the object store does not answer.
    """
    listed, place = _parts(content), "payload.content.parts"
    if len(listed) > MOST_PARTS:
        raise _bad(place, f"must be a list of at most {MOST_PARTS} parts")
    reader = _AttachmentReader(bus)
    return [await reader.part(each, f"{place}[{i}]") for i, each in enumerate(listed)]


async def with_files(bus: Bus, message: AgentMessage) -> AgentMessage:
    """The message with the images and files in its history as a model is sent them.

    What the store no longer has, and what exceeds the limit, becomes a note: a conversation does
    not end because of a file in its past. The newest are fetched first.

    Raises:
        TaskError: a part is malformed (`bad_part`), or has a type that no model takes.
        BusError: the object store does not answer.
    """
    reader, turns = _AttachmentReader(bus), list(message.context.history)
    for index, turn in reversed(list(enumerate(turns))):
        if isinstance(turn.content, list) and any(map(_is_ours, turn.content)):
            place = f"context.history[{index}].content"
            parts = [await _shown(reader, each, place) for each in turn.content]
            turns[index] = turn.model_copy(update={"content": parts})
    context = message.context.model_copy(update={"history": tuple(turns)})
    return message.model_copy(update={"context": context})


async def _shown(reader: _AttachmentReader, part: Any, place: str) -> Any:
    if not _is_ours(part):
        return part
    try:
        return await reader.part(part, place)
    except TaskError as error:
        if error.code not in ("object_missing", "object_too_large"):
            raise
        return {"type": "text", "text": f"[{part.get('name') or part['type']}: no longer shown]"}


def _is_ours(part: Any) -> bool:
    """Whether a part has the format of `parts`, and not that of OpenAI's chat."""
    return isinstance(part, dict) and part.get("type") in ("image", "file") and "file" not in part


def has_images(content: Any) -> bool:
    """Whether a task's content declares an image among its parts."""
    return any(isinstance(each, dict) and each.get("type") == "image" for each in _parts(content))


def without(content: Any) -> Any:
    """A task's content without its parts; None if it has nothing else."""
    if not _parts(content):
        return content
    content = cast("dict[str, Any]", content)
    return {name: value for name, value in content.items() if name != "parts"} or None


def _parts(content: Any) -> list[Any]:
    """The parts of a content. A field `parts` whose items have no `type` is the sender's own data,
    for example a list of texts."""
    listed: Any = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        return []
    members = cast("list[Any]", listed)
    return members if any(isinstance(each, dict) and "type" in each for each in members) else []


def with_parts(content: Any, parts: Sequence[Mapping[str, Any]]) -> Any:
    """A task's content with more parts added; a text becomes its `instruction`.

    Raises:
        UsageError: the content is neither a text nor an object, so parts cannot be added.
    """
    if not parts:
        return content
    if isinstance(content, str):
        content = {"instruction": content}
    if not isinstance(content, dict) or not isinstance(content.setdefault("parts", []), list):
        raise UsageError("a file can be sent with a text, or with an object as `payload.content`")
    return {**content, "parts": [*content["parts"], *parts]}


def checked(content: Any, place: str) -> Any:
    """The content of an earlier turn that a sender attached: text, or text and images in OpenAI's
    chat shape. Any other JSON becomes text.

    Raises:
        TaskError: a part is neither a text nor an image (`bad_part`).
    """
    if not isinstance(content, list):
        return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return [_chat_part(each, f"{place}[{i}]") for i, each in enumerate(cast("list[Any]", content))]


@dataclass(frozen=True)
class Attachment:
    """A file to be sent: the part that refers to it, and its bytes."""

    part: Mapping[str, Any]
    data: bytes


def attachments(files: Sequence[Path]) -> list[Attachment]:
    """The files to be sent with one task.

    Raises:
        UsageError: a file cannot be read, has a type that no model takes, or all are too large.
    """
    size = 0
    for file in files:
        with _readable(file):
            size += file.stat().st_size
        if size > LARGEST:
            so_far = f"{file} has" if file == files[0] else f"with {file} these are"
            most = f"{LARGEST / 1e6:g} MB"
            raise UsageError(f"{so_far} {size / 1e6:,.1f} MB; a task takes {most} of files")
    return [_attachment(file) for file in files]


async def upload(bus: Bus, files: Iterable[Attachment]) -> None:
    """Puts the files into the object store, in chunks, unless they are there already.

    Raises:
        BusError: the object store did not take a file.
    """
    for each in files:
        await objects.put(bus, each.data)


@contextlib.contextmanager
def _readable(file: Path) -> Generator[None]:
    """Reports a file that cannot be read, with the reason of the operating system."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _attachment(file: Path) -> Attachment:
    with _readable(file):
        data = file.read_bytes()
    return attachment(data, file.name, str(file))


def attachment(data: bytes, name: str, place: str) -> Attachment:
    """A file of this name, to be sent; `place` names it in the error.

    Raises:
        UsageError: it has a type that no model takes.
    """
    kind = media.media_type(data, name)
    if kind is None:
        raise UsageError(f"{place} {_UNSUPPORTED}")
    part = {
        "type": "image" if kind in media.IMAGES else "file",
        "object": objects.digest_of(data),
        "mediaType": kind,
        "name": name[:_LONGEST_NAME],
        "size": len(data),
    }
    return Attachment(part, data)


class _AttachmentReader:
    """Reads the parts of one task, which may have `LARGEST` bytes together."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._left = LARGEST

    async def part(self, part: Any, place: str) -> dict[str, Any]:
        if not isinstance(part, dict):
            raise _bad(place, "must be an object with a `type`")
        part = cast("dict[str, Any]", part)
        kind = part.get("type")
        if kind == "text":
            return {"type": "text", "text": _text(part, "text", place)}
        if kind not in ("image", "file"):
            raise _bad(place, "must have a `type`: text, image or file")
        given = [source for source in _SOURCES if part.get(source) is not None]
        if len(given) != 1:
            raise _bad(place, "must have one of `url`, `data` and `object`")
        value = _text(part, given[0], place)
        if given == ["url"]:
            if kind == "file":
                raise _bad(place, "is a file with a `url`; send it as `data` or as an `object`")
            return {"type": "image_url", "image_url": {"url": _https(value, place)}}
        data = await self._bytes(given[0], value, place)
        return _as_part(data, kind, _name(part, kind, place), place)

    async def _bytes(self, source: str, value: str, place: str) -> bytes:
        if source == "data":
            data = _decoded(value, place)
        elif _is_digest(value):
            data = await objects.fetch(self._bus, value, most=self._left)
        else:
            raise _bad(place, "has an `object` that is not a digest: `sha256:` and 64 hex digits")
        self._left -= len(data)
        if self._left < 0:
            raise _bad(
                place, f"is too large: the parts of a task may have {LARGEST:,} bytes together"
            )
        return data


def _as_part(data: bytes, kind: str, name: str, place: str) -> dict[str, Any]:
    found = media.media_type(data, name)
    if found is None or (kind == "image" and found not in media.IMAGES):
        raise TaskError(f"{place} {_UNSUPPORTED}", code="unsupported_part")
    return media.part(data, found, name)


def _decoded(value: str, place: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad(place, f"has `data` that is not base64: {error}") from None


def _name(part: Mapping[str, Any], kind: str, place: str) -> str:
    """The file's name, for the prompt and for the provider."""
    if part.get("name") is None:
        return kind
    name = _text(part, "name", place)
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise _bad(
            place, f"has a `name` that is not one line of at most {_LONGEST_NAME} characters"
        )
    return name


def _text(part: Mapping[str, Any], field: str, place: str) -> str:
    value = part.get(field)
    if not isinstance(value, str) or not value:
        raise _bad(place, f"must have a `{field}` that is text")
    return value


def _https(url: str, place: str) -> str:
    # The provider fetches the URL. A self-hosted model server can reach private addresses, and a
    # sender must not make it fetch from them.
    if not _is_public(url):
        raise _bad(place, "has a `url` that is not a public https:// address")
    return url


def _is_public(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname or ""
    if parts.scheme != "https" or not url.isprintable() or " " in url:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host  # a host name


def _chat_part(part: Any, place: str) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            allowed = url.startswith(tuple(f"data:{kind};base64," for kind in media.IMAGES))
            return {
                "type": "image_url",
                "image_url": {"url": url if allowed else _https(url, place)},
            }
        case {"type": "file", "file": {"filename": str(name), "file_data": str(url)}} if (
            url.startswith(f"data:{media.PDF};base64,")
        ):
            return {"type": "file", "file": {"filename": name, "file_data": url}}
        case _:
            raise _bad(place, "must be a text, an image_url or a PDF")


def _bad(place: str, problem: str) -> TaskError:
    return TaskError(f"{place} {problem}", code="bad_part")
