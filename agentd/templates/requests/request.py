"""HTTP requests from the arguments of a call: an argument can be a value in them, nothing else.

A model chooses the arguments, and a prompt injection can choose for the model. So no argument may
change the host, leave its segment of the path or its field of the query, or add a header.
"""

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
# Characters that stay as they are in the literal parts of a URL. With `%`, because the author may
# have encoded a part already.
_WRITTEN = "/:@!$&'()*+,;=-._~%?[]"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# The HTTP client sets these. A manifest that set them could send the request to another host
# behind the same address, or smuggle a second request in the body (request smuggling).
_CLIENT_HEADERS = """
    connection content-encoding content-length expect host keep-alive proxy-authorization
    proxy-connection te trailer transfer-encoding upgrade
"""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")


class BadRequest(AgentdError):
    """No request can be made with these arguments. The model that chose them gets the text."""


@dataclass(frozen=True)
class HttpRequest:
    """A complete request. `url` is absolute and encoded; header names keep their case."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Address:
    """A URL with expressions in its path and query.

    Attributes:
        origin: scheme, host and port, which are always literal.
        path: its segments, between slashes.
        query: its fields, between ampersands.
    """

    origin: str
    path: tuple[TextTemplate, ...]
    query: tuple[TextTemplate, ...]

    def url(self, context: Mapping[str, Any], more: Iterable[tuple[str, str]] = ()) -> str:
        """The URL for the values in `context`, with the pairs in `more` at the end of its query.

        Raises:
            BadRequest: a value would change the structure of the path, or the URL is too long.
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
    """Parses a URL with expressions.

    Raises:
        ValueError: it is not an http(s) URL, or its host would come from an argument; the
            arguments are the problem and a hint.
    """
    first = template.pieces[0] if template.pieces else ""
    literal = first if isinstance(first, str) else ""
    origin = ORIGIN.match(literal)
    # The host must end in the first literal. `https://api.test{{ rest }}` could become
    # `https://api.test.evil.test` or `https://api.test@evil.test`.
    if template.expressions and re.fullmatch(r"(https?://)?[^/?#]*", literal, re.IGNORECASE):
        raise ValueError("takes its host from an argument", _FIXED_HOST)
    if origin is None:
        raise ValueError("is not an http or https address", "write https://host/path")
    after = literal[origin.end() : origin.end() + 1]
    if after == "@":
        raise ValueError("has a user and password", "send the header Authorization instead")
    if after not in ("", "/", "?", "#"):
        raise ValueError("has an invalid host", "write https://host/path")
    rest = TextTemplate((literal[origin.end() :], *template.pieces[1:]))
    before, *_ = rest.split("#", 1)  # a client does not send the fragment
    path, *query = before.split("?", 1)
    pairs = query[0].split("&") if query else []
    return Address(
        origin=_origin(origin[0]),
        path=tuple(_as_written(segment) for segment in path.split("/")),
        query=tuple(_as_written(pair) for pair in pairs),
    )


def plain_url(url: str) -> str:
    """A URL without expressions, encoded for sending.

    Raises:
        ValueError: it is not an http(s) URL; the arguments are the problem and a hint.
    """
    return address(TextTemplate((url,))).url({})


def encoded(value: Any) -> str:
    """A value, percent-encoded for a URL. Slashes too, so that it stays one value.

    Raises:
        BadRequest: its text cannot be encoded in UTF-8.
    """
    try:
        return quote(as_text(value), safe="")
    except UnicodeEncodeError:
        raise BadRequest("half a surrogate pair is not a character") from None


def pairs_of(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The pairs of one field of a query or form: a list gives one pair per item, null none."""
    for each in value if isinstance(value, list) else [value]:
        if each is not None:
            yield name, as_text(each)


def header(name: str, value: Any) -> str:
    """The value of the header `name` as text.

    Raises:
        BadRequest: it has a control character (a line break would begin another header), or it
            cannot be encoded in UTF-8.
    """
    text = as_text(value).strip()
    if _CONTROL.search(text):
        raise BadRequest(f"the header {name} cannot hold a line break or control character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest("half a surrogate pair is not a character") from None
    return text


def header_problem(name: str) -> str:
    """Why a request cannot have a header with this name; "" if it can."""
    if not _HEADER.fullmatch(name):
        return "is not a valid header name"
    return "is set by agentd itself" if name.lower() in _CLIENT_HEADERS.split() else ""


def with_body(method: str, url: str, headers: Mapping[str, str], content: Any) -> HttpRequest:
    """The request with `content` as its body.

    A text is sent unchanged. A mapping is sent as a form if the Content-Type in `headers` says so.
    Everything else is sent as JSON. None means that the request has no body.

    Raises:
        BadRequest: the content cannot be encoded, or has more than `MAX_BODY` bytes.
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
            # Python writes `NaN` by default, which is not JSON.
            kind, text = "application/json", json.dumps(content, allow_nan=False)
        body = text.encode()
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body cannot be encoded: {error}") from None
    if len(body) > MAX_BODY:
        raise BadRequest(f"the body would have {len(body):,} bytes; the limit is {MAX_BODY:,}")
    return HttpRequest(method, url, headers if given else {**headers, "Content-Type": kind}, body)


def as_bad_request(error: AgentdError) -> BadRequest:
    """The error of an expression as an error of the arguments."""
    return BadRequest(f"the request cannot be made from these arguments: {error}")


_FIXED_HOST = "use arguments in the path, `query`, `headers` and `body` only"


def _origin(text: str) -> str:
    """Scheme, host and port as they are sent: in lower case, and the host in ASCII (IDNA)."""
    scheme, _, authority = text.partition("://")
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port = "" if parts.port is None else f":{parts.port}"
        host = f"[{host}]" if ":" in host else host.encode("idna").decode()
    except ValueError:  # UnicodeError too
        raise ValueError(f"has an invalid host: {authority[:100]}", "") from None
    return f"{scheme.lower()}://{host}{port}"


def _as_written(template: TextTemplate) -> TextTemplate:
    """A part of a URL with its literal texts encoded. Characters encoded already stay so."""
    pieces = template.pieces
    written = (quote(p, safe=_WRITTEN) if isinstance(p, str) else p for p in pieces)
    return TextTemplate(tuple(written))


def _segment(template: TextTemplate, context: Mapping[str, Any]) -> str:
    """A segment of a path.

    Raises:
        BadRequest: a value makes it empty or a step up. A tool for `/users/{id}` must not give
            access to `/users/` or `/users/..`.
    """
    text = template.text(context, encoded)
    if not template.expressions:
        return text
    # Decoded twice: some servers and proxies decode a path once more than they should, and treat
    # a backslash like a slash.
    parts = re.split(r"[/\\]", unquote(unquote(text)))
    if not text or any(part.strip() in (".", "..") for part in parts):
        shown = " ".join(e.text.strip() for e in template.expressions)
        raise BadRequest(f"`{shown}` is part of the path of a URL: it cannot be {text!r}")
    return text
