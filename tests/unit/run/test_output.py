"""An answer as the JSON value that a schema asks for, or what the model is told is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentd.errors import TaskError
from agentd.models.port import CORRECTION
from agentd.protocol.fields import AgentIdentity, Payload
from agentd.protocol.message import new
from agentd.run.output import Unusable, correction, required_output, value_of
from tests.unit.workbench import MANIFEST, ScriptedModel, revision_of

SCHEMA = {"type": "object", "required": ["score"], "properties": {"score": {"type": "number"}}}


async def required(folder: Path, output: str, asked: Any) -> Any:
    manifest = revision_of(folder, f"{MANIFEST}\noutput: {output}", ScriptedModel()).spec.manifest
    payload = Payload(content="hi", answer_schema=asked)
    found = await required_output(manifest, new("task", payload, source=AgentIdentity(id="me")))
    return found and (found.schema_, found.retries)


OWN = "{schema: {type: object, required: [score]}, retries: 1}"


@pytest.mark.parametrize(
    ("output", "asked", "found"),
    [
        ("null", None, None),
        ("null", {"type": "array"}, ({"type": "array"}, 2)),
        (OWN, None, ({"type": "object", "required": ["score"]}, 1)),
        (OWN, {"type": "object"}, ({"type": "object", "required": ["score"]}, 1)),
        (
            OWN,
            {"type": "object", "required": ["score"]},
            ({"type": "object", "required": ["score"]}, 1),
        ),
    ],
)
async def test_the_form_of_the_manifest_comes_before_that_of_the_sender(
    tmp_path: Path, output: str, asked: Any, found: Any
) -> None:
    assert await required(tmp_path, output, asked) == found


@pytest.mark.parametrize(
    ("output", "asked", "problem"),
    [(OWN, {"type": "array"}, "of its own"), ("null", {"type": "arra"}, "not a valid JSON Schema")],
)
async def test_a_form_that_cannot_be_kept_is_refused(
    tmp_path: Path, output: str, asked: Any, problem: str
) -> None:
    with pytest.raises(TaskError, match=problem) as refused:
        await required(tmp_path, output, asked)
    assert refused.value.code == "answer_schema"


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 1}',
        ' {"score": 1}\n',
        '```json\n{"score": 1}\n```',
        '\n```\n{"score": 1}```\n',
        '``` \n{"score": 1}\n\n```',
    ],
)
async def test_an_answer_may_stand_in_a_fence(text: str) -> None:
    assert await value_of(text, SCHEMA) == {"score": 1}


@pytest.mark.parametrize(
    "text",
    [
        '```json\r\n{"score": 1}\r\n```\r\n',
        '```json\n{"score": 1}',
        '```json5 {"score": 1}```',
        '```c++\nint a[] = {1};\n```\nAnd:\n```json\n{"score": 1}\n```',
        '\ufeff{"score": 1}',
        'Here it is:\n```json\n{"score": 1}\n```\nAnything else?',
        'Here it is: {"score": 1}. Anything else?',
        'As {you} wished [1]: {"score": 1}',
        'For example {"score": 2}:\n```json\n{"score": 1}\n```',
        '{"score": 1}\n{"score": 1}',
        '<think>\nA {score}, maybe {"score": 2}.\n</think>\n\n{"score": 1}',
        'A {score}.\n</think>\n{"score": 1}',
        '<think>\nA {score}.\n\n{"score": 1}',
        '<think>Hm.</think>\n```json\n{"score": 1}\n```',
        '{"score": 1, "note": "</think>"}',
        '{"score": 1, "note": "```py\\nprint()\\n```"}',
        'So:\n```json\n{"score": 1, "note": "```py```"}\n```',
        '"{\\"score\\": 1}"',
    ],
)
async def test_an_answer_may_stand_among_other_things(text: str) -> None:
    assert (await value_of(text, SCHEMA))["score"] == 1


async def test_of_an_answer_that_was_cut_off_only_the_whole_counts() -> None:
    assert await value_of(' {"score": 1}', SCHEMA, cut=True) == {"score": 1}
    with pytest.raises(Unusable, match="not JSON"):
        await value_of('[{"score": 1}, {"sco', SCHEMA, cut=True)


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [("[1]", {"type": "array"}, [1]), ('"a"', {}, "a"), ("null", {}, None), ("1e2", {}, 100.0)],
)
async def test_an_answer_may_be_any_json(text: str, schema: dict[str, Any], value: Any) -> None:
    assert await value_of(text, schema) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("high", "it is not JSON: "),
        ("", "it is not JSON: "),
        ('Here it is: {"score": 1', "it is not JSON: "),
        ('{"score": {"score": 1},}', "it is not JSON: "),
        ("{" * 100_000, "it is not JSON: "),
        ('["' * 100_000, "it is not JSON: "),
        ("As {you} wish: {}", "it does not fit the JSON Schema: 'score' is a required property"),
        ('{"score": 1} or {"score": 2}', "it has 2 JSON values that fit"),
        ('```\n{"score": 1}\n```\n```\n{"score": 2}\n```', "it has 2 JSON values that fit"),
        ('{"score": NaN}', "it is not JSON: NaN is not JSON"),
        ('{"score": -Infinity}', "it is not JSON: -Infinity is not JSON"),
        ("[" * 100_000, "it is not JSON: "),
        ("{}", "it does not fit the JSON Schema: 'score' is a required property"),
        ('{"score": "1"}', "it does not fit the JSON Schema: '1' is not of type 'number'"),
    ],
)
async def test_an_unusable_answer_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(Unusable) as refused:
        await value_of(text, SCHEMA)
    assert str(refused.value).startswith(problem)


def test_the_model_is_told_what_is_wrong_and_asked_again() -> None:
    assert correction(Unusable("it is not JSON")) == (
        f"{CORRECTION}it is not JSON\nAnswer again, with nothing but the JSON."
    )
