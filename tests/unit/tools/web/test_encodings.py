"""Compressed answers: unpacked up to a limit, or refused."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.web.encodings import Decoder, Undecodable

MIB = 1024 * 1024


def test_a_bomb_is_unpacked_only_up_to_the_limit() -> None:
    bomb = gzip.compress(bytes(64 * MIB))
    decoder = Decoder("gzip", 1000)
    decoder.feed(bomb)

    assert decoder.full
    assert decoder.taken() == bytes(1000)


@given(st.binary(), st.sampled_from(["gzip", "x-gzip", "deflate", "raw", ""]), st.integers(1, 40))
def test_an_answer_is_the_same_in_every_coding_and_in_pieces(
    data: bytes, coding: str, step: int
) -> None:
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
def test_garbage_is_unpacked_or_refused(data: bytes, coding: str) -> None:
    decoder = Decoder(coding, MIB)
    try:
        decoder.feed(data)
        decoder.finished()
    except Undecodable:
        return


def test_an_incomplete_answer_and_an_unknown_coding_are_refused() -> None:
    cut = Decoder("gzip", MIB)
    cut.feed(gzip.compress(b"x" * 5000)[:-9])
    with pytest.raises(Undecodable, match="is not complete"):
        cut.finished()
    with pytest.raises(Undecodable, match="'br', which was not asked for"):
        Decoder("br", MIB)


@pytest.mark.parametrize("extra", [0, 1])
def test_an_answer_is_full_beyond_the_limit_only(extra: int) -> None:
    decoder = Decoder("", 10)
    decoder.feed(b"x" * (10 + extra))

    assert decoder.full is (extra == 1)
    assert decoder.taken() == b"x" * 10


def test_data_that_is_not_gzip_is_refused() -> None:
    with pytest.raises(Undecodable, match="is not valid"):
        Decoder("gzip", MIB).feed(b"not gzip")
