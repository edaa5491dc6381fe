"""Times in the past, as people write them."""

from __future__ import annotations

from datetime import datetime

import pytest
import typer

from agentd.cli.record.past import moment


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)
def test_a_duration_is_so_long_ago(text: str, seconds: int) -> None:
    assert moment("--since", text, 1e9) == 1e9 - seconds


def test_a_time_is_of_this_machine_unless_it_says_another_zone() -> None:
    assert moment("--since", "2026-11-23T09:00Z", 0) == 1795424400
    assert moment("--since", "2026-11-23", 0) == datetime(2026, 11, 23).timestamp()
    assert moment("--since", None, 0) is None


@pytest.mark.parametrize("text", ["yesterday", "", "10", "2026-13-01", "-5m", "0001-01-01"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"--until .* is no time; write 10m"):
        moment("--until", text, 0)
