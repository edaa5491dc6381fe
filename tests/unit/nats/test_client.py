"""What a client of ours reads as nats-py's own would, and what it tells from it."""

from __future__ import annotations

import asyncio

import nats.aio.client
import pytest

from agentd.nats.client import Client, status_of, wire_size
from tests.memory_bus import message

HEADERS = [
    b"Nats-Msg-Id: a\r\nTraceparent:00-1\r\n",
    "Word:  w\u00e9rt \u00a0\r\n".encode(),
    b"Two Words: x\r\nTab\tbed: x\r\n: none\r\nno colon\r\n",
    b"W\xc3\xb6rd: x\r\nHalf: \xff\xc3\r\nLast: y",
    b"Same: 1\r\nSame: 2\r\n\r\n",
]


def of_nats_py(raw: bytes) -> dict[str, str]:
    return nats.aio.client.Client._parse_header_lines(raw)  # pyright: ignore[reportPrivateUsage]


def ours(raw: bytes) -> dict[str, str]:
    return Client._parse_header_lines(raw)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("raw", HEADERS)
def test_headers_are_what_nats_py_reads(raw: bytes) -> None:
    assert ours(raw) == of_nats_py(raw)


def test_only_a_control_frame_has_a_status() -> None:
    status = {"Status": "404"}
    assert status_of(message(b"", status)) == "404"
    assert status_of(message(b"data", status)) == ""
    assert status_of(message(b"", status, reply="$JS.ACK.x")) == ""
    assert status_of(message(b"", {**status, "Nats-Sequence": "1"})) == ""
    assert status_of(message(b"")) == ""


def test_a_size_is_that_of_the_payload_and_the_encoded_headers() -> None:
    assert wire_size(b"12345", None) == 5
    encoded = "NATS/1.0\r\nName: w\u00e9rt\r\n\r\n".encode()
    assert wire_size(b"12345", {"Name": "w\u00e9rt"}) == 5 + len(encoded)


async def test_a_pong_for_which_nobody_waits_any_more_is_taken() -> None:
    client = Client()
    late, expected = asyncio.Future[bool](), asyncio.Future[bool]()
    late.cancel()
    client._pongs = [late, expected]  # pyright: ignore[reportPrivateUsage]
    await client._process_pong()  # pyright: ignore[reportPrivateUsage]
    assert not expected.done()
    await client._process_pong()  # pyright: ignore[reportPrivateUsage]
    assert expected.done()
