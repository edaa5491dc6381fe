"""Events are the same however the bytes were cut into pieces."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from agentd.models.sse import EventStream

# What JSON may contain. Newlines are left out: JSON escapes them.
data = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])).map(str.encode)


@given(
    st.lists(data.filter(bool), max_size=8),
    st.sampled_from([b"\n", b"\r\n"]),
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
