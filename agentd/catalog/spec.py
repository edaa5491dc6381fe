"""One agent, ready to run, and what its manifest has that must be read or compiled first."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import place
from agentd.manifest.file import ManifestDraft
from agentd.manifest.flow import EmitRule
from agentd.manifest.yaml.nodes import Map
from agentd.problems import Problem
from agentd.templates.expression import Expression
from agentd.templates.prompts import CONTEXT_NAMES, Prompt

Loc = tuple[str | int, ...]  # a field of a manifest, as pydantic names it

# What a message alone tells, before a model is chosen.
MESSAGE_NAMES = tuple(name for name in CONTEXT_NAMES if name != "now")


@dataclass(frozen=True)
class AgentSpec:
    """One agent, ready to run.

    Attributes:
        manifest: with the folder's defaults and variables filled in; where it names a file (a
            model's script, a schema, an OpenAPI document), what the file says stands there.
        prompt: makes the system turn.
        input: makes the user turn, where the manifest has a template for it.
        expressions: its expressions, compiled, by their text.
        templates: the templates of its tools, compiled, by their text.
        tools: for an agent with tools in Python, all files of `tools/`: they may import another.
        revision: 12 hex digits of a digest over all that makes the agent: manifest, prompts with
            their includes, tools, other files. Comments do not count.
        file: the manifest.
        project: the folder that holds `manifests/` and `tools/`.
        root: its fields with their places.
    """

    name: str
    manifest: Manifest
    prompt: Prompt
    input: Prompt | None
    expressions: Mapping[str, Expression]
    templates: Mapping[str, Prompt]
    tools: Mapping[str, bytes]
    revision: str
    file: Path
    project: Path
    root: Map = field(repr=False, compare=False)

    def problem(
        self, *loc: str | int, text: str, severity: Literal["error", "warning"] = "error"
    ) -> Problem:
        """What is wrong at a field, for one who finds out later than the catalog."""
        return place(self.root, loc).problem(text, severity=severity)


def files_of(draft: ManifestDraft, file: str) -> Iterator[tuple[Loc, str]]:
    """The files that a manifest names, each with its field, as names below the manifests' folder:
    mock scripts, the schema of the answer, OpenAPI documents."""
    folder = posixpath.dirname(file)
    for loc, name in _names(draft.data):
        if isinstance(name, str) and "://" not in name:
            yield loc, posixpath.normpath(posixpath.join(folder, name))


def _names(data: Mapping[str, Any]) -> Iterator[tuple[Loc, Any]]:
    models: Any = data.get("model")
    output: Any = data.get("output")
    history: Any = data.get("history")
    tools: Any = data.get("tools")
    routes: Any = data["model"].get("routes") if isinstance(models, dict) else None
    listed = next((each for each in (routes, models) if isinstance(each, list)), [models])
    for index, model in enumerate(listed):
        if isinstance(model, dict):
            yield ("model", index, "script"), model.get("script")
    if isinstance(output, dict):
        yield ("output", "schema"), output.get("schema")
    if isinstance(history, dict) and isinstance(history.get("model"), dict):
        yield ("history", "model", "script"), history["model"].get("script")
    many: list[Any] = tools if isinstance(tools, list) else []
    for index, tool in enumerate(many):
        if isinstance(tool, dict):
            given = tool.get("openapi")
            document = given.get("document") if isinstance(given, dict) else given
            yield ("tools", index, "openapi", "document"), document


def expressions_of(manifest: Manifest) -> Iterator[tuple[Loc, str, tuple[str, ...]]]:
    """The expressions of a manifest: the field, the text, and the names that it may use."""
    for index, model in enumerate(manifest.model):
        if model.when is not None:
            yield ("model", index, "when"), model.when, MESSAGE_NAMES
    for index, tool in enumerate(manifest.tools):
        if isinstance(tool.approval, str):
            yield ("tools", index, "approval"), tool.approval, ("arguments", *CONTEXT_NAMES)
    for index, rule in enumerate(manifest.emit.rules):
        yield from _expressions_of_rule(("emit", "rules", index), rule)


def _expressions_of_rule(loc: Loc, rule: EmitRule) -> Iterator[tuple[Loc, str, tuple[str, ...]]]:
    item = ("item",) if rule.for_each else ()
    if rule.for_each:
        yield (*loc, "for_each"), rule.for_each, ("output", *CONTEXT_NAMES)
    for name in ("when", "content"):
        if text := getattr(rule, name):
            yield (*loc, name), text, ("output", *item, *CONTEXT_NAMES)


def templates_of(manifest: Manifest) -> Iterator[tuple[Loc, str, Collection[str] | None]]:
    """The templates of a manifest's tools: the field, the text, and the names that it may use: the
    tool's parameters, or any where the templates say which there are. `idempotency_key` is the
    call's own."""
    for index, tool in enumerate(manifest.tools):
        names = None
        if tool.parameters is not None:
            names = {*tool.parameters.get("properties", ()), "idempotency_key"}
        if tool.command:
            for place, text in enumerate(tool.command.argv):
                yield ("tools", index, "command", "argv", place), text, names
            if tool.command.stdin:
                yield ("tools", index, "command", "stdin"), tool.command.stdin, names
