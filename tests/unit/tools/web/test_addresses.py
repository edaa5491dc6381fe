"""Addresses: which are public, and what a manifest allows."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.web.addresses import Reach, is_public, literal, unwrapped

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101", "::ffff:8.8.8.8"]
NOT_PUBLIC = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.1.2.3 169.254.169.254 172.16.0.1 192.0.0.1
    192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
    239.255.255.250 240.0.0.1 255.255.255.255 100.100.100.200 168.63.129.16
    :: ::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1
    64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:101:101:: 3fff::1
    5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 4000::1
"""


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_within_reach(address: str) -> None:
    assert is_public(ip_address(address))
    assert Reach().allows(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_other_addresses_are_out_of_reach(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Reach().allows(ip_address(address))
    assert not Reach.of(["wiki.internal", "10.99.0.0/16"]).allows(ip_address(address), "else.test")


@given(st.ip_addresses())
def test_an_address_that_python_calls_private_is_not_public(address: Any) -> None:
    if is_public(address):
        assert address.is_global
        private = ("private", "loopback", "multicast", "link_local", "unspecified")
        assert not any(getattr(address, f"is_{kind}") for kind in private)


def test_a_manifest_allows_the_networks_and_hosts_that_it_names() -> None:
    some = Reach.of(["10.0.0.0/8", "Wiki.Internal", "fd12::/16"])
    assert some.allows(ip_address("10.1.2.3"))
    assert some.allows(ip_address("::ffff:10.1.2.3"))
    assert some.allows(ip_address("192.168.0.9"), "wiki.internal.")
    assert not some.allows(ip_address("192.168.0.9"), "evil.test")
    everything = Reach.of(True)
    assert everything.allows(ip_address("127.0.0.1"))
    assert everything.allows(ip_address("192.168.0.9"))
    for metadata in ("169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "0.0.0.0"):
        assert not everything.allows(ip_address(metadata))
    assert Reach.of(["169.254.169.254"]).allows(ip_address("169.254.169.254"))


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "1.2.3.4.", "::g"]
)
def test_odd_ways_to_write_an_address_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|not permitted"):
        literal(host)


@pytest.mark.parametrize(
    ("host", "address"),
    [("1.2.3.4", "1.2.3.4"), ("[::1]", "::1"), ("api.test", None), ("0x.test", None), ("a1", None)],
)
def test_a_host_is_an_address_or_a_name(host: str, address: str | None) -> None:
    assert literal(host) == (ip_address(address) if address else None)


@pytest.mark.parametrize(
    ("address", "inside"),
    [("::ffff:1.2.3.4", "1.2.3.4"), ("64:ff9b::102:304", "1.2.3.4"), ("2606::1", "2606::1")],
)
def test_an_ipv4_address_inside_an_ipv6_address_counts(address: str, inside: str) -> None:
    assert unwrapped(ip_address(address)) == ip_address(inside)
