"""An HTTP response as the answer of a tool."""

from __future__ import annotations

import codecs
from contextlib import suppress
from email.message import Message
from typing import Any

from agentd.errors import DecodeError
from agentd.protocol.strict_json import parse
from agentd.templates.requests.json_path import JsonPath, NoMatch
from agentd.tools.port import ToolError
from agentd.tools.secrets import Secrets
from agentd.tools.web.fetch import HttpReply

SHOWN = 2_000  # characters of the body of an error response

# Of the statuses that say that the request is wrong, those that a later request may not get:
# timeout, conflict, locked, too early, too many requests.
_MAY_PASS = (408, 409, 423, 425, 429)
_TEXTS = ("json", "xml", "yaml", "javascript", "csv", "x-www-form-urlencoded", "graphql")
# Codecs of Python that no server means by a charset, or that take very long to decode.
_NO_CHARSETS = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf_7")


def answer_of(reply: HttpReply, secrets: Secrets, pick: JsonPath | None = None) -> Any:
    """JSON as data, or only the part of it at `pick`; text as text; of anything else its type and
    size.

    Raises:
        ToolError: the status is not 2xx, or nothing is at `pick`.
    """
    kind, charset = _kind(reply)
    is_text = _is_text(kind, reply)
    # Secrets are hidden before the text is cut: half a secret would not be found.
    text = secrets.hide(_decoded(reply.body, charset)) if is_text else ""
    if reply.status not in range(200, 300):
        body = text[:SHOWN].strip()
        status = f"{reply.host} answered {reply.status} {reply.reason}".strip()
        final = 400 <= reply.status < 500 and reply.status not in _MAY_PASS
        raise ToolError(f"{status}: {body}" if body else status, final=final)
    if pick is not None:
        return _picked(reply, secrets, pick)
    if not reply.body:
        return f"done: {reply.status} {reply.reason}".strip()
    if not is_text:
        size = f"{len(reply.body):,} bytes" if reply.whole else f"over {len(reply.body):,} bytes"
        return f"the answer is not text: {kind or 'unknown type'}, {size}"
    if reply.whole and "json" in kind:
        with suppress(DecodeError):  # then the model gets the text and may still understand it
            return secrets.hide_in(parse(reply.body))
    return text if reply.whole else f"{text}\n[cut after {len(reply.body):,} bytes]"


def _picked(reply: HttpReply, secrets: Secrets, pick: JsonPath) -> Any:
    if not reply.whole:
        raise ToolError(
            f"the answer of {reply.host} has more than {len(reply.body):,} bytes; ask for less"
        )
    try:
        return pick.pick(secrets.hide_in(parse(reply.body)))
    except DecodeError as error:
        raise ToolError(f"the answer of {reply.host} is not valid JSON: {error}") from None
    except NoMatch as error:
        raise ToolError(f"the answer has nothing at `{pick.text}`: {error}") from None


def _kind(reply: HttpReply) -> tuple[str, str]:
    """The media type, "" if it is missing, and the charset."""
    header = Message()
    header["Content-Type"] = reply.headers.get("Content-Type", "")[:500]
    kind = header.get_content_type() if "/" in header["Content-Type"] else ""
    try:
        charset = codecs.lookup(header.get_content_charset("utf-8"))
    except (LookupError, ValueError):
        return kind, "utf-8"
    # Python has codecs that give bytes, such as `zip`. They do not decode text.
    # `name` has hyphens or underscores, depending on the codec.
    unwanted = charset.name.replace("-", "_") in _NO_CHARSETS
    is_text = getattr(charset, "_is_text_encoding", True) and not unwanted
    return kind, charset.name if is_text else "utf-8"


def _is_text(kind: str, reply: HttpReply) -> bool:
    if kind:
        return kind.startswith("text/") or any(word in kind for word in _TEXTS)
    return b"\0" not in reply.body[:1000]


def _decoded(body: bytes, charset: str) -> str:
    text = body.decode(charset, errors="replace")
    return text.encode(errors="replace").decode()  # some codecs let half a surrogate pair through
