"""The JSON Schemas of a manifest are valid, and the rest of the manifest fits them."""

from __future__ import annotations

import json

import pytest

from tests.unit.catalog.conftest import Project

BEGIN = "capabilities: [a]\ninstructions: Hi.\n"
REFUND = "{type: object, required: [order], properties: {order: {type: string}}}"


def problems(project: Project, more: str) -> list[str]:
    found = project.write(manifests__me_yaml=BEGIN + more).problems()
    return [each.removeprefix("manifests/me.yaml:") for each in found if "me.yaml" in each]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            "accepts: {type: text}",
            "3:1: `accepts` is not a valid JSON Schema: 'text' is not valid under any of the "
            "given schemas (at ['type']); see https://json-schema.org",
        ),
        ("accepts: 5", "3:10: `accepts` must be a JSON Schema or a file name"),
        (
            "accepts: refnd.json",
            "3:10: there is no file manifests/refnd.json; did you mean `refund.json`?",
        ),
        (
            "accepts: list.json",
            "3:10: the file does not hold a JSON Schema; a schema is a mapping",
        ),
        (
            f"accepts: {REFUND}\njoin: {{wait_for: event.x.y}}",
            "3:1: `accepts` cannot be combined with `join`, whose content is the facts; "
            "let one agent take tasks with `accepts`, and another one join",
        ),
        (
            f"accepts: {REFUND}\nschedule: {{every: 1h, task: {{order: 7}}}}",
            "4:37: `accepts` does not allow this task: 7 is not of type 'string'; change the task, "
            "or `accepts`",
        ),
        (
            f"accepts: {REFUND}\nschedule: {{every: 1h, task: Refund.}}",
            "4:29: `accepts` does not allow this task: 'Refund.' is not of type 'object'; change "
            "the task, or `accepts`",
        ),
        (
            f"accepts: {REFUND}\nemit: [{{event: x.y, when: content.ordr == '7'}}]",
            "4:35: the schema of `content` has no `ordr`; did you mean `order`?",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place(project: Project, more: str, problem: str) -> None:
    project.put("manifests/refund.json", REFUND)
    project.put("manifests/list.json", "[1]")

    assert problems(project, more) == [problem]


def test_a_schema_may_be_in_a_file(project: Project) -> None:
    project.put("manifests/refund.json", json.dumps({"type": "object"}))
    project.write(manifests__me_yaml=BEGIN + "accepts: refund.json\n")

    catalog = project.load()
    revision = catalog.agents["me"].revision

    assert catalog.agents["me"].manifest.accepts == {"type": "object"}
    assert catalog.topology.agents["me"].manifest.accepts == {"type": "object"}
    project.put("manifests/refund.json", json.dumps({"type": "string"}))
    assert project.load().agents["me"].revision != revision


def test_a_dollar_in_a_schema_is_no_variable(project: Project) -> None:
    assert problems(project, "accepts: {pattern: '^A-${X}$'}") == []


def test_a_schema_that_senders_read_may_not_be_large(project: Project) -> None:
    field = "{type: string, description: A field that is described in some detail here.}"
    fields = ", ".join(f"field_{n}: {field}" for n in range(400))

    [problem] = problems(project, f"accepts: {{properties: {{{fields}}}}}")

    assert problem.startswith("3:1: `accepts` has more than 32,000 characters as JSON")
