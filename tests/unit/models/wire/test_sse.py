"""Events are the same however the bytes were cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.models.wire.sse import EventStream

# What JSON may contain. Newlines are left out: JSON escapes them.
data = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])).map(str.encode)


@given(
    st.lists(data.filter(bytes.strip), max_size=8),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 300), max_size=12),
)
def test_events_do_not_depend_on_the_cuts(
    events: list[bytes], newline: bytes, cuts: list[int]
) -> None:
    wire = b"".join(
        b": a comment" + newline + b"event: x" + newline + b"data: " + event + newline + newline
        for event in events
    )
    bounds = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    stream = EventStream()
    pieces = [wire[start:end] for start, end in itertools.pairwise(bounds)]
    assert [event for piece in pieces for event in stream.feed(piece)] == events
    assert stream.pending == 0


def test_data_lines_of_one_event_are_joined() -> None:
    assert EventStream().feed(b"data: a\ndata:b\n\n") == [b"a\nb"]


def test_an_unfinished_event_is_held_back_and_counted() -> None:
    stream = EventStream()
    assert stream.feed(b"data: a\n\ndata: bc") == [b"a"]
    assert stream.pending == len(b"data: bc")
    assert stream.feed(b"\n") == []
    assert stream.pending == len(b"bc")
    assert stream.feed(b"\n") == [b"bc"]


def events(wire: bytes) -> list[bytes]:
    stream = EventStream()
    return [*stream.feed(wire), *stream.end()]


@pytest.mark.parametrize(
    ("wire", "found"),
    [
        (b"\xef\xbb\xbfdata: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:\n\ndata: \n\ndata: a\n\n", [b"a"]),
        (b"data: a\n\ndata: b", [b"a", b"b"]),
        (b"data: a\n\ndata: b\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b": ping\n\nevent: x\nid: 1\nretry: 5\ndata: a\n\n: ping\n\n", [b"a"]),
        (b'data: a\n\n{"error": "x"}\n', [b"a", b'{"error": "x"}']),
        (
            b'event: error\ndata: {"message": "x"}\n\ndata: a\n\n',
            [b'{"error": {"message": "x"}}', b"a"],
        ),
        (b"event: error\ndata: gone\n\n", [b"gone"]),
        (b"", []),
    ],
    ids=[
        *("byte order mark", "blank data", "no line end", "no empty line", "CR LF", "other fields"),
        *("bare JSON", "an event named error", "an error in words", "nothing"),
    ],
)
def test_streams_as_servers_send_them(wire: bytes, found: list[bytes]) -> None:
    assert events(wire) == found


def test_a_line_feed_after_a_cut_between_cr_and_lf_is_no_empty_line() -> None:
    stream = EventStream()
    assert stream.feed(b"data: a\r") == []
    assert stream.feed(b"\ndata: b\r\n\r\n") == [b"a\nb"]
