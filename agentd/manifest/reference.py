"""Generates the reference of a manifest, for people.

`python -m agentd.manifest.reference` writes the generated part of `docs/manifest.md`, and
`agent.schema.json` and `defaults.schema.json` for editors. A test fails if they are not current.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentd.manifest.agent import Manifest
from agentd.manifest.file_schema import agent_schema, defaults_schema, schema_of, schema_text
from agentd.manifest.quantities import as_list
from agentd.manifest.yaml.nodes import flow_style

PAGE = Path("docs/manifest.md")

SCHEMAS = {
    Path("agent.schema.json"): agent_schema,
    Path("defaults.schema.json"): defaults_schema,
}

_FIELDS = re.compile(r"(<!-- fields -->\n).*(<!-- end of fields -->)", re.DOTALL)
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
    "array": "list",
}
# The titles that `agentd.manifest.quantities` gives to types. The reference shows them as they are.
_TITLES = (
    "duration",
    "rate",
    "name",
    "topic",
    "fact pattern",
    "emission pattern",
    "expression",
)

Schema = Mapping[str, Any]


def page_text(page: str) -> str:
    """`page` with a new part between its two marks.

    Raises:
        ValueError: the marks are missing.
    """
    if not _FIELDS.search(page):
        raise ValueError("no <!-- fields --> … <!-- end of fields --> in the page")
    fields = "\n".join(_fields(schema_of(Manifest, "", "")))
    return _FIELDS.sub(lambda marks: f"{marks[1]}{fields}\n{marks[2]}", page)


def _fields(schema: Schema) -> Iterator[str]:
    yield "| field | type | default |"
    yield "|---|---|---|"
    for name, field in schema["properties"].items():
        yield f"| [`{name}`](#{name}) | {_type(field)} | {_default(name, schema)} |"
    shown = set[str]()
    for name, field in schema["properties"].items():
        yield from ("", f"### {name}", "", field["description"], "")
        yield from ("```yaml", f"{name}: {flow_style(field['examples'][0])}", "```")
        part = schema["$defs"].get(_part(field))
        if part:
            shown.add(_part(field))
            yield ""
            yield from _table(part, schema, shown)


def _table(part: Schema, schema: Schema, shown: set[str]) -> Iterator[str]:
    """The fields of a part, and then those of the parts inside it; each part once in a page."""
    yield "| field | type | default | example | meaning |"
    yield "|---|---|---|---|---|"
    inner: list[str] = []
    for name, field in part["properties"].items():
        example = f"`{name}: {flow_style(field['examples'][0])}`".replace("|", "\\|")
        meaning = field["description"].replace("|", "\\|")
        yield f"| `{name}` | {_type(field)} | {_default(name, part)} | {example} | {meaning} |"
        # After the table, or the table would be cut in two.
        inner += [each for each in [_part(field)] if each and each not in shown]
        shown.update(inner)
    for name in inner:
        below = schema["$defs"][name]
        yield from ("", f"**{name}**: {below['description']}", "")
        yield from _table(below, schema, shown)


def _part(field: Schema) -> str:
    """The definition that a field refers to: that of its last form, which has the most fields."""
    found = re.findall(r"#/\$defs/(\w+)", json.dumps(field))
    return found[-1] if found else ""


def _type(field: Schema) -> str:
    if field.get("title") in _TITLES:
        return field["title"]
    if "$ref" in field:
        return "mapping"
    if "enum" in field:
        return " or ".join(f"`{each}`" for each in field["enum"])
    if "anyOf" in field:
        forms = [_type(form) for form in field["anyOf"] if form.get("type") != "null"]
        return " or ".join(dict.fromkeys(forms))
    if field.get("type") == "array" and "items" in field:
        return f"list of {_plural(_type(field['items']))}"
    kinds: list[str] = as_list(field.get("type", "anything"))
    return " or ".join(_TYPES.get(kind, kind) for kind in kinds if kind != "null")


def _plural(kind: str) -> str:
    """`text or mapping` as `texts or mappings`."""
    return " or ".join(f"{each}s" for each in kind.split(" or "))


def _default(name: str, part: Schema) -> str:
    field = part["properties"][name]
    value = field.get("default")
    if name in part.get("required", ()):
        return "required"
    # A mapping that is a default shows its own defaults in its own table.
    if value in (None, "", [], {}) or isinstance(value, dict):
        return ""
    return f"`{value:g}s`" if _type(field) == "duration" else f"`{flow_style(value)}`"


def main() -> None:
    """Writes the files below the working directory."""
    for file, schema in SCHEMAS.items():
        file.write_text(schema_text(schema()))
    PAGE.write_text(page_text(PAGE.read_text()))


if __name__ == "__main__":
    main()
