"""Every subject, built and taken apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

import pytest

from agentd.errors import SubjectError, UsageError
from agentd.protocol.subjects import (
    RESERVED_ENVIRONMENTS,
    Subject,
    Subjects,
    digest,
    environment,
    environment_of,
    matches,
    parse_work,
    token,
)

DEV = Subjects("dev")
LONGEST = "x" * 64


@pytest.mark.parametrize(
    ("build", "subject"),
    [
        (lambda: DEV.task("analysis", "sentiment"), "agents.dev.task.analysis.sentiment"),
        (lambda: DEV.task("analysis", "sentiment", 0), "agents.dev.task.analysis.sentiment.0"),
        (lambda: DEV.task("analysis", "sentiment", 9), "agents.dev.task.analysis.sentiment.9"),
        (lambda: DEV.task_for("analyst"), "agents.dev.task._agent.analyst"),
        (lambda: DEV.task_for("analyst", 9), "agents.dev.task._agent.analyst.9"),
        (
            lambda: DEV.result("generation", "code", "t-1"),
            "agents.dev.result.generation.code.t-1",
        ),
        (lambda: DEV.event("status", "heartbeat"), "agents.dev.event.status.heartbeat"),
        (lambda: DEV.query("analysis", "sentiment"), "agents.dev.query.analysis.sentiment"),
        (lambda: DEV.stream("t-1"), "agents.dev.stream.response.t-1"),
        (lambda: DEV.dlq("analysis", "sentiment"), "agents.dev.dlq.analysis.sentiment"),
    ],
)
def test_public_subjects_are_built_and_parsed(build: Callable[[], str], subject: str) -> None:
    assert build() == subject
    assert str(Subject.parse(subject)) == subject
    assert matches(DEV.everything, subject)


def test_patterns() -> None:
    assert DEV.everything == "agents.dev.>"
    assert DEV.ring == "ring.dev.>"
    assert DEV.cooldown == "agentd.dev.cooldown"
    assert DEV.group == "agentd.dev"
    assert DEV.all_work == "work.dev.>"
    assert DEV.work("analysis", priority=7) == "work.dev.analysis.*.7"
    assert DEV.work("_agent", "analyst") == "work.dev._agent.analyst.*"
    assert DEV.pattern("event.status.*") == "agents.dev.event.status.*"
    assert DEV.pattern("result.>") == "agents.dev.result.>"
    assert DEV.pattern(">") == DEV.everything
    assert DEV.group == "agentd.dev"
    assert DEV.stored("result.*.*.*") == "stored.dev.result.*.*.*"


@pytest.mark.parametrize("kind", ["agent", "message", "approval", "join"])
def test_schedules_of_a_kind_have_one_subject_each_and_a_pattern_for_all(
    kind: Literal["agent", "message", "approval", "join"],
) -> None:
    assert DEV.schedule(kind, "x") == f"sched.dev.{kind}.x"
    assert DEV.schedule(kind, "*") == f"sched.dev.{kind}.*"
    with pytest.raises(SubjectError, match=rf"^{kind} 'a\.b' must be"):
        DEV.schedule(kind, "a.b")


def test_a_digest_is_a_token_of_32_characters_for_any_text() -> None:
    texts = ["", "chat 12", "a.b.>", "x" * 10_000, "\ud800"]
    digests = {digest(text) for text in texts}
    assert len(digests) == len(texts)
    for found in digests:
        assert (token(found, "digest"), len(found)) == (found, 32)
    # Stored accounts and memories are found again under it.
    assert digest("chat 12") == hashlib.sha256(b"chat 12").hexdigest()[:32]


def test_a_subject_is_made_relative_to_its_environment() -> None:
    assert DEV.relative("agents.dev.event.a.b") == "event.a.b"
    assert DEV.relative("event.a.b") == "event.a.b"
    with pytest.raises(UsageError, match="belongs to the environment 'prod'; say --env prod"):
        DEV.relative("agents.prod.event.a.b")
    with pytest.raises(UsageError, match="'develop'"):
        DEV.relative("agents.develop.event.a.b")


def test_only_a_public_subject_has_an_environment() -> None:
    assert environment_of("agents.dev.event.a.b") == "dev"
    assert environment_of("$KV.agents.dev.a") is None


@pytest.mark.parametrize("rest", ["", "event.", "event..x", ">.x", "event.a b", "event.a*"])
def test_a_pattern_that_the_server_would_refuse_or_misread_is_an_error(rest: str) -> None:
    with pytest.raises(SubjectError):
        DEV.pattern(rest)


@pytest.mark.parametrize("text", ["", "a.b", "a b", "*", ">", "a\n", "é", "x" * 65, "$SYS", "{x}"])
def test_a_text_that_is_no_token_is_refused_wherever_it_stands(text: str) -> None:
    attempts: list[Callable[[], str]] = [
        lambda: token(text, "name"),
        lambda: DEV.task(text, "x"),
        lambda: DEV.task("x", text),
        lambda: DEV.task_for(text),
        lambda: DEV.result("x", "y", text),
        lambda: DEV.stream(text),
        lambda: DEV.work(text),
        lambda: DEV.work("_agent", text),
    ]
    for attempt in attempts:
        with pytest.raises(SubjectError, match="must be 1 to 64 of A-Z a-z 0-9 _ -"):
            attempt()


def test_a_refusal_names_what_was_refused() -> None:
    with pytest.raises(SubjectError, match=r"^capability 'a\.b' must be"):
        token("a.b", "capability")
    assert token(LONGEST, "capability") == LONGEST


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda: DEV.task("a.b", "x"), "domain 'a.b' must"),
        (lambda: DEV.task("x", "a.b"), "specificity 'a.b' must"),
        (lambda: DEV.task_for("a.b"), "agent 'a.b' must"),
        (lambda: DEV.result("x", "y", "a.b"), "task id 'a.b' must"),
        (lambda: DEV.stream("a.b"), "task id 'a.b' must"),
        (lambda: DEV.work("a.b"), "domain 'a.b' must"),
        (lambda: DEV.work("x", "a.b"), "specificity 'a.b' must"),
        (lambda: DEV.pattern("event.a b"), "in 'event.a b' the part 'a b' must"),
        (lambda: Subjects("a.b"), "environment 'a.b' must"),
        (lambda: DEV.task("x", "y", 10), "priority 10 must"),
        (lambda: DEV.task("x", "y", -1), "priority -1 must"),
    ],
)
def test_an_error_names_the_part_of_the_subject(build: Callable[[], object], what: str) -> None:
    with pytest.raises((SubjectError, UsageError)) as refused:
        build()
    assert str(refused.value).startswith(what)


@pytest.mark.parametrize(
    ("pattern", "subject", "match"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a", False),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("*.*", "a.b", True),
        ("*", "a.b", False),
        (">", "a", True),
        (">", "a.b.c", True),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.>", "b.c", False),
        ("a*", "ab", False),
        ("a>", "ab", False),
        ("a..b", "a..b", False),
        ("a.*.b", "a..b", False),
        ("a.>", "a.b.", False),
        (".>", ".a", False),
        ("a.b.", "a.b.", False),
        (">.b", ">.b", False),
        ("a.>.b", "a.>.b", False),
        ("a.>.>", "a.>.b", False),
    ],
)
def test_a_pattern_matches_as_on_the_server(pattern: str, subject: str, match: bool) -> None:
    """`tests/property/test_subject_laws.py` asks a real server."""
    assert matches(pattern, subject) is match


@pytest.mark.parametrize("priority", [-1, 10])
def test_a_priority_is_one_digit(priority: int) -> None:
    with pytest.raises(SubjectError, match="0 to 9"):
        DEV.task("analysis", "sentiment", priority)
    with pytest.raises(SubjectError, match="0 to 9"):
        DEV.work("analysis", priority=priority)


@pytest.mark.parametrize("name", [*sorted(RESERVED_ENVIRONMENTS), "", "a.b", "*"])
def test_an_environment_must_not_collide_with_another_protocol(name: str) -> None:
    with pytest.raises(UsageError):
        environment(name)
    with pytest.raises(UsageError):
        Subjects(name)
    with pytest.raises(SubjectError):
        Subject.parse(f"agents.{name}.event.status.online")


def test_the_reserved_environments_are_those_of_the_design() -> None:
    assert " ".join(sorted(RESERVED_ENVIRONMENTS)) == (
        "attachments hb list prompt spawn status stop"
    )
    assert environment("prod") == "prod"
    with pytest.raises(UsageError) as refused:
        environment("hb")
    assert str(refused.value).startswith("environment 'hb' is a word of the Synadia agent protocol")
    assert str(refused.value).endswith("attachments, hb, list, prompt, spawn, status, stop")


def test_the_parts_of_a_task() -> None:
    task = Subject.parse("agents.prod.task.analysis.sentiment")
    assert (task.env, task.type, task.domain, task.specificity, task.rest) == (
        "prod",
        "task",
        "analysis",
        "sentiment",
        (),
    )
    assert task.priority == 5
    assert task.task_id is None
    assert Subject.parse("agents.prod.task.analysis.sentiment.8").priority == 8


def test_results_and_streams_name_their_task() -> None:
    assert Subject.parse(DEV.result("analysis", "sentiment", "7")).task_id == "7"
    assert Subject.parse(DEV.result("analysis", "sentiment", "7")).priority == 5
    assert Subject.parse(DEV.stream("t-1")).task_id == "t-1"
    assert Subject.parse(DEV.event("status", "online")).task_id is None


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "agents",
        "agents.dev.task.analysis",
        "agents.dev.task.analysis.sentiment.12",
        "agents.dev.task.analysis.sentiment.x",
        "agents.dev.task.analysis.sentiment.5.more",
        "agents.dev.task.analysis.*",
        "agents.dev.result.analysis.sentiment",
        "agents.dev.result.analysis.sentiment.id.more",
        "agents.dev.event.status.online.more",
        "agents.dev.stream.response.id.more",
        "agents.dev.unknown.a.b",
        "agents.dev.task..sentiment",
        "others.dev.task.analysis.sentiment",
        "work.dev.analysis.sentiment.5",
    ],
)
def test_a_foreign_subject_is_not_parsed(subject: str) -> None:
    with pytest.raises(SubjectError, match="is not a subject of agentd"):
        Subject.parse(subject)


@pytest.mark.parametrize("root", ["work", "ring"])
def test_stored_work_and_its_doorbell_name_the_task(root: str) -> None:
    task = parse_work(f"{root}.dev.analysis.sentiment.3")
    assert str(task) == "agents.dev.task.analysis.sentiment.3"
    assert task.priority == 3
    assert matches(DEV.work("analysis", priority=3), "work.dev.analysis.sentiment.3")


@pytest.mark.parametrize(
    "subject",
    [
        "work.dev.analysis.sentiment",
        "work.dev.a.b.x",
        "work.dev.a.b.3.4",
        "ring",
        "agents.dev.a.b.3",
    ],
)
def test_anything_else_is_no_work(subject: str) -> None:
    with pytest.raises(SubjectError):
        parse_work(subject)


def test_a_long_subject_is_shortened_in_its_error() -> None:
    with pytest.raises(SubjectError) as refused:
        Subject.parse("agents." + "x" * 10_000)
    assert str(refused.value) == f"'agents.{'x' * 72}…' is not a subject of agentd"


@pytest.mark.parametrize(
    ("length", "shown"), [(80, "x" * 80), (81, "x" * 79 + "…"), (10_000, "x" * 79 + "…")]
)
def test_an_error_shows_at_most_80_characters_of_a_name(length: int, shown: str) -> None:
    with pytest.raises(SubjectError) as refused:
        token("x" * length, "name")
    assert str(refused.value) == f"name '{shown}' must be 1 to 64 of A-Z a-z 0-9 _ -"
