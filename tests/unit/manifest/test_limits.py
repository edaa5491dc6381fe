"""The limits, retries, history and output of a manifest: their bounds and defaults."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.agent import Manifest
from agentd.manifest.limits import History, Limits, Retry

Read = Callable[..., Manifest]
ProblemOf = Callable[[str], str]


def test_every_limit_has_a_default() -> None:
    limits, retry, history = Limits(), Retry(), History()

    assert (limits.concurrency, limits.timeout, limits.turns, limits.hops) == (8, 120.0, 10, 16)
    assert (limits.cost, limits.conversation_cost, limits.rate) == (0.5, 5.0, None)
    assert (retry.attempts, retry.backoff, retry.max_backoff) == (5, 1.0, 60.0)
    assert (history.max_messages, history.max_tokens, history.keep) == (20, 4000, 5)
    assert (history.compact, history.model) == ("summarize", None)


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("limits: {concurrency: %s}", 1, 10_000),
        ("limits: {turns: %s}", 1, 1_000_000),
        ("limits: {hops: %s}", 1, 1000),
        ("limits: {cost: %s}", 0, 1_000_000),
        ("limits: {conversation_cost: %s}", 0, 1_000_000),
        ("retry: {attempts: %s}", 1, 100),
        ("history: {max_messages: %s}", 1, 1_000_000),
        ("history: {max_tokens: %s}", 1, 1_000_000),
        ("history: {keep: %s}", 0, 1000),
        ("output: {schema: {}, retries: %s}", 0, 10),
    ],
)
def test_a_number_has_bounds(
    manifest: Read, problem_of: ProblemOf, field: str, least: int, most: int
) -> None:
    for value in (least, most):
        assert manifest(f"capabilities: a\n{field % value}")
    assert f"must be at least {least:g}" in problem_of(field % (least - 1))
    assert f"must be at most {most:g}" in problem_of(field % (most + 1))


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("limits: {concurrency: '8'}", "2:23 `limits.concurrency` must be a whole number; "),
        ("limits: {concurrency: 1.5}", "2:23 `limits.concurrency` must be a whole number; "),
        ("limits: {cost: many}", "2:16 `limits.cost` must be a number; "),
        (
            "history: {compact: summarise}",
            "2:20 `history.compact` must be `summarize` or `trim`; did you mean `summarize`?",
        ),
        ("output: {schema: 5}", "2:18 `output.schema` must be a JSON Schema or a file name; "),
        ("output: {retries: 2}", "2:1 `output.schema` is missing; "),
    ],
)
def test_a_wrong_value_is_a_problem(problem_of: ProblemOf, field: str, problem: str) -> None:
    assert problem_of(field) == problem


def test_a_schema_is_given_in_place_or_as_a_file(manifest: Read) -> None:
    in_place = manifest("capabilities: a\noutput: {schema: {type: object}}").output
    in_file = manifest("capabilities: a\noutput: {schema: answer.json}").output

    assert in_place
    assert in_file
    assert (in_place.schema_, in_file.schema_) == ({"type": "object"}, "answer.json")
