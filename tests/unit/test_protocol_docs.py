"""docs/protocol.md and its schema agree with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agentd.protocol.message import decode, json_schema
from agentd.protocol.subjects import RUNTIME_EVENTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE = "".join(
    each.read_text() for each in (ROOT / "agentd").rglob("*.py") if "testing" not in each.parts
)
PROTOCOL = (DOCS / "protocol.md").read_text()
FENCES = re.findall(r"^```json\n(.*?)^```", PROTOCOL, flags=re.M | re.S)


def test_the_committed_schema_is_current() -> None:
    committed = json.loads((DOCS / "message.schema.json").read_text())
    assert committed == json_schema(), (
        "write agentd.protocol.message.json_schema() to the file again"
    )


def test_the_schema_is_a_valid_json_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("fence", FENCES)
def test_every_message_in_the_document_is_valid(fence: str) -> None:
    decode(fence.encode())
    Draft202012Validator(json_schema()).validate(json.loads(fence))


def test_the_document_shows_every_type() -> None:
    assert {decode(fence.encode()).type for fence in FENCES} == {
        "task",
        "result",
        "event",
        "query",
        "stream",
    }


def test_the_shell_commands_of_the_document_send_valid_tasks() -> None:
    sent = re.findall(r"nats pub \S+ '(.*?)'", PROTOCOL)
    assert sent
    for text in sent:
        decode(text.encode(), type="task")


def test_the_table_has_exactly_the_fields_of_a_message() -> None:
    table = PROTOCOL.split("## The message, field by field")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([A-Za-z.\[\]]+)` \|", table, flags=re.M)) == fields(json_schema())


def test_every_error_code_is_in_the_document() -> None:
    section = PROTOCOL.split("An error is an outcome too")[1].split("\n## ")[0]
    documented = set(re.findall(r"`([a-z_]+)`", section))
    raised = set(re.findall(r'\bcode="([a-z_]+)"', SOURCE))
    # These are in no result: a sender raises the first when it stops waiting, a replica hands back
    # a fact with the second, and a door refuses a request with the third.
    assert {code.removeprefix("model_") for code in raised} - documented == {
        "no_answer",
        "unsubscribed",
        "idempotency_conflict",
    }


def test_every_error_code_of_the_document_is_in_the_code() -> None:
    table = PROTOCOL.partition("\n| code | meaning |\n")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    codes = {code for cell in cells for code in re.findall(r"`([a-z_]+)`", cell)}

    assert len(codes) > 20
    # The code of a join is made of `join_` and the reason.
    parts = {code.removeprefix("join_") for code in codes}
    assert {part for part in parts if f'"{part}"' not in SOURCE} == set()


def test_the_table_has_exactly_the_events_of_the_runtime() -> None:
    section = PROTOCOL.split("## Event\n")[1].split("\n## ")[0]
    subjects = re.findall(r"^\| (.*?) \|", section, flags=re.M)
    domains = {domain for row in subjects for domain in re.findall(r"`([a-z_]+)\.", row)}
    assert domains == RUNTIME_EVENTS


def fields(schema: dict[str, Any]) -> set[str]:
    """The paths of all fields of a schema: `routing.priority`, `context.history[].role`, …"""
    found: set[str] = set()

    def walk(part: dict[str, Any], path: str) -> None:
        for option in [part, *part.get("anyOf", ())]:
            if "$ref" in option:
                option = schema["$defs"][option["$ref"].rpartition("/")[2]]
            for name, child in option.get("properties", {}).items():
                found.add(path + name)
                walk(child, f"{path}{name}.")
            if "items" in option:
                walk(option["items"], f"{path.removesuffix('.')}[].")

    walk(schema, "")
    return found
