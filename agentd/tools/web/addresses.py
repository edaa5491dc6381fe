"""Which addresses a tool may connect to: public ones, and those that its manifest allows.

Whoever writes a message or a web page can make a model call a tool with any address. Services in
the internal network often trust every machine there. So a tool does not reach them unless the
manifest allows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import urlsplit

IP = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Ranges that `is_global` of an older Python takes for public. Source: IANA's registries,
# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry.
_SPECIAL = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24"),
        *("192.88.99.0/24", "192.175.48.0/24", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
        # Tunnels (Teredo, 6to4): the address contains another one, to which they lead.
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
        *("5f00::/16", "ff00::/8"),
    )
)
_UNICAST = ip_network("2000::/3")
# An IPv6-only network reaches IPv4 through these (RFC 6052); the IPv4 address inside counts.
_NAT64 = ip_network("64:ff9b::/96")
# Metadata services of clouds: they give credentials to every process on the machine.
_METADATA = tuple(
    ip_network(text)
    for text in (
        *("169.254.0.0/16", "fe80::/10"),
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128"),
    )
)


@dataclass(frozen=True)
class Reach:
    """What a tool may connect to besides public addresses.

    Attributes:
        private: all addresses of machines, except metadata services.
        networks: these networks, without exception.
        hosts: these names, whatever addresses they resolve to.
    """

    private: bool = False
    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, allow_private: bool | Iterable[str]) -> Reach:
        """The reach that `allow_private` of a manifest gives."""
        if isinstance(allow_private, bool):
            return cls(private=allow_private)
        networks: list[Network] = []
        hosts: set[str] = set()
        for text in allow_private:
            try:
                networks.append(ip_network(text))
            except ValueError:
                hosts.add(text.lower().rstrip("."))
        return cls(networks=tuple(networks), hosts=frozenset(hosts))

    def refused(self, url: str) -> str:
        """The host of `url` if it is a literal address that is not allowed; else ""."""
        try:
            host = urlsplit(url).hostname or ""
            local = f".{host}".rstrip(".").endswith(".localhost")
            address = ip_address("127.0.0.1") if local else literal(host)
        except ValueError:
            return ""  # not an address; the check of the URL reports that
        return host if address is not None and not self.allows(address, host) else ""

    def allows(self, address: IP, host: str = "") -> bool:
        """Whether to connect to `address`, which the name `host` stands for."""
        plain = unwrapped(address)
        if any(_in(each, self.networks) for each in (address, plain)):
            return True
        if host.lower().rstrip(".") in self.hosts:
            return not plain.is_multicast
        if self.private:
            return not (plain.is_multicast or plain.is_unspecified or _in(plain, _METADATA))
        return is_public(address)


def is_public(address: IP) -> bool:
    """Whether an address belongs to one machine on the internet."""
    address = unwrapped(address)
    if not address.is_global or _in(address, _SPECIAL) or _in(address, _METADATA):
        return False
    return isinstance(address, IPv4Address) or address in _UNICAST


def unwrapped(address: IP) -> IP:
    """The IPv4 address inside an IPv6 address; any other address unchanged."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


def literal(host: str) -> IP | None:
    """The address if `host` is one; None for a name.

    Raises:
        ValueError: it is neither, such as `127.1` or `2130706433`. Some resolvers take these for
            127.0.0.1.
    """
    host = host.strip("[]")
    last = host.rstrip(".").rpartition(".")[2].lower()
    if ":" not in host and not last.isdecimal() and not last.startswith("0x"):
        return None
    return ip_address(host)


def _in(address: IP, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
