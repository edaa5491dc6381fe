"""The headers of a message are read as nats-py reads them, whatever their bytes."""

from __future__ import annotations

import nats.aio.client
from hypothesis import given
from hypothesis import strategies as st

from agentd.nats.client import Client

BYTES = [b"a", b":", b" ", b"\r", b"\n", b"\xc3", b"\xa9", b"\t", b"\x1c"]


@given(st.lists(st.sampled_from(BYTES)))
def test_any_bytes_of_headers_are_what_nats_py_reads(parts: list[bytes]) -> None:
    raw = b"".join(parts)
    assert Client._parse_header_lines(raw) == (  # pyright: ignore[reportPrivateUsage]
        nats.aio.client.Client._parse_header_lines(raw)  # pyright: ignore[reportPrivateUsage]
    )
