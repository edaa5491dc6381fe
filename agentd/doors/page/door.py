"""Serves the files of the page, as they are in the package.

Texts of strangers are on the page: prompts, answers, errors. The page shows them as text. Should it
ever fail to, the policy below lets no script run that is not a file of ours, and nothing reach
another machine.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentd.doors.backend import Backend
from agentd.doors.refusal import Refusal

STATIC = Path(__file__).parent / "static"
_INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text becomes HTML or the address of a script, whatever a mistake of ours may be.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # A browser asks each time whether a file is still the same: after an upgrade it is not.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True)
class _File:
    kind: str
    body: bytes
    compressed: bytes
    etag: str


def routes(_: Backend) -> Sequence[Route]:
    """`/` and `/page/…`."""
    return [Route("/", _index), Route("/page/{name:path}", _file)]


@cache
def files() -> Mapping[str, _File]:
    """All files of the page, by name: read when the first one is asked for."""
    paths = (path for path in sorted(STATIC.rglob("*")) if path.suffix in _TYPES)
    return {path.relative_to(STATIC).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> _File:
    body = path.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return _File(_TYPES[path.suffix], body, gzip.compress(body, mtime=0), etag)


async def _index(request: Request) -> Response:
    return await _answer(request, _INDEX)


async def _file(request: Request) -> Response:
    return await _answer(request, request.path_params["name"])


async def _answer(request: Request, name: str) -> Response:
    # In a thread: the first time, it takes a tenth of a second.
    found = (await asyncio.to_thread(files)).get(name)
    if found is None:
        raise Refusal(404, "not_found", f"the page has no file {name[:100]!r}")
    headers = {**_HEADERS, "ETag": found.etag}
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = found.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"], body = "gzip", found.compressed
    return Response(body, media_type=found.kind, headers=headers)
