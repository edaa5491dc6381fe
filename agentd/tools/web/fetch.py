"""HTTP for tools: only to allowed addresses, through safe redirects, with limits."""

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
CONNECT = 10.0  # seconds to connect
KEPT = 4.0  # seconds that an idle connection is kept; many servers close it after 5

# Headers that a redirect to another origin keeps. Any other may hold a credential.
_HARMLESS = ("accept", "accept-language", "user-agent")
_REDIRECTS = (301, 302, 303, 307, 308)

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]


class FetchError(AgentdError):
    """A request without an answer. The text has the host, but nothing else of the request."""


@dataclass(frozen=True)
class HttpReply:
    """An answer. `whole` is False if its body was cut."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    whole: bool
    url: str

    @property
    def host(self) -> str:
        """The host that answered. After redirects it may be another one than was asked."""
        return _host(self.url)


async def look_up(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, by the resolver of the system.

    Raises:
        OSError: the name has none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Web:
    """The HTTP client of all tools. It belongs to one event loop."""

    def __init__(self, lookup: Lookup = look_up) -> None:
        self._lookup = lookup
        # One session for each reach. A shared one could reuse an open connection to a private
        # address for a tool that may not connect to it.
        self._sessions: dict[Reach, aiohttp.ClientSession] = {}

    async def fetch(self, request: HttpRequest, reach: Reach, *, most: int = MOST) -> HttpReply:
        """The answer, after redirects; its body is cut after `most` bytes.

        It has no deadline; the caller has.

        Raises:
            FetchError: there is no answer, or a host on the way may not be connected to.
        """
        for _ in range(HOPS + 1):
            reply = await self._once(request, reach, most)
            target = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or target is None:
                return reply
            request = redirected(request, reply.status, target)
        raise FetchError(f"{_host(request.url)} redirects more than {HOPS} times")

    async def close(self) -> None:
        """Closes all connections."""
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
        # `from None`: the errors of aiohttp contain the headers of the request, with the keys.
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
                    use_dns_cache=False,  # each new connection goes to an address just checked
                    limit=0,
                    keepalive_timeout=KEPT,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # aiohttp has no limit; `Decoder` has
                trust_env=False,  # a proxy would connect to addresses that we did not check
                headers={
                    "User-Agent": f"agentd/{__version__}",
                    "Accept-Encoding": ", ".join(CODINGS),
                },
            )
        return session


class _AddressRefused(OSError):
    """An address that may not be connected to. It is an OSError because aiohttp passes these on."""


class _CheckedResolver(AbstractResolver):
    """Resolves names for aiohttp and checks the addresses.

    aiohttp connects to exactly these. If a name were checked first and resolved again later, it
    could have another address then (DNS rebinding).
    """

    def __init__(self, lookup: Lookup, reach: Reach) -> None:
        self._lookup = lookup
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = [literal(each.partition("%")[0]) for each in await self._lookup(host, port)]
        addresses = [address for address in dict.fromkeys(found) if address is not None]
        if not addresses:
            raise OSError("the name has no address")
        for address in addresses:
            # One forbidden address among allowed ones is the mark of an attack: refuse them all.
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
        """Nothing to close."""


def redirected(request: HttpRequest, status: int, target: str) -> HttpRequest:
    """The request that a redirect asks for, without headers that another host must not get.

    Raises:
        FetchError: the redirect is not safe to follow.
    """
    before = URL(request.url, encoded=True)
    try:
        url = URL(urljoin(request.url, target)).with_fragment(None).with_user(None)
        origin = url.origin()
    except ValueError:
        raise FetchError(f"{before.host} redirects to an address that is not valid") from None
    if url.scheme not in ("http", "https"):
        raise FetchError(f"{before.host} redirects to an address that is not http or https")
    if before.scheme == "https" and url.scheme == "http":
        raise FetchError(f"{before.host} redirects from https to http, which is not encrypted")
    # As browsers do, and RFC 9110 (15.4) allows for 301 and 302.
    if status == 303 or (status in (301, 302) and request.method == "POST"):
        request = replace(request, method="GET", body=None)
    headers = request.headers
    if origin != before.origin():
        if request.method != "GET":
            # The body may be meant for the first host only.
            raise FetchError(f"{before.host} redirects a {request.method} to {url.host}")
        headers = {name: v for name, v in headers.items() if name.lower() in _HARMLESS}
    elif request.body is None:
        headers = {name: v for name, v in headers.items() if name.lower() != "content-type"}
    return replace(request, url=str(url), headers=headers)


async def _read(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    """The decoded body up to `most` bytes; and whether it is the whole body."""
    decoder = Decoder(response.headers.get("Content-Encoding", ""), most)
    async for piece in response.content.iter_any():
        decoder.feed(piece)
        if decoder.full:
            response.close()  # otherwise aiohttp would read on into its buffer
            return decoder.taken(), False
    return decoder.finished(), True


def _check_literal(host: str, reach: Reach) -> None:
    """Checks an address in a URL: aiohttp does not ask the resolver about it."""
    try:
        address = literal(host)
    except ValueError:
        raise FetchError(f"{host[:100]} is neither a host name nor an address") from None
    if address is not None and not reach.allows(address, host):
        raise FetchError(_not_allowed(host))


def _not_allowed(where: str) -> str:
    return f"{where} is not a public address, so the tool may not connect to it"


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
        return f"the answer of {host} is not complete"
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        return f"{host} does not speak HTTP"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return f"{host} closed the connection without an answer"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to {host}: {_shown(error.os_error)}"
    return f"no answer from {host}: {type(error).__name__}"


def _shown(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]


def _host(url: str) -> str:
    return URL(url, encoded=True).host or ""
