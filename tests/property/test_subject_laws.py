"""The subjects of agentd and those of a real nats-server follow the same rules."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import nats
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg

from agentd.errors import SubjectError, UsageError
from agentd.protocol.subjects import TOKEN, Subject, Subjects, matches

# Few and short tokens, so that patterns match often. The server treats `a*` and `>a` as text.
PLAIN = ["a", "b", "ab", "A", "_a", "-", "$a", "a*", "*a", ">a", "a>"]

subjects = st.lists(st.sampled_from(PLAIN), min_size=1, max_size=4).map(".".join)
patterns = st.builds(
    lambda tokens, tail: ".".join([*tokens, *tail]),
    st.lists(st.sampled_from(["a", "b", "*", "*", "a*"]), max_size=3),
    st.sampled_from([["a"], ["*"], [">"], [">"]]),
)
tokens = st.from_regex(TOKEN, fullmatch=True)
texts = tokens | st.text(max_size=5)

with_a_server = settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def delivered(url: str, wanted: set[str], given: list[str]) -> dict[str, Counter[str]]:
    """The subjects that each pattern of `wanted` receives when `given` are published."""
    client = await nats.connect(url, skip_subject_validation=True)
    got: dict[str, Counter[str]] = {pattern: Counter() for pattern in wanted}
    for pattern in wanted:
        await subscribe(client, pattern, got[pattern])
    await fence(client)
    for subject in given:
        await client.publish(subject, b"law")
    await fence(client)
    await client.drain()
    return got


async def subscribe(client: Client, pattern: str, got: Counter[str]) -> None:
    async def count(message: Msg) -> None:
        if message.data == b"law":
            got[message.subject] += 1

    await client.subscribe(pattern, cb=count)


async def fence(client: Client) -> None:
    """Returns when the server has received everything. One flush can overtake queued messages."""
    await client.flush()
    await client.flush()


@with_a_server
@given(st.sets(patterns, min_size=1, max_size=8), st.lists(subjects, min_size=1, max_size=12))
async def test_matching_agrees_with_the_server(
    nats_url: str, wanted: set[str], published: list[str]
) -> None:
    got = await delivered(nats_url, wanted, published)
    for pattern in wanted:
        assert got[pattern] == Counter(s for s in published if matches(pattern, s)), pattern


async def test_the_server_ignores_subjects_with_an_empty_token(nats_url: str) -> None:
    broken = ["a..b", ".a", "a.", ".", ".."]
    assert await delivered(nats_url, {">"}, broken) == {">": Counter()}
    assert not any(matches(">", subject) for subject in broken)


@pytest.mark.parametrize("pattern", ["a..b", ".a", "a.", ">.a", "a.>.b"])
async def test_the_server_refuses_the_patterns_that_match_nothing(
    nats_url: str, pattern: str
) -> None:
    closed = asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    client = await nats.connect(
        nats_url, skip_subject_validation=True, allow_reconnect=False, closed_cb=on_closed
    )
    await client.subscribe(pattern)
    await asyncio.wait_for(closed.wait(), 10)
    assert "invalid subject" in str(client.last_error).lower()
    for subject in ("a..b", ".a", "a.", "a.x.b", "x.a", "a.b", pattern):
        assert not matches(pattern, subject)


@with_a_server
@given(tokens, tokens, tokens, st.none() | st.integers(0, 9))
async def test_a_built_subject_arrives_and_is_parsed_to_its_parts(
    nats_url: str, env: str, domain: str, specificity: str, task_id: str, priority: int | None
) -> None:
    ours = Subjects(env)
    built = {
        ours.task(domain, specificity, priority): f"agents.{env}.task.>",
        ours.result(domain, specificity, task_id): f"agents.*.result.*.*.{task_id}",
        ours.event(domain, specificity): ours.pattern("event.*.*"),
        ours.query(domain, specificity): f"agents.{env}.query.{domain}.*",
        ours.stream(task_id): ours.pattern("stream.response.*"),
        ours.dlq(domain, specificity): ours.pattern("dlq.>"),
    }
    got = await delivered(nats_url, {ours.everything, *built.values()}, list(built))
    assert got[ours.everything] == Counter(list(built))
    for subject, pattern in built.items():
        assert got[pattern] == Counter([subject])
        assert str(Subject.parse(subject)) == subject
    task = Subject.parse(ours.task(domain, specificity, priority))
    assert (task.domain, task.specificity) == (domain, specificity)
    assert task.priority == (5 if priority is None else priority)


@given(texts, texts, texts)
def test_any_texts_build_a_valid_subject_or_are_refused(
    domain: str, specificity: str, task_id: str
) -> None:
    try:
        built = Subjects("dev").result(domain, specificity, task_id)
    except SubjectError:
        assert not all(re.fullmatch(TOKEN, text) for text in (domain, specificity, task_id))
    else:
        assert Subject.parse(built) == Subject("dev", "result", domain, specificity, (task_id,))


@given(st.text() | st.lists(texts | st.sampled_from(["agents", "task"]), max_size=7).map(".".join))
def test_any_text_is_parsed_to_itself_or_refused(text: str) -> None:
    try:
        parsed = Subject.parse(text)
    except SubjectError:
        return
    assert str(parsed) == text


@given(texts)
def test_an_environment_is_accepted_or_refused(name: str) -> None:
    try:
        subjects_of = Subjects(name)
    except UsageError:
        return
    assert Subject.parse(subjects_of.event("status", "online")).env == name


@given(patterns, subjects)
def test_a_subject_matches_itself_and_everything(pattern: str, subject: str) -> None:
    assert matches(subject, subject)
    assert matches(">", subject)
    if matches(pattern, subject):
        assert matches(f"a.{pattern}", f"a.{subject}")
        assert matches("*." + pattern, f"a.{subject}")
