"""What is probably wrong with the address of an endpoint that answers wrongly, or not at all."""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import suppress

from yarl import URL

# The end of the address that agentd adds itself, and of other calls of such APIs. People copy them
# from an example into `api_base`.
_CALLS = re.compile(
    r"/(chat/completions|completions|responses|models|embeddings|chat|generate|tags)/*$"
)
# nginx, Go and Apache answer this, all with a 400.
_WANTS_TLS = re.compile(r"HTTPS port|HTTPS server|SSL-enabled server port", re.IGNORECASE)
_SPEAKS_NO_TLS = re.compile(r"WRONG_VERSION_NUMBER|RECORD_LAYER|HTTP_REQUEST|UNKNOWN_PROTOCOL")
_NOT_THERE = (404, 405, 501)

_SUSPICIOUS = 1.0  # seconds after which a server that does not answer over TLS is asked without
_PATIENCE = 2.0  # seconds for each of the two questions
# A server with TLS answers 400 to a request without, some redirect it, and 426 asks for TLS.
_PLAIN = re.compile(rb"HTTP/1\.[01] (?!400|426|3)\d\d\d ")


def without_call(base: str) -> str | None:
    """The address without the name of a call at its end; None if it has none."""
    called = _CALLS.search(URL(base).path)
    if called is None:
        return None
    path = URL(base).path[: called.start()]
    # Ollama's own API is below /api, and the compatible one below /v1.
    return f"{URL(base).origin()}{'/v1' if path in ('', '/api') else path}"


def hint_of(base: str, status: int, body: str) -> str:
    """The likely mistake in an address that answered with this status; "" if it seems right."""
    if status == 400 and base.startswith("http://") and _WANTS_TLS.search(body):
        return f"the server speaks TLS; write {with_scheme(base, 'https')}"
    if status not in _NOT_THERE:
        return ""
    asked = f"asked for {shown(base)}/chat/completions"
    if cut := without_call(base):
        return f"{asked}; write {cut}"
    if status == 404 and "model" in body.lower():
        return f"{asked}; check the name of the model"
    if URL(base).path.rstrip("/") == "/v1":
        return f"{asked}; check the address and the name of the model"
    return f"{asked}; is the API at {URL(base).origin()}/v1?"


def speaks_no_tls(error: str) -> bool:
    """Whether this error of a TLS connection means that the server speaks plain HTTP."""
    return _SPEAKS_NO_TLS.search(error) is not None


async def waits_for_plain(url: URL) -> bool:
    """Whether the server of an https address does not speak TLS, but plain HTTP.

    Such a server takes the first message of TLS for the beginning of a request, and waits for the
    rest of it. So it is asked both ways, unless it is cancelled in the first moments.
    """
    await asyncio.sleep(_SUSPICIOUS)
    return not await _speaks_tls(url) and await _speaks_plain(url)


async def _speaks_tls(url: URL) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
    except TimeoutError:
        return False
    except OSError:
        return True  # it answers somehow: the call itself will say what is wrong
    writer.transport.abort()
    return True


async def _speaks_plain(url: URL) -> bool:
    request = f"GET / HTTP/1.1\r\nHost: {url.host}\r\nConnection: close\r\n\r\n"
    with suppress(OSError, asyncio.IncompleteReadError):
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(url.host, url.port)
            try:
                writer.write(request.encode())
                return _PLAIN.match(await reader.readexactly(13)) is not None
            finally:
                writer.transport.abort()
    return False


def other_scheme(base: str) -> str:
    """What to write if the server speaks TLS and the address says the opposite, or vice versa."""
    if base.startswith("https://"):
        return f"if it speaks no TLS, write {with_scheme(base, 'http')}"
    return f"if it speaks TLS, write {with_scheme(base, 'https')}"


def with_scheme(base: str, scheme: str) -> str:
    """The address with another scheme."""
    return f"{scheme}://{shown(base).partition('://')[2]}"


def shown(base: str) -> str:
    """The address without user, password and query."""
    return str(URL(base).with_user(None).with_query(None)).rstrip("/")
