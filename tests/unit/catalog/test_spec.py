"""The files, expressions and templates that a manifest names, each with its field."""

from __future__ import annotations

from agentd.catalog.spec import MESSAGE_NAMES, expressions_of, files_of, templates_of
from agentd.manifest.file import ManifestDraft, read_manifest
from agentd.templates.prompts import CONTEXT_NAMES


def draft(text: str) -> ManifestDraft:
    return read_manifest(text.encode(), "f", stem="a", defaults=(), environ={})


def test_files_are_named_relative_to_the_folder_of_manifests() -> None:
    read = draft(
        "capabilities: [a]\n"
        "model: [{name: mock/script, script: ../turns.yaml}, {name: mock/script, script: [Hi.]}]\n"
        "history: {model: {name: mock/script, script: sum.yaml}}\n"
        "output: {schema: answer.json}\n"
        "tools: [{openapi: pets.yaml}, {openapi: {document: deep/api.json}}, "
        "{openapi: 'https://a.example/api'}]\n"
    )

    assert dict(files_of(read.data, "team/a.yaml")) == {
        ("model", 0, "script"): "turns.yaml",
        ("history", "model", "script"): "team/sum.yaml",
        ("output", "schema"): "team/answer.json",
        ("tools", 0, "openapi", "document"): "team/pets.yaml",
        ("tools", 1, "openapi", "document"): "team/deep/api.json",
    }


def test_the_files_of_one_model_and_of_routes_are_found_too() -> None:
    one = draft("capabilities: [a]\nmodel: {name: mock/script, script: turns.yaml}\n")
    routes = draft("model: {routes: [mock/echo, {name: mock/script, script: turns.yaml}]}\n")

    assert dict(files_of(one.data, "a.yaml")) == {("model", 0, "script"): "turns.yaml"}
    assert dict(files_of(routes.data, "a.yaml")) == {("model", 1, "script"): "turns.yaml"}


def test_a_manifest_with_errors_still_names_its_files() -> None:
    read = draft("promt: x\nmodel: 5\noutput: {schema: answer.json}\nhistory: [x]\ntools: {a: b}\n")

    assert read.manifest is None
    assert dict(files_of(read.data, "a.yaml")) == {("output", "schema"): "answer.json"}


def test_expressions_have_the_names_of_their_moment() -> None:
    manifest = draft(
        "capabilities: [a]\n"
        "model: [{name: mock/echo, when: content}, mock/echo]\n"
        "tools: [{agent: b, approval: arguments.x}, {agent: c, approval: true}]\n"
        "emit: [{task: b.x, for_each: output.l, content: item}, {event: b.y, when: output}]\n"
    ).manifest
    assert manifest

    found = {loc: (text, set(names)) for loc, text, names in expressions_of(manifest)}

    assert found == {
        ("model", 0, "when"): ("content", set(MESSAGE_NAMES)),
        ("tools", 0, "approval"): ("arguments.x", {"arguments", *CONTEXT_NAMES}),
        ("emit", "rules", 0, "for_each"): ("output.l", {"output", *CONTEXT_NAMES}),
        ("emit", "rules", 0, "content"): ("item", {"output", "item", *CONTEXT_NAMES}),
        ("emit", "rules", 1, "when"): ("output", {"output", *CONTEXT_NAMES}),
    }
    assert "now" not in MESSAGE_NAMES


def test_templates_of_a_command_have_the_names_of_its_parameters() -> None:
    manifest = draft(
        "capabilities: [a]\ntools:\n"
        "  - {command: {argv: [ls, '{{ path }}'], stdin: '{{ text }}'}}\n"
        "  - {command: [cat, '{{ file }}'], parameters: {properties: {file: {}}}}\n"
        "  - {agent: b}\n"
    ).manifest
    assert manifest

    found = {loc: (text, names) for loc, text, names in templates_of(manifest)}

    assert found == {
        ("tools", 0, "command", "argv", 0): ("ls", None),
        ("tools", 0, "command", "argv", 1): ("{{ path }}", None),
        ("tools", 0, "command", "stdin"): ("{{ text }}", None),
        ("tools", 1, "command", "argv", 0): ("cat", {"file", "idempotency_key"}),
        ("tools", 1, "command", "argv", 1): ("{{ file }}", {"file", "idempotency_key"}),
    }
