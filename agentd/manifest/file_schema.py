"""The JSON Schemas of manifests and of their defaults: what a file may say before it is read.

A file is less than the manifest that it becomes: `${VAR}` stands where a number will be, and a
`_defaults.yaml` gives the fields that the file leaves out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from agentd.manifest.agent import NOT_INTERPOLATED, Manifest
from agentd.manifest.quantities import as_list
from agentd.manifest.yaml.interpolate import VARIABLE

Schema = dict[str, Any]

_NARROW = {"integer", "number", "boolean", "null"}


class AsWritten(GenerateJsonSchema):
    """Keeps the order of the fields, and makes no titles from their names."""

    def sort(self, value: Any, parent_key: str | None = None) -> Any:
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _WithVariables(AsWritten):
    """Accepts `${VAR}` in place of every scalar whose form is checked."""

    def generate_inner(self, schema: Any) -> Schema:
        made = super().generate_inner(schema)
        if not _is_narrow(made):
            return made
        variable = {"type": "string", "pattern": VARIABLE}
        if "anyOf" in made:
            return {**made, "anyOf": [*made["anyOf"], variable]}
        return {"anyOf": [made, variable]}


def _is_narrow(schema: Mapping[str, Any]) -> bool:
    """Whether a schema refuses some scalars, and does not accept a variable in place of them."""
    forms = schema.get("anyOf", ())
    if any(form.get("pattern") == VARIABLE or form == {"type": "string"} for form in forms):
        return False
    kinds = set[str](as_list(schema.get("type", [])))
    own = kinds & _NARROW and "string" not in kinds
    return (
        bool(own)
        or bool({"enum", "const", "pattern"} & schema.keys())
        or any(map(_is_narrow, forms))
    )


def agent_schema() -> Schema:
    """The JSON Schema (draft 2020-12) of the file of an agent."""
    return _file_schema("agentd manifest", "One LLM agent.")


def defaults_schema() -> Schema:
    """The JSON Schema of a `_defaults.yaml`."""
    schema = _file_schema("agentd defaults", "Defaults for the agents of a folder.")
    fields = {name: each for name, each in schema["properties"].items() if name != "name"}
    return {**schema, "type": ["object", "null"], "properties": fields}


def schema_of(
    model: type[BaseModel],
    title: str,
    description: str,
    *,
    generator: type[GenerateJsonSchema] = AsWritten,
) -> Schema:
    """The JSON Schema of a file whose content is `model`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(schema_generator=generator),
        "title": title,
        "description": description,
    }


def schema_text(schema: Schema) -> str:
    """The text of a file that holds a schema."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _file_schema(title: str, description: str) -> Schema:
    """The schema of a file that may have variables, and whose missing fields have defaults."""
    schema = schema_of(Manifest, title, description, generator=_WithVariables)
    exact = schema_of(Manifest, title, description)
    literal = {name: exact["properties"][name] for name in NOT_INTERPOLATED}
    definitions = schema["$defs"] | _definitions(literal, exact["$defs"])
    fields = {
        name: _completed(literal.get(name, field), definitions)
        for name, field in schema["properties"].items()
    }
    # Without `required`: the defaults of the folder may have the field.
    rest = {key: value for key, value in schema.items() if key != "required"}
    used = _definitions(fields, definitions)
    return {**rest, "$defs": dict(sorted(used.items())), "properties": fields}


def _completed(field: Schema, definitions: Schema) -> Schema:
    """A top-level field whose mapping may lack fields: defaults are merged one level deep."""
    if "anyOf" in field:
        return {**field, "anyOf": [_completed(form, definitions) for form in field["anyOf"]]}
    part = definitions.get(field.get("$ref", "").rpartition("/")[2], {})
    if "required" not in part:
        return field
    whole = {key: value for key, value in part.items() if key != "required"}
    return whole | {key: value for key, value in field.items() if key != "$ref"}


def _definitions(schema: Any, all_: Schema) -> Schema:
    """The definitions that `schema` refers to, and those that they refer to."""
    found: Schema = {}
    waiting = [schema]
    while waiting:
        names = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(waiting.pop()))) - found.keys()
        found |= {name: all_[name] for name in names}
        waiting += [all_[name] for name in names]
    return found
