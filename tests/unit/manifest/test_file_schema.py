"""The schemas for editors accept what the loader accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from agentd.manifest.file import ManifestDraft, read_defaults, read_manifest
from agentd.manifest.file_schema import schema_text
from agentd.manifest.reference import SCHEMAS
from agentd.manifest.yaml.nodes import plain
from agentd.manifest.yaml.reader import Document, read
from tests.schemas import of_agent, of_defaults

ROOT = Path(__file__).parents[3]
FILES = sorted(
    file
    for folder in ("manifests", "examples")
    for file in (ROOT / folder).rglob("*.yaml")
    if file.parent.name == "manifests" and not file.name.endswith(".test.yaml")
)
# Every YAML of the documentation that is the file of an agent, or a part of one.
FENCES = [
    (page.name, fence)
    for page in sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
    for fence in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
]

# One text for each field and each short form.
FORMS = [
    "name: a\ndescription: x\ninstructions: y\ninput: z\nstream: false",
    "prompt: team/lead.md\nparameters: {temperature: 0.2, stop: [x]}",
    "capabilities: b",
    "model: mock/echo",
    "model: [mock/echo, {name: openai/x, when: content}]",
    "model: {routes: [mock/echo, {name: mock/echo}], cache: 10m}",
    "model: {name: a/b, api_base: 'http://h/v1', api_key: k, timeout: 30, prompt_cache: true,"
    " rate: 5 / s, tokens: 9/day, cache: 1 h, price: {input: 1, output: 2.5, cached_input: 0}}",
    "model: {name: mock/script, script: [hi, {tool_calls: []}]}",
    "model: {name: mock/script, script: turns.yaml}",
    "model: {name: mock/echo, script: null, rate: null}",
    "output: {schema: {type: object}, retries: 0}",
    "output: {schema: answer.json}",
    "subscribe: result.a.*",
    "subscribe: [result.a.*, event.b.c]",
    "subscribe: {to: result.a.*, from: new, errors: true}",
    "subscribe: {to: [result.a.*], from: 1.5h}",
    "subscribe: {to: [result.a.*], from: null}",
    "emit: [{task: b.c, for_each: output, content: item, priority: 7, target: b, exclusions: c}]",
    "emit: {rules: [{event: b.c}], allow: [task.b.*], limit: 5}",
    "emit: [{task: [b.c, d.e], choose: output, when: output}]",
    "emit: [{task: b.c, capabilities: x}]",
    "join: {wait_for: result.a.*, by: parent, count: all, timeout: 60, on_timeout: fail}",
    "join: {wait_for: [result.a.*, event.b.c], count: 3}",
    "history: {max_messages: 2, max_tokens: 10, keep: 0, compact: trim, model: mock/echo}",
    "history: null\nschedule: null\noutput: null\njoin: ~",
    "history: {model: {name: mock/echo}}",
    "limits: {concurrency: 2, timeout: 0.5, calls: 3, turns: 2, repeated_calls: 1, hops: 3,"
    " cost: 1, conversation_cost: 2.5, rate: 60/min}",
    "retry: {attempts: 3, backoff: 500ms, max_backoff: 1 m}",
    "schedule: {every: 1h, task: {a: 1}}",
    "schedule: {cron: 0 7 * * 1-5, time_zone: Europe/Berlin, task: x}",
    "tools: [{python: 'w.py:f', env: {A: b}, isolate: true, effects: true, timeout: 5}]",
    "tools: [{command: [git, log], name: g, description: d, parameters: {}, approval: true}]",
    "tools: [{command: {argv: [cat], stdin: x, env: {A: b}, cwd: data}, approval: 'x > 1'}]",
    "tools: [{http: {url: 'http://h/', method: POST, query: {a: [1]}, body: {x: 1}, pick: a.b}}]",
    "tools: [{http: {url: 'http://h/', headers: {A: b}, allow_private: true}}]",
    "tools: [{http: {url: 'http://h/', allow_private: 10.0.0.0/8}}]",
    "tools: [{http: {url: 'http://h/', allow_private: [10.0.0.0/8, wiki.internal]}}]",
    "tools: [{openapi: pets.yaml, allow: [list_pets], deny: b}]",
    "tools: [{openapi: {document: pets.yaml, base_url: 'http://h', headers: {A: b},"
    " query: {a: b}}}]",
    "tools: [{mcp: {command: [m], env: {A: b}, cwd: /srv, resources: {r: 'file:///R'},"
    " prompts: {p: review}}}]",
    "tools: [{mcp: {url: 'http://h/mcp', headers: {A: b},"
    " resources: {r: {uri: 'file:///R', default: ''}},"
    " prompts: {p: {prompt: review, arguments: {a: b}}}}, required: true}]",
    "tools: [{agent: b, gather: majority, approval_timeout: 30m}]",
]


def content(text: str) -> Any:
    root = read(text, "f").root
    return plain(root) if root else None


def loads(text: str, *defaults: Document, **environ: str) -> bool:
    made = read_manifest(text.encode(), "f.yaml", stem="f", defaults=defaults, environ=environ)
    return made.manifest is not None


@pytest.mark.parametrize("file", SCHEMAS, ids=str)
def test_the_committed_schemas_are_current(file: Path) -> None:
    assert (ROOT / file).read_text() == schema_text(SCHEMAS[file]()), (
        "python -m agentd.manifest.reference"
    )


@pytest.mark.parametrize("of_file", [of_agent, of_defaults])
def test_a_schema_is_valid_and_its_fields_have_their_order(of_file: Callable[[], Any]) -> None:
    schema = of_file().schema
    Draft202012Validator.check_schema(schema)
    names = list(schema["properties"])
    assert names[-1] == "record"
    assert names[0] == ("name" if of_file is of_agent else "description")
    assert '"title": "Name"' not in json.dumps(schema)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_files_of_the_examples_are_accepted(file: Path) -> None:
    validator = of_defaults() if file.name == "_defaults.yaml" else of_agent()
    validator.validate(content(file.read_text()))


@pytest.mark.parametrize(("page", "fence"), FENCES)
def test_what_loads_in_the_documentation_is_accepted(page: str, fence: str) -> None:
    complete = re.search("^capabilities:", fence, re.MULTILINE)
    whole = fence if complete else f"capabilities: [a]\n{fence}"
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", fence), "http://127.0.0.1:1")
    if loads(whole, **environ):
        of_agent().validate(content(fence))
        of_defaults().validate({k: v for k, v in content(fence).items() if k != "name"})
    else:
        assert page != "manifest.md"


@pytest.mark.parametrize("text", FORMS)
def test_every_form_that_loads_is_accepted(text: str) -> None:
    whole = text if text.startswith("capabilities:") else f"capabilities: [a]\n{text}"
    assert loads(whole)
    of_agent().validate(content(whole))


@pytest.mark.parametrize("text", FORMS)
def test_a_variable_is_accepted_wherever_it_loads(text: str) -> None:
    value = {"capabilities": ["a"], **content(text)}
    for written, changed in with_variables(value):
        document = yaml.safe_dump(changed).replace("VARIABLE", "${V}")
        if loads(document, V=written):
            of_agent().validate(content(document))
            # With a default, too.
            of_agent().validate(content(document.replace("${V}", "${V:-1}")))


def with_variables(value: Any) -> Iterator[tuple[str, Any]]:
    """Copies of `value`, each with another scalar replaced, and the text of that scalar."""
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            for written, changed in with_variables(inner):
                copy = value.copy()
                copy[key] = changed
                yield written, copy
    else:
        yield value if isinstance(value, str) else json.dumps(value), "VARIABLE"


@pytest.mark.parametrize(
    "text",
    [
        "limits: {concurrency: '${N:-8}', timeout: '${T}s', cost: '${C}', rate: '${R}/min'}",
        "stream: ${STREAM:-true}\nhistory: ${HISTORY:-}",
        "model: {name: '${M}', prompt_cache: '${P:-false}'}\ncapabilities: ['${C}']",
        "join: {by: '${BY:-parent}', wait_for: '${P}'}",
    ],
)
def test_a_variable_may_stand_for_any_scalar(text: str) -> None:
    of_agent().validate(content(text))
    of_defaults().validate(content(text))


@pytest.mark.parametrize(
    "text",
    [
        "stream: $V",
        "stream: ${V",
        "limits: {cost: ${1}}",
        "limits: ${V}",
        "emit: {limit: '${N}'}",
        "emit: [{task: b.c, priority: '${N}'}]",
        "output: {schema: {}, retries: '${N}'}",
    ],
)
def test_a_variable_is_refused_where_none_is_filled_in(text: str) -> None:
    assert not loads(f"capabilities: [a]\n{text}", N="3", V="true")
    assert not of_agent().is_valid(content(text))


@pytest.mark.parametrize(
    ("defaults", "own"),
    [
        ("capabilities: [a]", "description: x"),
        ("model: {name: mock/echo}", "model: {cache: 10m}"),
        ("schedule: {task: x}", "schedule: {every: 1h}"),
        ("output: {schema: {}}", "output: {retries: 1}"),
        ("subscribe: {to: result.a.*}", "subscribe: {from: 1h}"),
        ("join: {timeout: 5s}", "join: {wait_for: result.a.*}"),
        ("", "description: x"),
    ],
)
def test_defaults_and_file_may_each_have_a_part_of_a_field(
    draft: Callable[..., ManifestDraft], defaults: str, own: str
) -> None:
    own = own if "capabilities" in defaults else f"capabilities: [a]\n{own}"
    assert draft(own, defaults).manifest  # the fixture compares both files with their schemas


def test_a_default_for_the_name_is_refused() -> None:
    assert read_defaults(b"name: a", "_defaults.yaml").problems
    assert not of_defaults().is_valid({"name": "a"})
    assert of_defaults().is_valid({})
    assert of_defaults().is_valid(None)


@pytest.mark.parametrize(
    "text",
    [
        "promt: x",
        "limits: {timout: 5s}",
        "limits: {timeout: soon}",
        "limits: {timeout: 31000000}",
        "limits: {concurrency: 1_000}",
        "model: []",
        "model: {nme: x}",
        "model: [{when: x}]",
        "tools: [{htp: {}}]",
        "emit: [{task: x}]",
        "capabilities: [a.b]",
        "history: {compact: no}",
        "join: {wait_for: result.a.b, count: 0}",
        "stream: yes",
        "stream: on",
    ],
)
def test_what_the_loader_refuses_is_refused(text: str) -> None:
    whole = {"capabilities": ["a"], **content(text)}
    assert not loads(yaml.safe_dump(whole))
    assert not of_agent().is_valid(whole)
    assert not of_defaults().is_valid(whole)
