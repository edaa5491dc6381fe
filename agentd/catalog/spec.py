"""One agent that is ready to run, and the files, expressions and templates of its manifest."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import place
from agentd.manifest.flow import EmitRule
from agentd.manifest.triggers.callback import OUTCOME_NAMES
from agentd.manifest.triggers.trigger import Trigger
from agentd.manifest.yaml.nodes import Map
from agentd.problems import Problem
from agentd.templates.expression import Expression
from agentd.templates.prompts import CONTEXT_NAMES, Prompt

Loc = tuple[str | int, ...]  # the way to a field of a manifest, as in pydantic's errors

# The names that a `when` of a model can use: it is evaluated for a message, before the run begins.
MESSAGE_NAMES = tuple(name for name in CONTEXT_NAMES if name != "now")


@dataclass(frozen=True)
class AgentSpec:
    """One agent that is ready to run.

    Attributes:
        manifest: the manifest, with defaults and variables filled in. The name of a file (a model's
            script, a schema, an OpenAPI document) is replaced by the content of the file.
        prompt: the template of the system message.
        input: the template of the user message; None if the manifest has none.
        expressions: the compiled expressions, by their text.
        templates: the compiled templates of the tools, by their text.
        tools: all files of `tools/` if the agent has a Python tool: they may import each other.
        revision: the first 12 hex digits of a digest of the manifest, the prompts with their
            includes, the tools and all other files. Comments in the manifest do not count.
        file: the path of the manifest.
        project: the folder that holds `manifests/` and `tools/`.
        root: the fields of the manifest with their places.
        sources: the bytes of the files that it was made of, by their path in the project: with
            `${VAR}` as it is written, and without secrets.
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
    sources: Mapping[str, bytes] = field(
        default_factory=dict[str, bytes], repr=False, compare=False
    )

    def problem(
        self,
        *loc: str | int,
        text: str,
        hint: str = "",
        severity: Literal["error", "warning"] = "error",
    ) -> Problem:
        """A problem at a field, for code that finds it after the catalog was loaded."""
        return place(self.root, loc).problem(text, hint=hint, severity=severity)


def files_of(data: Mapping[str, Any], file: str) -> Iterator[tuple[Loc, str]]:
    """The files that the fields of a manifest name, each with its field.

    These are the scripts of mock models, the schemas of contents and answers, and OpenAPI
    documents. The names are relative to the folder of manifests.
    """
    # The plain data is used because a manifest with errors names files, too, and these must not be
    # taken for manifests.
    folder = posixpath.dirname(file)
    for loc, name in _possible_files(data):
        if isinstance(name, str) and "://" not in name:
            yield loc, posixpath.normpath(posixpath.join(folder, name))


def _possible_files(data: Mapping[str, Any]) -> Iterator[tuple[Loc, Any]]:
    """Each field that may name a file, with its value, which may be anything."""
    models: Any = data.get("model")
    output: Any = data.get("output")
    history: Any = data.get("history")
    tools: Any = data.get("tools")
    routes: Any = data["model"].get("routes") if isinstance(models, dict) else None
    several = next((each for each in (routes, models) if isinstance(each, list)), [models])
    for index, model in enumerate(several):
        if isinstance(model, dict):
            yield ("model", index, "script"), model.get("script")
    if isinstance(output, dict):
        yield ("output", "schema"), output.get("schema")
    yield ("accepts",), data.get("accepts")
    if isinstance(history, dict) and isinstance(history.get("model"), dict):
        yield ("history", "model", "script"), history["model"].get("script")
    entries: list[Any] = tools if isinstance(tools, list) else []
    for index, tool in enumerate(entries):
        if isinstance(tool, dict):
            openapi = tool.get("openapi")
            document = openapi.get("document") if isinstance(openapi, dict) else openapi
            yield ("tools", index, "openapi", "document"), document


def expressions_of(manifest: Manifest) -> Iterator[tuple[Loc, str, tuple[str, ...]]]:
    """The expressions of a manifest: the field, the text, and the names that the text can use."""
    for index, model in enumerate(manifest.model):
        if model.when is not None:
            yield ("model", index, "when"), model.when, MESSAGE_NAMES
    for index, tool in enumerate(manifest.tools):
        if isinstance(tool.approval, str):
            yield ("tools", index, "approval"), tool.approval, ("arguments", *CONTEXT_NAMES)
    if manifest.call:
        for loc, text in manifest.call.expressions:
            yield ("call", *loc), text, CONTEXT_NAMES
    for index, rule in enumerate(manifest.emit.rules):
        yield from _expressions_of_rule(("emit", "rules", index), rule)
    for index, trigger in enumerate(manifest.triggers):
        yield from _expressions_of_trigger(("triggers", index), trigger)


def _expressions_of_rule(loc: Loc, rule: EmitRule) -> Iterator[tuple[Loc, str, tuple[str, ...]]]:
    item = ("item",) if rule.for_each else ()
    if rule.for_each:
        yield (*loc, "for_each"), rule.for_each, ("output", *CONTEXT_NAMES)
    for name in ("when", "content", "choose"):
        if text := getattr(rule, name):
            yield (*loc, name), text, ("output", *item, *CONTEXT_NAMES)


def _expressions_of_trigger(
    loc: Loc, trigger: Trigger
) -> Iterator[tuple[Loc, str, tuple[str, ...]]]:
    for name in ("when", "id", "content", "conversation"):
        if text := getattr(trigger, name):
            yield (*loc, name), text, trigger.names
    if callback := trigger.callback:
        if not callback.is_fixed:
            yield (*loc, "callback", "url"), callback.url, trigger.names
        if callback.body:
            yield (*loc, "callback", "body"), callback.body, OUTCOME_NAMES


def templates_of(manifest: Manifest) -> Iterator[tuple[Loc, str, Collection[str] | None]]:
    """The templates of the tools: the field, the text, and the names that the text can use.

    The names are the parameters of the tool and `idempotency_key`, which comes from the call. They
    are None if the tool declares no parameters: then the names in its templates are its parameters.
    """
    for index, tool in enumerate(manifest.tools):
        names = None
        if tool.parameters is not None:
            names = {*tool.parameters.get("properties", ()), "idempotency_key"}
        if tool.command:
            for number, text in enumerate(tool.command.argv):
                yield ("tools", index, "command", "argv", number), text, names
            if tool.command.stdin:
                yield ("tools", index, "command", "stdin"), tool.command.stdin, names
