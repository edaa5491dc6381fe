"""A delivery to a trigger: its body as data, the names for the expressions, and its id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from agentd.errors import DecodeError
from agentd.protocol.strict_json import MAX_BYTES, parse
from agentd.run.attachments import Attachment

_MOST_FIELDS = 1_000  # of a form or a query
_FORM = "application/x-www-form-urlencoded"
_JSON = re.compile(r"application/(json|[\w.+-]+\+json)")
# A sender without signature may name its deliveries with one of these. Beside a signature they do
# not count: whoever has caught a signed body could send it again under another name.
_ID_HEADERS = ("webhook-id", "idempotency-key")


@dataclass(frozen=True)
class Delivery:
    """A delivery to a trigger.

    Attributes:
        names: what the expressions of the trigger can use.
        id: what tells it from other deliveries, if no expression of the trigger does.
        content: the content of the task, if no expression of the trigger gives one.
        files: what is attached to the task.
    """

    names: Mapping[str, Any]
    id: str
    content: Any
    files: Sequence[Attachment] = ()


def of_request(kind: str, headers: Mapping[str, str], query: bytes, body: bytes) -> Delivery:
    """The delivery in a request over HTTP.

    Args:
        kind: how the request was verified: `github`, `slack`, ..., `none`.
        headers: by their names in lower case.
        query: what follows the `?` of the URL.

    Raises:
        DecodeError: the body is neither JSON nor a form nor text.
    """
    data = readable(body, headers.get("content-type", ""))
    digest = hashlib.sha256(body).hexdigest()
    names = {"headers": headers, "query": _fields(query), "body": data, "digest": digest}
    return Delivery(names, _given_id(kind, headers, data) or digest, data)


def of_message(subject: str, headers: Mapping[str, str], body: bytes, own_id: str) -> Delivery:
    """The delivery in a message on NATS, which `own_id` tells from others.

    Raises:
        DecodeError: the body is neither JSON nor text.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    digest = hashlib.sha256(body).hexdigest()
    data = readable(body)
    names = {"subject": subject, "headers": lower, "body": data, "digest": digest}
    return Delivery(names, own_id, data)


def of_file(file: Attachment, path: str) -> Delivery:
    """The delivery of a new file; its id is its name and its content."""
    part = file.part
    names = {"file": {**part, "path": path, "digest": part["object"]}}
    return Delivery(names, f"{part['name']} {part['object']}", str(part["name"]), (file,))


def readable(body: bytes, content_type: str = "") -> Any:
    """The body as data: JSON, the fields of a form, or text.

    Raises:
        DecodeError: it is none of them, or too large.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _FORM:
        return _form(body)
    if _JSON.fullmatch(kind):
        return parse(body)
    try:
        return parse(body)
    except DecodeError:
        return _text(body)


def _form(body: bytes) -> Any:
    """The fields of a form. GitHub and Slack send JSON as the only field `payload` of a form."""
    fields = _fields(body)
    if fields.keys() == {"payload"} and isinstance(fields["payload"], str):
        return parse(fields["payload"].encode())
    return fields


def _fields(encoded: bytes) -> dict[str, Any]:
    """The fields of a form or a query; one that occurs several times is a list."""
    try:
        pairs = parse_qsl(
            encoded.decode(),
            keep_blank_values=True,
            max_num_fields=_MOST_FIELDS,
            errors="strict",
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise DecodeError(f"not the fields of a form: {error}") from None
    return dict(_grouped(pairs))


def _grouped(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, Any]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return ((name, values[0] if len(values) == 1 else values) for name, values in found.items())


def _text(body: bytes) -> str:
    if len(body) > MAX_BYTES:
        raise DecodeError(f"{len(body):,} bytes are too many; the limit is {MAX_BYTES:,}")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise DecodeError("the body is neither JSON nor text in UTF-8") from None
    if "\0" in text:
        raise DecodeError("the body is neither JSON nor text: it has a zero byte")
    return text


def _given_id(kind: str, headers: Mapping[str, str], body: Any) -> str:
    """The id that the sender gives the delivery; "" if it gives none."""
    fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
    match kind:
        case "github":
            found: Any = headers.get("x-github-delivery")
        case "slack":
            found = fields.get("event_id") or fields.get("trigger_id")
        case "stripe":
            found = fields.get("id")
        case "bearer" | "none":
            found = next((headers[name] for name in _ID_HEADERS if name in headers), None)
        case _:
            found = None
    return found if isinstance(found, str) else ""
