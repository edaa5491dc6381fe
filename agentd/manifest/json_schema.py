"""JSON Schema: whether a schema is valid, and whether a value fits it.

The library is imported when the first schema is checked: it takes 100 ms, and most agents have no
schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

_CACHED_SCHEMAS = 512
_MAX_TEXT = 500  # characters of an error, which may quote the whole value


def schema_error(schema: Mapping[str, Any]) -> str:
    """Why `schema` is not a valid JSON Schema (draft 2020-12); "" if it is valid."""
    from jsonschema.exceptions import SchemaError

    try:
        _validator(json.dumps(schema))
    except SchemaError as error:
        return _text(error.message, error.absolute_path)
    except (re.error, RecursionError) as error:
        # The library recurses into the schema, so deep nesting exhausts the stack.
        return str(error)
    return ""


def value_error(value: Any, schema: Mapping[str, Any]) -> str:
    """Why `value` does not fit `schema`, by the most relevant error; "" if it fits."""
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    if invalid := schema_error(schema):
        return f"the schema itself is invalid: {invalid}"
    try:
        error = best_match(_validator(json.dumps(schema)).iter_errors(value))
    except (Unresolvable, re.error, RecursionError) as failure:
        # A reference that leads nowhere is only found when a value is checked.
        return f"the schema itself is invalid: {failure}"
    return _text(error.message, error.absolute_path) if error else ""


@lru_cache(_CACHED_SCHEMAS)
def _validator(schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    read = json.loads(schema)
    Draft202012Validator.check_schema(read)
    # With an empty registry the library fetches no URL that a schema refers to. A schema may come
    # from a stranger, for example from an MCP server.
    return Draft202012Validator(read, registry=Registry())


def _text(message: str, path: Iterable[str | int]) -> str:
    where = "".join(f"[{part!r}]" for part in path)
    return message[:_MAX_TEXT] + (f" (at {where[:200]})" if where else "")
