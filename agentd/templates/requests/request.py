"""An HTTP request made from a call's arguments, which can change values in it and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from agentd.errors import AgentdError
from agentd.templates.filters import as_text
from agentd.templates.text import TextTemplate

MAX_BODY = 1_000_000  # bytes
MAX_URL = 16_000  # characters
FORM = "application/x-www-form-urlencoded"

ORIGIN = re.compile(r"https?://[^/?#\\\s@{}]+", re.IGNORECASE)
# Of a URL's literal parts: what may stand there, and what is encoded already.
_WRITTEN = "/:@!$&'()*+,;=-._~%?[]"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# The client sets these; who could set them would change whom the request is for, or its length.
_NOT_OURS = """
    connection content-encoding content-length expect host keep-alive proxy-authorization
    proxy-connection te trailer transfer-encoding upgrade
"""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")


class BadRequest(AgentdError):
    """These arguments make no request; the text is for the model that chose them."""


@dataclass(frozen=True)
class HttpRequest:
    """What is sent. `url` is absolute and encoded; header names are as written."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Address:
    """A URL whose path and query take values."""

    origin: str
    path: tuple[TextTemplate, ...]
    query: tuple[TextTemplate, ...]

    def url(self, context: Mapping[str, Any], more: Iterable[tuple[str, str]] = ()) -> str:
        """The URL; `more` goes to the end of its query.

        Raises:
            BadRequest: a value would leave its place in the path.
            PromptError: an expression has no value.
        """
        path = "/".join(_segment(segment, context) for segment in self.path)
        pairs = [
            pair.text(context, encoded)
            for pair in self.query
            if pair.pieces and not pair.lacks(context)
        ]
        query = "&".join([*pairs, *(f"{encoded(name)}={encoded(value)}" for name, value in more)])
        url = f"{self.origin}{path}?{query}" if query else f"{self.origin}{path}"
        if len(url) > MAX_URL:
            raise BadRequest(f"the address would have {len(url):,} characters")
        return url


def address(template: TextTemplate) -> Address:
    """The address that a template writes.

    Raises:
        ValueError: it is no http(s) URL, or its host would be an argument's.
    """
    first = template.pieces[0] if template.pieces else ""
    literal = first if isinstance(first, str) else ""
    origin = ORIGIN.match(literal)
    if template.expressions and re.fullmatch(r"(https?://)?[^/?#]*", literal, re.IGNORECASE):
        raise ValueError("takes its host from an argument", _FIXED_HOST)
    if origin is None:
        raise ValueError("is no http or https address", "write https://host/path")
    after = literal[origin.end() : origin.end() + 1]
    if after == "@":
        raise ValueError("has a user and password", "send the header Authorization instead")
    if after not in ("", "/", "?", "#"):
        raise ValueError("has a host that is none", "write https://host/path")
    rest = TextTemplate((literal[origin.end() :], *template.pieces[1:]))
    before, *_ = rest.split("#", 1)
    path, *query = before.split("?", 1)
    pairs = query[0].split("&") if query else []
    return Address(
        origin=_origin(origin[0]),
        path=tuple(_as_written(segment) for segment in path.split("/")),
        query=tuple(_as_written(pair) for pair in pairs),
    )


def plain_url(url: str) -> str:
    """An address without arguments, as it goes on the wire.

    Raises:
        ValueError: it is no http(s) URL.
    """
    return address(TextTemplate((url,))).url({})


def encoded(value: Any) -> str:
    """A value as it stands in a URL: whatever is in it, it stays one value.

    Raises:
        BadRequest: it is no text that can be sent.
    """
    try:
        return quote(as_text(value), safe="")
    except UnicodeEncodeError:
        raise BadRequest("half a surrogate pair is not a character") from None


def pairs_of(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A field of a query or form: a list gives several of one name, null gives none."""
    for each in value if isinstance(value, list) else [value]:
        if each is not None:
            yield name, as_text(each)


def header(name: str, value: Any) -> str:
    """The value of a header.

    Raises:
        BadRequest: it would end the header, and begin another.
    """
    text = as_text(value).strip()
    if _CONTROL.search(text):
        raise BadRequest(f"the header {name} cannot hold a line break or control character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest("half a surrogate pair is not a character") from None
    return text


def mistake_in_header(name: str) -> str:
    """Why a request cannot have this header; empty if it can."""
    if not _HEADER.fullmatch(name):
        return "is no name of a header"
    return "is set by agentd itself" if name.lower() in _NOT_OURS.split() else ""


def with_body(method: str, url: str, headers: Mapping[str, str], content: Any) -> HttpRequest:
    """The request; `content` is written as JSON, or as its Content-Type says. A text is sent as it
    is, None is no body.

    Raises:
        BadRequest: it cannot be written so, or is over `MAX_BODY` bytes.
    """
    if content is None:
        return HttpRequest(method, url, headers)
    given = next((v for name, v in headers.items() if name.lower() == "content-type"), None)
    try:
        if isinstance(content, str):
            kind, text = "text/plain; charset=utf-8", content
        elif given and given.startswith(FORM) and isinstance(content, dict):
            pairs = (pair for name, value in content.items() for pair in pairs_of(name, value))
            kind, text = FORM, urlencode(list(pairs))
        else:
            kind, text = "application/json", json.dumps(content, allow_nan=False)
        body = text.encode()
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body cannot be written: {error}") from None
    if len(body) > MAX_BODY:
        raise BadRequest(f"the body would have {len(body):,} bytes; {MAX_BODY:,} are the limit")
    return HttpRequest(method, url, headers if given else {**headers, "Content-Type": kind}, body)


def spoken(error: AgentdError) -> BadRequest:
    """What an expression could not do, as a mistake of the arguments."""
    return BadRequest(f"the request cannot be made of these arguments: {error}")


_FIXED_HOST = "arguments go into the path, `query`, `headers` and `body`"


def _origin(text: str) -> str:
    """Scheme, host and port, as they go on the wire."""
    scheme, _, authority = text.partition("://")
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port = "" if parts.port is None else f":{parts.port}"
        host = f"[{host}]" if ":" in host else host.encode("idna").decode()
    except ValueError:  # UnicodeError too
        raise ValueError(f"has a host that is none: {authority[:100]}", "") from None
    return f"{scheme.lower()}://{host}{port}"


def _as_written(template: TextTemplate) -> TextTemplate:
    """A part of a URL with its literal texts encoded; what is encoded already stays."""
    pieces = template.pieces
    written = (quote(p, safe=_WRITTEN) if isinstance(p, str) else p for p in pieces)
    return TextTemplate(tuple(written))


def _segment(template: TextTemplate, context: Mapping[str, Any]) -> str:
    """A segment of a path. None that a value makes empty, or makes go up: `/users/{id}` is not a
    way to ask for `/users/`, nor `/users/..`."""
    text = template.text(context, encoded)
    if not template.expressions:
        return text
    # What a server decodes once more than it should must not lead elsewhere either.
    parts = re.split(r"[/\\]", unquote(unquote(text)))
    if not text or any(part.strip() in (".", "..") for part in parts):
        shown = " ".join(e.text.strip() for e in template.expressions)
        raise BadRequest(f"`{shown}` stands in the path of an address: it cannot be {text!r}")
    return text
