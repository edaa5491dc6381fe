"""`http:` tools before anything is sent: paths, addresses, templates, mistakes in a file."""

from __future__ import annotations

import gzip
import json
import zlib
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.catalog.catalog import Catalog, load
from agentd.manifest.yaml.nodes import environment_values
from agentd.tools.secrets import Secrets
from agentd.tools.web.addresses import Reach, is_public, literal
from agentd.tools.web.encodings import Decoder, Undecodable

MIB = 1024 * 1024


# --- the path of `pick`


# --- requests made of arguments


# --- addresses

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
def test_what_is_not_public_is_not(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Reach().allows(ip_address(address))
    assert not Reach.of(["wiki.internal", "10.99.0.0/16"]).allows(ip_address(address), "else.test")


@given(st.ip_addresses())
def test_whatever_python_calls_private_is_out_of_reach(address: Any) -> None:
    if is_public(address):
        assert address.is_global
        private = ("private", "loopback", "multicast", "link_local", "unspecified")
        assert not any(getattr(address, f"is_{kind}") for kind in private)


def test_a_manifest_opens_what_it_names() -> None:
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


# --- compressed answers


def test_a_bomb_is_unpacked_only_as_far_as_it_is_read() -> None:
    bomb = gzip.compress(bytes(64 * MIB))
    decoder = Decoder("gzip", 1000)
    decoder.feed(bomb)

    assert decoder.full
    assert decoder.taken() == bytes(1000)


@given(st.binary(), st.sampled_from(["gzip", "x-gzip", "deflate", "raw", ""]), st.integers(1, 40))
def test_an_answer_is_the_same_however_it_is_packed(data: bytes, coding: str, step: int) -> None:
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = {
        "": data,
        "gzip": gzip.compress(data[:7]) + gzip.compress(data[7:]),
        "x-gzip": gzip.compress(data),
        "deflate": zlib.compress(data),
        "raw": raw.compress(data) + raw.flush(),
    }[coding]
    decoder = Decoder(coding.replace("raw", "deflate"), MIB)
    for start in range(0, len(packed), step):
        decoder.feed(packed[start : start + step])

    assert decoder.finished() == data


@given(st.binary(min_size=1), st.sampled_from(["gzip", "deflate"]))
def test_garbage_is_told_as_such(data: bytes, coding: str) -> None:
    decoder = Decoder(coding, MIB)
    try:
        decoder.feed(data)
        decoder.finished()
    except Undecodable:
        return


def test_a_broken_or_unknown_coding_is_told() -> None:
    cut = Decoder("gzip", MIB)
    cut.feed(gzip.compress(b"x" * 5000)[:-9])
    with pytest.raises(Undecodable, match="is not complete"):
        cut.finished()
    with pytest.raises(Undecodable, match="'br', which was not asked for"):
        Decoder("br", MIB)


# --- secrets


def test_a_secret_is_hidden_however_it_was_sent() -> None:
    secrets = Secrets(["s3cret/+ö", "short"])

    assert secrets.hide("a s3cret/+ö b") == "a [secret] b"
    assert secrets.hide("s3cret%2F%2B%C3%B6") == "[secret]"
    assert secrets.hide(json.dumps("s3cret/+ö")) == '"[secret]"'
    assert secrets.hide("a short text") == "a short text"
    assert secrets.hide_in({"a": ["s3cret/+ö", 1]}) == {"a": ["[secret]", 1]}


# --- the files


def read(folder: Path, manifest: str, **environ: str) -> Catalog:
    (folder / "manifests").mkdir()
    (folder / "manifests" / "a.yaml").write_text(
        f"capabilities: [a]\ninstructions: Hi.\n{manifest}"
    )
    return load(folder / "manifests", environ=environ)


@pytest.mark.parametrize(
    ("http", "place", "words"),
    [
        ("{url: 'https://{{ host }}/x'}", "4:17", "`url` takes its host from an argument"),
        ("{url: https://a.test, pick: 'a..b'}", "4:39", "`pick` is not a valid path"),
        ("{url: https://a.test, headers: {Host: b}}", "4:49", "is set by agentd itself"),
        ("{url: https://a.test, allow_private: [10.0.0.1/8]}", "4:33", "hosts and networks"),
        ("{url: https://a.test, heders: {}}", "4:33", "unknown field `heders`; did you mean"),
    ],
)
def test_a_problem_has_its_place(tmp_path: Path, http: str, place: str, words: str) -> None:
    catalog = read(tmp_path, f"tools:\n  - http: {http}\n")
    found = [problem.render() for problem in catalog.problems if problem.severity == "error"]

    assert len(found) == 1, found
    assert words in found[0]
    assert f"a.yaml:{place}: " in found[0]


def test_a_file_remembers_what_the_environment_gave(tmp_path: Path) -> None:
    text = (
        "tools: [{http: {url: 'https://a.test/${NAME:-x}?k=${KEY}', headers: {A: 'B ${TOKEN}'}}}]\n"
    )
    catalog = read(tmp_path, text, KEY="key-123456", TOKEN="token-123456")

    assert set(environment_values(catalog.agents["a"].root)) == {"key-123456", "token-123456"}
