"""The OpenAPI document of the tests, and its operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from agentd.manifest.tools import ToolEntry
from agentd.templates.requests.openapi_document import Api, read_api
from agentd.templates.requests.openapi_operation import Operation

PETS: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "pets.yaml").read_text())


def entry(document: Any = "pets.yaml", **fields: Any) -> ToolEntry:
    """A tool entry with `openapi:`; `name`, `allow` and `deny` are fields of the entry."""
    of_tool = {name: fields.pop(name) for name in ("name", "allow", "deny") if name in fields}
    return ToolEntry.model_validate({"openapi": {"document": document, **fields}, **of_tool})


def api(document: Any = PETS, **fields: Any) -> Api:
    """The operations of the document."""
    return read_api(document, entry(**fields))


def operation(name: str, document: Any = PETS, **fields: Any) -> Operation:
    """One operation of the document."""
    return next(each for each in api(document, **fields).operations if each.name == name)


def changed(**paths: Any) -> dict[str, Any]:
    """A document with one operation, `x`, that has these fields."""
    return {**PETS, "paths": {"/x": {"post": {"operationId": "x", **paths}}}}
