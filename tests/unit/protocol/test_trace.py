"""Trace context is continued where it is valid, and never breaks a message where it is not."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.protocol.trace import TraceContext, current, entered, headers

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"

contexts = st.builds(
    TraceContext,
    trace_id=st.integers(1, 2**128 - 1).map("{:032x}".format),
    span_id=st.integers(1, 2**64 - 1).map("{:016x}".format),
    sampled=st.booleans(),
    state=st.from_regex(r"([a-z]{1,9}=[a-z0-9]{1,9}(,[a-z]{1,9}=[a-z0-9]{1,9})?)?", fullmatch=True),
)


def test_a_trace_is_continued() -> None:
    accepted = TraceContext.accept({"traceparent": PARENT, "tracestate": "vendor=1"})

    assert accepted == TraceContext(TRACE, SPAN, sampled=True, state="vendor=1")
    child = accepted.child()
    assert child.trace_id == TRACE
    assert child.span_id != SPAN
    assert child.headers() == {
        "traceparent": f"00-{TRACE}-{child.span_id}-01",
        "tracestate": "vendor=1",
    }


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_header_names_count_in_any_case(name: str) -> None:
    assert TraceContext.accept({name: PARENT}).trace_id == TRACE


def test_the_senders_wish_not_to_record_is_kept() -> None:
    accepted = TraceContext.accept({"traceparent": f"00-{TRACE}-{SPAN}-00"})

    assert accepted.child().headers()["traceparent"].endswith("-00")


def test_a_later_version_is_read_as_far_as_we_know_it() -> None:
    accepted = TraceContext.accept({"traceparent": f"01-{TRACE}-{SPAN}-03-news"})

    assert accepted == TraceContext(TRACE, SPAN)
    assert accepted.headers()["traceparent"] == PARENT


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True), ("0a", False)]
)
def test_only_the_lowest_flag_says_that_a_trace_is_sampled(flags: str, sampled: bool) -> None:
    assert TraceContext.accept({"traceparent": f"00-{TRACE}-{SPAN}-{flags}"}).sampled is sampled


def test_a_new_trace_and_a_new_span_have_ids_of_their_own() -> None:
    started = TraceContext.start()
    assert TraceContext.accept(started.headers()) == started
    assert started.headers() == {"traceparent": f"00-{started.trace_id}-{started.span_id}-01"}
    child = started.child()
    assert len(child.span_id) == len(started.span_id) == 16
    assert TraceContext.accept(child.headers()) == child
    assert TraceContext.start().trace_id != started.trace_id


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        f"01-{TRACE}-{SPAN}-01more",
    ],
)
def test_an_invalid_parent_starts_a_new_trace_without_its_state(parent: str) -> None:
    started = TraceContext.accept({"traceparent": parent, "tracestate": "vendor=1"})

    assert started.trace_id != TRACE
    assert started.state == ""


@pytest.mark.parametrize("state", ["a=1\r\nNats-TTL: 1s", "a=\u00fc", "a=" + "x" * 512])
def test_a_state_that_cannot_be_a_header_is_dropped(state: str) -> None:
    assert TraceContext.accept({"traceparent": PARENT, "tracestate": state}).state == ""


@given(contexts)
def test_what_is_sent_is_what_is_accepted(context: TraceContext) -> None:
    assert TraceContext.accept(context.headers()) == context


@given(st.dictionaries(st.sampled_from(["traceparent", "tracestate", "Traceparent"]), st.text()))
def test_any_headers_give_a_valid_context(headers: dict[str, str]) -> None:
    context = TraceContext.accept(headers)

    assert TraceContext.accept(context.headers()) == context


def test_headers_that_name_no_span_give_none() -> None:
    assert TraceContext.of({}) is None
    assert TraceContext.of({"traceparent": "broken"}) is None
    assert TraceContext.of({"Traceparent": PARENT}) == TraceContext(TRACE, SPAN)


async def test_what_a_task_starts_belongs_to_its_span() -> None:
    span = TraceContext(TRACE, SPAN)

    async def child() -> TraceContext | None:
        return current()

    with entered(span):
        assert headers() == {"traceparent": PARENT}
        running = asyncio.create_task(child())
    assert (current(), headers()) == (None, {})
    assert await running == span


def test_a_span_that_is_none_leaves_the_current_one() -> None:
    span = TraceContext(TRACE, SPAN)
    with entered(span), entered(None):
        assert current() == span
