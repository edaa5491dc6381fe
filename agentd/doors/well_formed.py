"""Which requests have one meaning for everyone who reads them: for agentd, and for any proxy."""

from __future__ import annotations

import re

from starlette.types import Scope

from agentd.doors.refusal import Refusal

# Where one of these stands twice, two readers may each take another one.
_SINGLE = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"last-event-id",
        b"origin",
        b"transfer-encoding",
    }
)
# Encoded slashes and control characters: some readers decode them before they split a path.
_ENCODED = re.compile(rb"%(?:2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
_UNDECODED = "\ufffd"  # what stands in a path for bytes that are not UTF-8


def require_well_formed(scope: Scope) -> None:
    """Returns if the path and the headers have one meaning.

    Raises:
        Refusal: 400; the text says what is wrong.
    """
    _check_path(scope["path"], scope["raw_path"])
    _check_headers(scope["headers"], scope["http_version"])


def _check_path(path: str, raw: bytes) -> None:
    if not path.startswith("/"):
        raise _malformed("the path must begin with /")
    if _ENCODED.search(raw) or "\\" in path or not path.isprintable():
        raise _malformed("the path has a backslash, an encoded slash or a control character")
    if _UNDECODED in path:
        raise _malformed("the path is not UTF-8")
    segments = path.split("/")[1:]
    if "." in segments or ".." in segments or "" in segments[:-1]:
        raise _malformed("the path has an empty segment, `.` or `..`; write it without")


def _check_headers(headers: list[tuple[bytes, bytes]], version: str) -> None:
    names = [name for name, _ in headers if name in _SINGLE]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _malformed(f"the header {twice.decode()} is there more than once")
    if b"host" not in names and version == "1.1":
        raise _malformed("the header host is missing")
    if b"transfer-encoding" in names:
        coding = next(value for name, value in headers if name == b"transfer-encoding")
        if b"content-length" in names or version == "1.0" or coding.strip().lower() != b"chunked":
            raise _malformed("transfer-encoding must be `chunked`, without a content-length")


def _malformed(text: str) -> Refusal:
    # What follows on this connection may have two meanings too.
    return Refusal(400, "malformed", text, headers={"Connection": "close"})
