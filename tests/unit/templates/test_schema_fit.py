"""An expression that no answer can satisfy is found by the schema of the answer."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.templates.schema_fit import ANYTHING, SchemaFit

CLAIM = {"type": "object", "properties": {"text": {"type": "string"}}}
ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "score": {"type": "number"},
        "kind": {"enum": ["spam", "ham"]},
        "title": {"type": ["string", "null"]},
        "claims": {"type": "array", "items": {"$ref": "#/$defs/claim"}},
        "free": {},
        "either": {"anyOf": [{"type": "string"}, {"type": "object"}]},
    },
    "additionalProperties": False,
    "$defs": {"claim": CLAIM},
}


def misfits(text: str, **schemas: Any) -> list[str]:
    found = SchemaFit(text, schemas or {"output": ANSWER}).misfits
    return [f"{each.severity}: {each.problem.text}; {each.problem.hint}" for each in found]


@pytest.mark.parametrize(
    ("text", "misfit"),
    [
        ("output.scor > 1", "error: the schema of `output` has no `scor`; did you mean `score`?"),
        ("output['scor'] > 1", "error: the schema of `output` has no `scor`; did you mean"),
        ("output.score.x", "error: `score` is a number and has no `x`; "),
        ("output.title.x", "error: `title` is text or null and has no `x`; "),
        ("output.claims[0].txt", "warning: the schema of `claims` has no `txt`; did you mean"),
        ("output.score == 'high'", "warning: `score` is a number and never 'high'; compare it"),
        ("output.score > '1'", "error: `score` is a number and never '1'; compare it"),
        ("output.kind == 'spma'", "warning: `kind` is never 'spma'; did you mean `spam`?"),
        ("output.kind in ['x', 'ham']", "warning: `kind` is never 'x'; it is one of 'spam', 'ham'"),
    ],
)
def test_what_cannot_be_is_reported_once(text: str, misfit: str) -> None:
    [found] = misfits(text)

    assert found.startswith(misfit)


@pytest.mark.parametrize(
    "text",
    [
        "output.score > 0.5 and output.kind == 'spam'",
        "output.nope is defined and output.nope | default(1) == 1",
        "output.title.upper() == 'X' and output.title == none",
        "output.claims[0].text == 'x' and output.claims | length > 2",
        "output.free.x.y == 1 and output.either.x",
        "message.anything == 1",
        "output.kind not in ['other'] and output.kind != 'other'",
    ],
)
def test_what_may_be_is_not_reported(text: str) -> None:
    assert misfits(text) == []


def test_an_answer_that_is_text_has_no_fields() -> None:
    text = {"type": "string"}

    [found] = misfits("output.score > 1", output=text)
    assert found == "error: `output` is text and has no `score`; "
    assert misfits("'yes' in output", output=text) == []


def test_a_field_that_an_open_schema_does_not_name_is_a_warning() -> None:
    [found] = misfits("output.scor", output={"type": "object", "properties": {"score": {}}})

    assert found.startswith("warning: ")
    free = {"properties": {"a": {}}, "additionalProperties": {}}
    assert misfits("output.scor", output=free) == []


def test_for_each_needs_a_list_and_gives_the_schema_of_its_items() -> None:
    names = ("claims", "title")
    claims, title = (SchemaFit(f"output.{name}", {"output": ANSWER}) for name in names)

    assert claims.items() == {"$ref": "#/$defs/claim"}
    assert misfits("item.txt", output=ANSWER, item=claims.items())
    assert title.items() == ANYTHING
    assert "needs a list" in title.misfits[0].problem.text


def test_references_that_lead_nowhere_or_in_a_circle_allow_anything() -> None:
    circle = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}

    for schema in (circle, {"$ref": "#/nowhere"}, {"$ref": "https://a.test/x"}):
        assert misfits("output.x.y", output=schema) == []
