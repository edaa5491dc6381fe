"""HTTP for tools: to addresses that were checked, through safe redirects, within bounds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from agentd import __version__
from agentd.errors import AgentdError
from agentd.templates.requests.request import HttpRequest
from agentd.tools.web.addresses import Reach, literal
from agentd.tools.web.encodings import CODINGS, Decoder, Undecodable

MOST = 1_000_000  # bytes of an answer that are read
HOPS = 5  # redirects that are followed
CONNECT = 10.0  # seconds until a connection stands
KEPT = 4.0  # seconds that it stays for the next request; many servers hang up after 5

# What goes along to another origin; all the rest may be meant for the first one only.
_HARMLESS = ("accept", "accept-language", "user-agent")
_REDIRECTS = (301, 302, 303, 307, 308)

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]


class FetchError(AgentdError):
    """A request without an answer. The text names the host, and nothing of what was sent."""


@dataclass(frozen=True)
class HttpReply:
    """An answer, as far as it was read: `whole` says whether that is all of it."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    whole: bool
    url: str

    @property
    def host(self) -> str:
        """Who answered, which after redirects may be another than was asked."""
        return _host(self.url)


async def look_up(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, as the system knows them.

    Raises:
        OSError: it has none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Web:
    """The web as tools may see it. One for the process, used inside one loop."""

    def __init__(self, lookup: Lookup = look_up) -> None:
        self._lookup = lookup
        # One session for each kind of reach: a connection that one tool may have is not reused for
        # another that may not.
        self._sessions: dict[Reach, aiohttp.ClientSession] = {}

    async def fetch(self, request: HttpRequest, reach: Reach, *, most: int = MOST) -> HttpReply:
        """The answer, after redirects; its body is cut after `most` bytes. The caller has the
        deadline.

        Raises:
            FetchError: there is none, or an address on the way may not be connected to.
        """
        for _ in range(HOPS + 1):
            reply = await self._once(request, reach, most)
            target = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or target is None:
                return reply
            request = redirected(request, reply.status, target)
        raise FetchError(f"{_host(request.url)} redirects more than {HOPS} times")

    async def close(self) -> None:
        """Closes what is still open."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def _once(self, request: HttpRequest, reach: Reach, most: int) -> HttpReply:
        url = URL(request.url, encoded=True)
        host = url.host or ""
        _check_literal(host, reach)
        try:
            async with self._session(reach).request(
                request.method,
                url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                skip_auto_headers=["Content-Type"],
            ) as response:
                body, whole = await _read(response, most)
                return HttpReply(
                    status=response.status,
                    reason=(response.reason or "")[:100],
                    headers=response.headers.copy(),
                    body=body,
                    whole=whole,
                    url=request.url,
                )
        # Not `from error`: aiohttp's carry the request's headers, and the keys in them.
        except Undecodable as error:
            raise FetchError(f"{host} {error}") from None
        except aiohttp.ClientError as error:
            raise FetchError(_in_words(host, error)) from None
        except (OSError, ValueError) as error:
            raise FetchError(f"no answer from {host}: {_shown(error)}") from None

    def _session(self, reach: Reach) -> aiohttp.ClientSession:
        session = self._sessions.get(reach)
        if session is None or session.closed:
            session = self._sessions[reach] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_CheckedResolver(self._lookup, reach),
                    use_dns_cache=False,  # every new connection is to an address just checked
                    limit=0,
                    keepalive_timeout=KEPT,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # `Decoder` does, within bounds
                trust_env=False,  # a proxy would connect to addresses that nobody checked
                headers={
                    "User-Agent": f"agentd/{__version__}",
                    "Accept-Encoding": ", ".join(CODINGS),
                },
            )
        return session


class _AddressRefused(OSError):
    """An address that may not be connected to. An OSError, as aiohttp passes these on."""


class _CheckedResolver(AbstractResolver):
    """Gives aiohttp the addresses that it then connects to: those that were checked."""

    def __init__(self, lookup: Lookup, reach: Reach) -> None:
        self._lookup = lookup
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = [literal(each.partition("%")[0]) for each in await self._lookup(host, port)]
        addresses = [address for address in dict.fromkeys(found) if address is not None]
        if not addresses:
            raise OSError("it has no address")
        for address in addresses:
            # One that is not allowed among others is what an attack on names looks like.
            if not self._reach.allows(address, host):
                raise _AddressRefused(_not_allowed(f"{host} ({address})"))
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def redirected(request: HttpRequest, status: int, target: str) -> HttpRequest:
    """The request that a redirect asks for, without what is not meant for another host.

    Raises:
        FetchError: it is not to be followed.
    """
    before = URL(request.url, encoded=True)
    try:
        url = URL(urljoin(request.url, target)).with_fragment(None).with_user(None)
        origin = url.origin()
    except ValueError:
        raise FetchError(f"{before.host} redirects to what is no http address") from None
    if url.scheme not in ("http", "https"):
        raise FetchError(f"{before.host} redirects to what is no http address")
    if before.scheme == "https" and url.scheme == "http":
        raise FetchError(f"{before.host} redirects from https to http, which anybody can read")
    # As browsers do, and RFC 9110 (15.4) allows for 301 and 302.
    if status == 303 or (status in (301, 302) and request.method == "POST"):
        request = replace(request, method="GET", body=None)
    headers = request.headers
    if origin != before.origin():
        if request.method != "GET":
            raise FetchError(f"{before.host} redirects a {request.method} to {url.host}")
        headers = {name: v for name, v in headers.items() if name.lower() in _HARMLESS}
    elif request.body is None:
        headers = {name: v for name, v in headers.items() if name.lower() != "content-type"}
    return replace(request, url=str(url), headers=headers)


async def _read(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    """The body, decoded, up to `most` bytes; and whether it is all."""
    decoder = Decoder(response.headers.get("Content-Encoding", ""), most)
    async for piece in response.content.iter_any():
        decoder.feed(piece)
        if decoder.full:
            response.close()  # else aiohttp would keep what comes in
            return decoder.taken(), False
    return decoder.finished(), True


def _check_literal(host: str, reach: Reach) -> None:
    """Addresses in a URL are not resolved, so they are checked here."""
    try:
        address = literal(host)
    except ValueError:
        raise FetchError(f"{host[:100]} is neither a name nor an address") from None
    if address is not None and not reach.allows(address, host):
        raise FetchError(_not_allowed(host))


def _not_allowed(where: str) -> str:
    return f"{where} is not a public address, and the tool may not connect to it"


def _in_words(host: str, error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        if isinstance(error.os_error, _AddressRefused):
            return str(error.os_error)
        return f"there is no host {host}: {_shown(error.os_error)}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of {host} is not trusted"
    if isinstance(error, aiohttp.ServerTimeoutError):
        return f"no connection to {host} within {CONNECT:g} s"
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"the answer of {host} broke off"
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        return f"{host} does not speak HTTP"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return f"{host} hung up without an answer"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to {host}: {_shown(error.os_error)}"
    return f"no answer from {host}: {type(error).__name__}"


def _shown(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]


def _host(url: str) -> str:
    return URL(url, encoded=True).host or ""
