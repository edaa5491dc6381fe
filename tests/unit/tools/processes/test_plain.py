"""What a function returns, as JSON data."""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentd.tools.processes.plain import NoAnswer, plain
from tests.unit.tools.processes.samples import Colour, Options, Point


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ((1, 2.5, True), [1, 2.5, True]),
        ({1: {"x"}}, {"1": ["x"]}),
        (Options(2), {"detail": 2}),
        (Point(lat=1), {"lat": 1.0, "title": "here"}),
        ([Colour.RED, Decimal("1.5"), Path("a/b")], ["red", "1.5", "a/b"]),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00Z"),
        (deque([1]), [1]),
        ((n for n in range(3)), [0, 1, 2]),
        (b"\xffabc", "�abc"),
        ("\ud800", "?"),
        (float("nan"), "nan"),
    ],
)
def test_what_a_function_answers_is_json(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(expected), allow_nan=False).encode()


def deep(levels: int) -> list[Any]:
    return [deep(levels - 1)] if levels else []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 1_000_001, "more than 1,000,000 characters"),
        ({"x" * 1_000_001: 1}, "more than 1,000,000 characters"),
        (b"x" * 1_000_001, "more than 1,000,000 characters"),
        (iter(int, 1), "more than 1,000,000 characters"),
        (deep(65), "nested deeper than 64 levels"),
        (1 << 9_000, "bits"),
        (object(), "a value of type object, which JSON cannot express"),
        (print, "which JSON cannot express"),
    ],
)
def test_what_no_model_can_be_told(value: Any, text: str) -> None:
    with pytest.raises(NoAnswer, match=text):
        plain(value)
