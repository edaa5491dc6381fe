"""A schema in one line names the fields and types, and is never long."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.manifest.json_schema.summary import in_short


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["string", "null"]}, "string|null"),
        ({}, "any"),
        ({"anyOf": [{"type": "string"}, {"type": "object"}]}, "any"),
        (
            {
                "type": "object",
                "required": ["order"],
                "properties": {
                    "order": {"type": "string"},
                    "why": {"enum": ["lost", "broken"]},
                    "version": {"const": 1},
                    "more": True,
                },
            },
            "order: string, why?: lost|broken, version?: 1, more?: any",
        ),
        ({"properties": [], "required": 1, "type": {}}, "any"),
    ],
)
def test_fields_and_types_are_named(schema: dict[str, Any], text: str) -> None:
    assert in_short(schema) == text


def test_a_large_schema_is_cut() -> None:
    many = {"properties": {f"field {n}": {"type": "string"} for n in range(100)}}

    assert len(in_short(many)) == 100
    assert in_short(many).endswith("…")
