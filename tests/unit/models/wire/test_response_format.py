"""The schema of an answer goes into a parameter, or in words into the system message."""

from __future__ import annotations

import json

import pytest

from agentd.models.wire.response_format import in_words, response_format

SCHEMA = {"type": "object", "properties": {"größe": {"type": "number"}}}
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "How large?"}


def test_the_parameter_has_the_schema() -> None:
    assert response_format(SCHEMA) == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA},
    }


def test_words_are_put_at_the_end_of_the_system_message() -> None:
    first, *others = in_words([SYSTEM, USER], SCHEMA)

    assert first["role"] == "system"
    assert first["content"].startswith("Be brief.\n\nAnswer with one JSON value")
    assert json.loads(first["content"].splitlines()[-1]) == SCHEMA
    assert "größe" in first["content"]  # not escaped: escapes cost tokens
    assert others == [USER]
    assert SYSTEM["content"] == "Be brief."


@pytest.mark.parametrize("messages", [[], [USER], [USER, SYSTEM]])
def test_words_become_a_system_message_where_there_is_none(
    messages: list[dict[str, str]],
) -> None:
    first, *others = in_words(messages, SCHEMA)

    assert first["role"] == "system"
    assert first["content"].startswith("Answer with one JSON value")
    assert others == messages


def test_words_are_added_to_a_system_message_of_parts() -> None:
    parts = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    first, _ = in_words([{"role": "system", "content": parts}, USER], SCHEMA)
    assert first["content"][0] == parts[0]
    assert first["content"][1]["text"].startswith("Answer with one JSON value")
