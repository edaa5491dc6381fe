"""Where OpenAI-compatible requests go: one HTTP session for all, and each base URL with its key."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from agentd import __version__
from agentd.errors import ModelError

LARGE_BODY = 512 * 1024  # bytes; more (pictures) is written in pieces, or the event loop would wait
CONNECT = 10.0  # seconds; a host that is not there is known long before the deadline


class Http:
    """The one session of the process, made when it is first needed, inside the running loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                # uvicorn (so vLLM and many gateways) hangs up after 5 s without a request; a
                # request that crosses the hang-up is lost.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "User-Agent": f"agentd/{__version__}",
                    "Content-Type": "application/json",
                    # Compression costs more than it saves here, and could hide a huge answer.
                    "Accept-Encoding": "identity",
                },
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


@dataclass(eq=False)
class Endpoint:
    """A base URL with its key. `counts_streams`: it takes `stream_options`, as far as we know."""

    http: Http
    base: str
    key: str | None = field(repr=False)
    counts_streams: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._url = URL(self.base.rstrip("/") + "/chat/completions")
        self._headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self.bare = self._url.path == "/chat/completions"
        self.secrets = tuple(filter(None, (self.key, self._url.password)))
        self._proxy = _proxy(self._url)

    def post(self, body: bytes) -> Any:
        """An async context manager with the response, as soon as its headers are there."""
        return self.http.session().post(
            self._url,
            data=BytesIO(body) if len(body) > LARGE_BODY else body,
            headers=self._headers,
            proxy=self._proxy,
            allow_redirects=False,
        )


def _proxy(url: URL) -> str | None:
    """The environment's proxy for this address, looked up once: aiohttp's `trust_env` would read
    the environment and ~/.netrc for every request. As in Go, one's own machine is never asked
    through a proxy."""
    host = url.host or ""
    if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(f"{host}:{url.port}"):
        return None
    proxy = getproxies().get(url.scheme)
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy and not proxy.startswith(("http://", "https://")):
        what = f"the proxy that the environment names for {url.scheme} is not an http one"
        raise ModelError(what, code="model_config")
    return proxy
