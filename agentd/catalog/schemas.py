"""The JSON Schemas of a manifest: whether each is valid, and whether the rest of it fits them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from agentd.catalog.spec import Loc, expressions_of
from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import node_at
from agentd.manifest.json_schema.check import misfit_now, schema_error
from agentd.manifest.yaml.nodes import Map
from agentd.problems import Problem
from agentd.templates import schema_fit
from agentd.templates.place import in_node

# Characters of `accepts` as JSON: it is in the registry, which every sender reads.
_LONGEST = 32_000


def schema_problems(
    manifest: Manifest, root: Map, files: Collection[Loc], expressions: Collection[str]
) -> Iterator[Problem]:
    """The problems of `output.schema` and `accepts`, and of what these say about the rest.

    `manifest` has the contents of its files in place of their names; `files` are the fields that
    named one. `expressions` are those that compile.
    """
    valid: dict[str, Mapping[str, Any]] = {}
    for name, loc, schema in _schemas(manifest):
        problem = _invalid(loc, schema, is_file=loc in files)
        if problem:
            span = node_at(root, loc)[1]
            yield span.problem(problem[0], hint=problem[1])
        elif isinstance(schema, dict):
            valid[name] = schema
    yield from _schedule(manifest, root, valid.get("content"))
    yield from _misfits(manifest, root, valid, expressions)


def _schemas(manifest: Manifest) -> Iterator[tuple[str, Loc, Any]]:
    """Each schema with the name that expressions have for its values, and its field."""
    if manifest.output:
        yield "output", ("output", "schema"), manifest.output.schema_
    if manifest.accepts is not None:
        yield "content", ("accepts",), manifest.accepts


def _invalid(loc: Loc, schema: Any, *, is_file: bool) -> tuple[str, str] | None:
    """What is wrong with a schema, and a hint. A file that does not exist is reported elsewhere."""
    if not isinstance(schema, dict):
        text = "the file does not hold a JSON Schema"
        return (text, "a schema is a mapping") if is_file else None
    if loc == ("accepts",) and len(json.dumps(schema)) > _LONGEST:
        text = f"`accepts` has more than {_LONGEST:,} characters as JSON"
        return text, "leave out what need not be checked; every sender reads it"
    if error := schema_error(schema):
        text = f"`{'.'.join(map(str, loc))}` is not a valid JSON Schema: {error}"
        return text, "see https://json-schema.org"
    return None


def _schedule(
    manifest: Manifest, root: Map, accepts: Mapping[str, Any] | None
) -> Iterator[Problem]:
    """A scheduled task that the agent itself would refuse."""
    if manifest.schedule is None or accepts is None:
        return
    found = misfit_now(manifest.schedule.task, accepts)
    if found:
        span = node_at(root, ("schedule", "task", *found.path))[1]
        text = f"`accepts` does not allow this task: {found.text}"
        yield span.problem(text, hint="change the task, or `accepts`")


def _misfits(
    manifest: Manifest,
    root: Map,
    known: Mapping[str, schema_fit.Schema],
    compiled: Collection[str],
) -> Iterator[Problem]:
    """What of the expressions does not fit the schemas of their names.

    Without a schema an answer may be text, or any JSON, and a content too.
    """
    items: dict[Loc, schema_fit.Schema] = {}
    for loc, text, _ in expressions_of(manifest) if known else ():
        if text not in compiled:
            continue
        rule = loc[:-1]
        item = {"item": items[rule]} if rule in items else {}
        fit = schema_fit.SchemaFit(text, {**known, **item})
        if loc[-1] == "for_each":
            items[rule] = fit.items()
        for misfit in fit.misfits:
            problem = in_node(misfit.problem, *node_at(root, loc))
            yield replace(problem, severity=misfit.severity)
