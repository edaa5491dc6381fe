"""JSON Schema: is a schema one, and does a value fit it?

The library is imported with the first schema: most agents have none, and it takes 100 ms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

_KEPT = 512  # compiled schemas
_LONGEST = 500  # characters of a mistake: it may quote the value


def schema_error(schema: Mapping[str, Any]) -> str:
    """Why `schema` is no JSON Schema (draft 2020-12); empty if it is one."""
    from jsonschema.exceptions import SchemaError

    try:
        _validator(json.dumps(schema))
    except SchemaError as error:
        return _in_words(error.message, error.absolute_path)
    except (re.error, RecursionError) as error:
        return str(error)
    return ""


def value_error(value: Any, schema: Mapping[str, Any]) -> str:
    """The most telling way in which `value` does not fit `schema`; empty if it fits."""
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    wrong = schema_error(schema)
    if wrong:
        return f"the schema itself is wrong: {wrong}"
    try:
        mistake = best_match(_validator(json.dumps(schema)).iter_errors(value))
    except (Unresolvable, re.error, RecursionError) as error:
        return f"the schema itself is wrong: {error}"
    return _in_words(mistake.message, mistake.absolute_path) if mistake else ""


@lru_cache(_KEPT)
def _validator(schema: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    read = json.loads(schema)
    Draft202012Validator.check_schema(read)
    # An empty registry: a schema that a stranger sent must not make us fetch what it refers to.
    return Draft202012Validator(read, registry=Registry())


def _in_words(message: str, path: Iterable[str | int]) -> str:
    where = "".join(f"[{part!r}]" for part in path)
    return message[:_LONGEST] + (f" (at {where[:200]})" if where else "")
