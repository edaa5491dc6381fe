"""The forms of `triggers`, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.agent import Manifest
from agentd.manifest.triggers.trigger import Trigger

Read = Callable[..., Manifest]
ProblemOf = Callable[[str], str]


def one(manifest: Read, trigger: str) -> Trigger:
    [found] = manifest(f"capabilities: a\ntriggers: [{trigger}]").triggers
    return found


def test_a_webhook_starts_a_task_for_its_own_agent(manifest: Read) -> None:
    found = one(manifest, "{webhook: github, verify: {github: s3cret}}")

    assert (found.kind, found.name, found.task) == ("webhook", "github", None)
    assert found.verify
    assert (found.verify.kind, found.verify.github) == ("github", ("s3cret",))
    assert (found.answer, found.timeout, found.is_unsigned) == ("accepted", 30.0, False)


def test_several_secrets_count_while_one_replaces_another(manifest: Read) -> None:
    found = one(manifest, "{webhook: w, verify: {slack: [new, old]}}")

    assert found.verify
    assert found.verify.slack == ("new", "old")


def test_only_none_accepts_everyone(manifest: Read) -> None:
    found = one(manifest, "{webhook: w, verify: none}")

    assert found.is_unsigned
    assert found.verify
    assert found.verify.kind == "none"


@pytest.mark.parametrize("task", ["@other", "review", "review.pull_request"])
def test_a_task_goes_to_an_agent_a_capability_or_a_topic(manifest: Read, task: str) -> None:
    assert one(manifest, f"{{nats: orders.created, task: '{task}'}}").task == task


@pytest.mark.parametrize("subject", ["orders", "orders.created", "orders.*.eu", "orders.>"])
def test_a_subject_may_have_wildcards_after_its_first_part(manifest: Read, subject: str) -> None:
    assert one(manifest, f"{{nats: '{subject}'}}").name == subject


@pytest.mark.parametrize("files", ["inbox/*", "in/box/*.pdf", "/srv/inbox/report-?.txt"])
def test_files_are_a_folder_and_a_pattern(manifest: Read, files: str) -> None:
    assert one(manifest, f"{{files: '{files}'}}").name == files


def test_a_callback_is_a_url_or_an_expression(manifest: Read) -> None:
    fixed = one(manifest, "{nats: a.b, callback: 'https://example.org/done'}")
    given = one(manifest, "{nats: a.b, callback: body.reply}")

    assert fixed.callback
    assert fixed.callback.is_fixed
    assert given.callback
    assert not given.callback.is_fixed


def test_until_goes_with_an_answer_or_a_callback(manifest: Read) -> None:
    bearer = "verify: {bearer: t}"
    waits = one(manifest, f"{{webhook: w, {bearer}, answer: until, until: event.answer.ready}}")
    posts = one(manifest, "{nats: a.b, callback: 'https://a.example', until: result.report.*}")

    assert waits.until == "event.answer.ready"
    assert posts.until == "result.report.*"


@pytest.mark.parametrize(
    ("trigger", "problem"),
    [
        ("{webhook: w}", "`triggers` needs `verify`: else everyone could start the task"),
        ("{webhook: w, nats: a.b}", "`triggers` needs exactly one of webhook, nats, files"),
        ("{task: a}", "`triggers` needs exactly one of webhook, nats, files"),
        (
            "{webhook: w, verify: none, public: true}",
            "`triggers.public` would let everyone start the task",
        ),
        ("{nats: a.b, public: true}", "`triggers.public` has no effect with `nats`"),
        ("{webhook: a/b, verify: none}", "`triggers.webhook` must be 1 to 64 of"),
        ("{webhook: w, verify: nobody}", "`triggers.verify` must be a mapping with a secret"),
        ("{webhook: w, verify: {}}", "`triggers.verify` needs exactly one of github, slack"),
        (
            "{webhook: w, verify: {github: a, slack: b}}",
            "`triggers.verify` needs exactly one of github, slack",
        ),
        ("{webhook: w, verify: {github: ''}}", "`triggers.verify.github` is an empty secret"),
        ("{webhook: w, verify: {bearer: ' '}}", "`triggers.verify.bearer` is an empty secret"),
        ("{webhook: w, verify: {slack: []}}", "`triggers.verify.slack` is empty"),
        ("{webhook: w, verify: {hmac: {}}}", "`triggers.verify.hmac.secret` is missing"),
        (
            "{webhook: w, verify: {hmac: {secret: s, header: 'a b'}}}",
            "`triggers.verify.hmac.header` must be the name of a header",
        ),
        (
            "{webhook: w, verify: {github: s, tolerance: 1m}}",
            "`triggers.verify.tolerance` has no effect with `github`",
        ),
        ("{nats: a.b, verify: none}", "`triggers.verify` has no effect with `nats`"),
        ("{files: a/*, answer: result}", "`triggers.answer` has no effect with `files`"),
        ("{nats: agents.dev.task.a.b}", "`triggers.nats` is a subject of agentd or of the server"),
        ("{nats: ring.dev.a.b.5}", "`triggers.nats` is a subject of agentd or of the server"),
        ("{nats: $JS.API.STREAM.LIST}", "`triggers.nats` is a subject of agentd or of the server"),
        ("{nats: '>'}", "`triggers.nats` must be a subject of NATS"),
        ("{nats: '*.created'}", "`triggers.nats` must be a subject of NATS"),
        ("{nats: a..b}", "`triggers.nats` must be a subject of NATS"),
        ("{nats: a.>.b}", "`triggers.nats` must be a subject of NATS"),
        ("{files: '*'}", "`triggers.files` must be a folder and a pattern"),
        ("{files: in*/a}", "`triggers.files` must be a folder and a pattern"),
        ("{files: in/**}", "`triggers.files` must be a folder and a pattern"),
        ("{files: ../in/*}", "`triggers.files` must not have .."),
        ("{nats: a.b, task: _route.abc}", "`triggers.task` is no target of a task"),
        ("{nats: a.b, task: '@'}", "`triggers.task` is no target of a task"),
        ("{nats: a.b, task: a.b.c}", "`triggers.task` is no target of a task"),
        ("{webhook: w, verify: none, answer: until}", "`triggers.answer` needs `until`"),
        ("{nats: a.b, until: event.a.b}", "`triggers.until` has no effect"),
        (
            "{webhook: w, verify: none, answer: result, until: event.a.b, callback: http://a}",
            "`triggers.answer` cannot wait for the result and for `until`",
        ),
        ("{webhook: w, verify: none, timeout: 11m}", "`triggers.timeout` must be at most 600"),
        (
            "{webhook: w, verify: none, callback: body.url}",
            "`triggers.callback` takes the URL from a request that nobody has signed",
        ),
        ("{nats: a.b, callback: 'http://a/{{ x }}'}", "`triggers.callback` cannot have"),
        ("{nats: a.b}, {nats: a.b}", "`triggers` has two triggers for nats `a.b`"),
    ],
)
def test_an_invalid_trigger_is_a_problem(problem_of: ProblemOf, trigger: str, problem: str) -> None:
    assert problem_of(f"triggers: [{trigger}]").partition(" ")[2].startswith(problem)
