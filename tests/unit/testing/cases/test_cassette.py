"""Cassettes: what is recorded, what is kept, and which parts of a call have changed since."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import UsageError
from agentd.models.port import ChatRequest
from agentd.testing.cases.case import Case, Expectation, Suite
from agentd.testing.cases.cassette import Recording, digests, record, recorded

REQUEST = ChatRequest(
    messages=({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}),
    parameters={"temperature": 0},
    timeout=1,
)


def suite(folder: Path, *names: str) -> Suite:
    cases = [Case(name=name, expect=Expectation()) for name in names]
    return Suite(folder / "me.test.yaml", "me", None, cases)


def test_what_is_recorded_is_read_again(tmp_path: Path) -> None:
    mine = suite(tmp_path, "a", "b")
    assert recorded(mine) == {}
    first = Recording(turns=[{"text": "x"}], task="t", at=5.0, asked=digests(REQUEST))
    record(mine, {"a": first})
    record(mine, {"b": Recording(turns=[])})
    assert recorded(mine) == {"a": first, "b": Recording(turns=[])}
    assert [path.name for path in tmp_path.iterdir()] == ["me.cassette.json"]


def test_a_case_that_no_longer_exists_loses_its_recording(tmp_path: Path) -> None:
    record(suite(tmp_path, "a", "b"), {"a": Recording(turns=[]), "b": Recording(turns=[])})
    record(suite(tmp_path, "b"), {})
    assert recorded(suite(tmp_path, "b")).keys() == {"b"}


def test_a_cassette_of_an_earlier_version_is_played_without_a_word_about_changes(
    tmp_path: Path,
) -> None:
    mine = suite(tmp_path, "a")
    mine.cassette.write_text(json.dumps({"cases": {"a": ["Hello."]}}))
    [old] = recorded(mine).values()
    assert old.turns == ["Hello."]
    assert old.changes(REQUEST) == ()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cases": 1}', '{"cases": {"a": {"x": 1}}}'])
def test_a_cassette_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    mine = suite(tmp_path, "a")
    mine.cassette.write_text(text)
    with pytest.raises(UsageError, match=r"me\.cassette\.json is not a valid cassette"):
        recorded(mine)


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({}, ()),
        ({"timeout": 9}, ()),
        (
            {"messages": ({"role": "system", "content": "Be long."}, *REQUEST.messages[1:])},
            ("prompt",),
        ),
        ({"messages": (REQUEST.messages[0], {"role": "user", "content": "Ho."})}, ("task",)),
        ({"tools": ({"type": "function"},), "schema": {"type": "object"}}, ("tools", "schema")),
        ({"parameters": {"temperature": 1}}, ("parameters",)),
    ],
)
def test_the_parts_of_a_call_that_have_changed_are_named(
    changed: dict[str, Any], parts: tuple[str, ...]
) -> None:
    recording = Recording(turns=[], asked=digests(REQUEST))
    assert recording.changes(replace(REQUEST, **changed)) == parts
