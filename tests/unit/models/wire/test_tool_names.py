"""Names of tools: those that providers take stay, others are made to fit and stay apart."""

from __future__ import annotations

import re

import pytest

from agentd.models.wire.tool_names import fitting


@pytest.mark.parametrize("name", ["a", "read_file", "x" * 64, "A-9_"])
def test_a_name_that_providers_take_stays(name: str) -> None:
    assert fitting(name) == name


@pytest.mark.parametrize("name", ["", "a.b", "ü", "x" * 65, "a b" * 50, "\udcff"])
def test_any_other_name_is_made_to_fit(name: str) -> None:
    assert re.fullmatch("[A-Za-z0-9_-]{1,64}", fitting(name))


def test_names_that_begin_alike_stay_apart() -> None:
    assert fitting("x" * 80 + "a") != fitting("x" * 80 + "b")
    assert fitting("a.b", {"a_b"}).startswith("a_b_")
