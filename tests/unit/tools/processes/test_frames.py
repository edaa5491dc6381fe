"""Frames: messages with their length in front, in pieces of any size."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.processes.frames import LENGTH, MOST, Frames, FrameTooLong, frame

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(messages=st.lists(JSON, max_size=5), cuts=st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    messages: list[Any], cuts: list[int]
) -> None:
    data = b"".join(map(frame, messages))
    frames, got, at = Frames(), [], 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        got += frames.feed(data[at : at + size])
        at += size

    assert got == messages


def test_a_frame_that_is_too_long_is_not_read() -> None:
    with pytest.raises(FrameTooLong):
        list(Frames().feed(LENGTH.pack(MOST + 1)))
