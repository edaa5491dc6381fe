"""The tokens of a call are found wherever a provider reports them; what is not known is not 0."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.models.port import Usage
from agentd.models.wire.usage import UsageReports

SAID = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def usage(*chunks: dict[str, Any]) -> Usage | None:
    reports = UsageReports()
    for chunk in chunks:
        reports.add(chunk)
    return reports.usage()


@pytest.mark.parametrize(
    "chunk",
    [
        {"usage": SAID},
        {"choices": [], "usage": SAID},
        {"choices": [{"index": 0, "delta": {}, "usage": SAID}]},
        {"x_groq": {"id": "x", "usage": SAID}},
        {"usage": {"prompt_tokens": "10", "completion_tokens": "5"}},
        {"usage": {"prompt_tokens": 10.0, "completion_tokens": 5.0}},
        {"usage": {"prompt_tokens": 10, "total_tokens": 15}},
        {"usage": {"completion_tokens": 5, "total_tokens": 15}},
        {"usage": {"input_tokens": 10, "output_tokens": 5}},
        {"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5}},
        {"usage": None, "timings": {"prompt_n": 10, "predicted_n": 5}},
    ],
)
def test_many_places_and_names_are_known(chunk: dict[str, Any]) -> None:
    assert usage(chunk) == Usage(10, 5)


@pytest.mark.parametrize(
    "report",
    [
        None,
        {},
        [],
        "15",
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"completion_tokens": 5},
        {"total_tokens": 15},
        {"prompt_tokens": "many", "completion_tokens": True},
        {"prompt_tokens": -1, "completion_tokens": float("nan")},
    ],
)
def test_what_is_not_reported_is_unknown(report: Any) -> None:
    assert usage({"usage": report}) is None


def test_the_sums_of_every_chunk_are_not_added() -> None:
    chunks = [{"usage": {"prompt_tokens": 10, "completion_tokens": n}} for n in (1, 3, 5)]
    assert usage(*chunks, {"usage": None}) == Usage(10, 5)


def test_input_and_output_may_come_in_two_chunks() -> None:
    first = {"usage": {"prompt_tokens": 10, "completion_tokens": 1}}
    last = {"usage": {"prompt_tokens": 0, "completion_tokens": 5}}
    assert usage(first, last) == Usage(10, 5)


@pytest.mark.parametrize(
    ("report", "read", "write", "prompt"),
    [
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4}, 4, 0, 10),
        ({"prompt_tokens": 10, "cached_tokens": 4}, 4, 0, 10),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}}, 4, 0, 10),
        ({"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}}, 4, 0, 10),
        (
            {
                "input_tokens": 10,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 2,
            },
            *(4, 2, 16),
        ),
    ],
)
def test_cached_tokens_are_part_of_the_input(
    report: dict[str, Any], read: int, write: int, prompt: int
) -> None:
    counted = usage({"usage": {**report, "output_tokens": 5}})
    assert counted == Usage(prompt, 5, cache_read=read, cache_write=write)
