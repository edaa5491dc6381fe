"""What an agent does not accept is refused with the path to what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.errors import TaskError
from agentd.routing.accepts import refusal, require_accepted

REFUND = {
    "type": "object",
    "required": ["order"],
    "properties": {
        "order": {"type": "string"},
        "items": {"type": "array", "items": {"properties": {"unit price": {"type": "number"}}}},
    },
}


@pytest.mark.parametrize("content", ["text", None, {"order": 1}, []])
async def test_without_a_schema_anything_is_accepted(content: Any) -> None:
    await require_accepted("refunds", None, content)


async def test_a_content_that_fits_is_accepted() -> None:
    await require_accepted("refunds", REFUND, {"order": "A-1", "items": [{"unit price": 2}]})


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("Refund A-1.", "payload.content: 'Refund A-1.' is not of type 'object'"),
        ({}, "payload.content: 'order' is a required property"),
        ({"order": 1}, "payload.content.order: 1 is not of type 'string'"),
        (
            {"order": "A-1", "items": [{}, {"unit price": "2"}]},
            "payload.content.items[1]['unit price']: '2' is not of type 'number'",
        ),
    ],
)
async def test_the_error_has_the_path_to_what_is_wrong(content: Any, wrong: str) -> None:
    with pytest.raises(TaskError) as refused:
        await require_accepted("refunds", REFUND, content)

    assert str(refused.value) == f"refunds does not accept this content: {wrong}"
    assert (refused.value.code, refused.value.retryable) == ("invalid_input", False)


async def test_an_error_about_a_large_content_is_short() -> None:
    content = {"x" * 5_000: {"y" * 5_000: "z" * 5_000}}
    nested = {"additionalProperties": {"additionalProperties": {"type": "number"}}}

    refused = await refusal("refunds", nested, content)

    assert refused
    assert len(str(refused)) < 1_000


async def test_no_content_fits_a_schema_whose_check_would_not_end() -> None:
    refused = await refusal("refunds", {"pattern": "^(a|a)*$"}, "a" * 50 + "!")

    assert refused
    assert "the schema is too complex" in str(refused)
