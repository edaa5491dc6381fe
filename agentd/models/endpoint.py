"""The HTTP side of OpenAI-compatible servers: one session, and each base URL with its key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from agentd import __version__
from agentd.errors import ModelError
from agentd.models import address
from agentd.models.failures import CONNECT, is_late

LARGE_BODY = 512 * 1024  # bytes; larger ones (images) are written in pieces, see `Endpoint.post`


class Http:
    """The one session of the process; created at first use, because it needs a running loop.

    A connection is given up after `connect` seconds.
    """

    def __init__(self, connect: float = CONNECT) -> None:
        self.connect = connect
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                # uvicorn (so vLLM and many gateways) closes a connection after 5 s without a
                # request, and a request that is sent at that moment is lost: close it earlier.
                # No limit of connections: `limits.concurrency` decides how many calls run.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0),
                # The deadline of a call is `Failures.within`, which also bounds the reading.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "User-Agent": f"agentd/{__version__}",
                    "Content-Type": "application/json",
                    # Compression costs more time than it saves here.
                    "Accept-Encoding": "identity",
                },
                # A server may compress all the same, and a few bytes can unpack to gigabytes.
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class PlainServer(aiohttp.ClientError):
    """The address says https, and the server speaks plain HTTP."""


@dataclass(eq=False)
class Endpoint:
    """A base URL with its key. `refused` has the optional parts of requests that it refuses."""

    http: Http
    base: str
    key: str | None = field(repr=False)
    refused: set[Any] = field(default_factory=set[Any], init=False)
    _doubtful: bool = field(default=False, init=False)  # whether TLS to it has not worked yet

    def __post_init__(self) -> None:
        self._url = URL(self.base.rstrip("/") + "/chat/completions")
        self._headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self.secrets = tuple(filter(None, (self.key, self._url.password)))
        self._proxy = _proxy(self._url)
        self._doubtful = self._url.scheme == "https" and self._proxy is None

    def was_blocked(self, error: aiohttp.ClientError, seconds: float) -> bool:
        """Whether it was our event loop that was too late for a connection. Nothing was sent then.

        `seconds` have passed since the call began.
        """
        late = is_late(seconds, self.http.connect)
        return late and isinstance(error, aiohttp.ConnectionTimeoutError)

    def post(self, body: bytes) -> Any:
        """An async context manager that gives the response as soon as its headers have arrived."""
        posting = self._post(body)
        return self._with_doubt(posting) if self._doubtful else posting

    @asynccontextmanager
    async def _with_doubt(
        self, posting: Awaitable[aiohttp.ClientResponse]
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The first response of a server over TLS.

        Raises:
            PlainServer: the server waits for a request without TLS.
        """
        patience = asyncio.timeout(None)
        asking = asyncio.create_task(_end_if_plain(self._url, patience))
        try:
            async with patience:
                response = await posting
        except TimeoutError:
            if patience.expired():
                raise PlainServer("it waits for a request without TLS") from None
            raise
        finally:
            asking.cancel()
        self._doubtful = False
        async with response:
            yield response

    def _post(self, body: bytes) -> Any:
        return self.http.session().post(
            self._url,
            # aiohttp writes bytes in one go, which would block the event loop for large ones.
            data=BytesIO(body) if len(body) > LARGE_BODY else body,
            headers=self._headers,
            proxy=self._proxy,
            # aiohttp would follow a 301 or 302 with a GET. The address is wrong: it is reported.
            allow_redirects=False,
        )


async def _end_if_plain(url: URL, patience: asyncio.Timeout) -> None:
    if await address.waits_for_plain(url):
        patience.reschedule(0)


def _proxy(url: URL) -> str | None:
    """The proxy that the environment names for this address, if any.

    It is looked up once: aiohttp's `trust_env` would read the environment and ~/.netrc for every
    request. This machine is never called through a proxy, as in Go.
    """
    host = url.host or ""
    if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(f"{host}:{url.port}"):
        return None
    proxy = getproxies().get(url.scheme)
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy and not proxy.startswith(("http://", "https://")):
        text = (
            f"the proxy in {url.scheme}_proxy is not an http:// or https:// one, which agentd "
            f"needs for {host}; change it, or add {host} to no_proxy"
        )
        raise ModelError(text, code="model_config")
    return proxy
