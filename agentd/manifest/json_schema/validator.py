"""The validator of the library jsonschema, with each keyword counted and patterns that end.

The library is imported with this module: it takes 100 ms, and most agents have no schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import regex
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, UnknownType, ValidationError, best_match
from jsonschema.validators import extend
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from agentd.manifest.json_schema.steps import current

Validator = Any  # a class that the library makes at run time
Keyword = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]

# What the library raises because of a schema. A reference that leads nowhere is only found when a
# value is checked. Deep nesting, or a reference to itself, exhausts the stack. The last two are
# URLs that are none, and numbers that are out of range.
FAILURES = (Unresolvable, UnknownType, regex.error, RecursionError, ValueError, ArithmeticError)

_LONGEST_PATTERN = 4_000  # characters: to compile one takes time, too


def validator_of(schema: Any) -> Validator:
    """Checks values against `schema`.

    Raises:
        SchemaError: it is not a valid schema.
        TooManySteps: it takes too many steps to find that out.
    """
    wrong = best_match(_meta.iter_errors(schema))
    if wrong is not None:
        raise SchemaError.create_from(wrong)
    resource = DRAFT202012.create_resource(schema)
    uri = resource.id() or ""
    # The registry fetches nothing: a URL in a schema would be a stranger's choice. Without `crawl`
    # each reference to an anchor would walk through the whole schema.
    registry = REGISTRY.with_resource(uri, resource).crawl()
    return _Bounded(schema, _resolver=registry.resolver(uri))


def first_error(validator: Validator, value: Any) -> ValidationError | None:
    """The most relevant error of a value; None if it fits."""
    return best_match(validator.iter_errors(value))


def _search(pattern: str, text: str) -> bool:
    """Whether the pattern occurs in the text. `re` has no timeout: `^(a+)+$` can take years."""
    with current().timed() as seconds:
        return regex.search(pattern, text, timeout=seconds) is not None


def _counted(keyword: str, function: Keyword) -> Keyword:
    """The function of a keyword, with its steps counted: one for each thing that it looks at, and
    for each error that it passes on, because errors quote values of any size."""

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        steps = current()
        steps.spend(1 + (_length(value) + _length(instance)) // 10)
        if keyword in ("const", "enum") and isinstance(instance, dict | list):
            steps.spend(_size(value) // 10)
        for error in function(validator, value, instance, schema) or ():
            steps.spend(1 + len(error.message) // 1000)
            yield error

    return counted


def _length(value: Any) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _size(value: Any) -> int:
    """How many values `value` holds, at all depths."""
    held, pending = 0, [value]
    while pending:
        each = pending.pop()
        if isinstance(each, dict | list):
            held += len(each)
            pending += each.values() if isinstance(each, dict) else each
    return held


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    del validator, schema
    if isinstance(instance, str) and not _search(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    del schema
    if not isinstance(instance, dict):
        return
    for pattern, subschema in patterns.items():
        for name, value in instance.items():
            if _search(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        yield from _rest(validator, allowed, instance, _additional(instance, schema), "Additional")


def _additional(instance: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """The properties that the schema neither names nor has a pattern for."""
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    return [
        name
        for name in instance
        if name not in named and not any(_search(pattern, name) for pattern in patterns)
    ]


def _unevaluated_properties(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        seen = _evaluated(validator, instance, {**schema, "unevaluatedProperties": None})
        left = [name for name in instance if name not in seen]
        yield from _rest(validator, allowed, instance, left, "Unevaluated")


def _unevaluated_items(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(instance, list):
        seen = _evaluated(validator, instance, {**schema, "unevaluatedItems": None})
        for index, item in enumerate(instance):
            if index not in seen:
                yield from validator.descend(item, allowed, path=index)


def _rest(
    validator: Any, allowed: Any, instance: Mapping[str, Any], names: list[str], kind: str
) -> Iterator[ValidationError]:
    """Checks the properties that are left over against the schema for them."""
    if allowed is False and names:
        shown, verb = ", ".join(map(repr, names)), "was" if len(names) == 1 else "were"
        yield ValidationError(f"{kind} properties are not allowed ({shown} {verb} unexpected)")
    elif allowed is not False:
        for name in names:
            yield from validator.descend(instance[name], allowed, path=name)


def _evaluated(validator: Any, instance: Any, schema: Any) -> set[Any]:
    """The names or indexes of the members of `instance` that a schema says something about."""
    current().spend(1)
    found: set[Any] = set()
    for keyword, value in schema.items() if isinstance(schema, dict) else ():
        current().spend(1 + _length(value))
        match keyword:
            case "$ref" | "$dynamicRef":
                there = validator._resolver.lookup(value)
                other = validator.evolve(schema=there.contents, _resolver=there.resolver)
                found |= _evaluated(other, instance, there.contents)
            case "allOf" | "anyOf" | "oneOf":
                for each in value:
                    found |= _if_valid(validator, instance, each)
            case "if":
                met = validator.evolve(schema=value).is_valid(instance)
                found |= _evaluated(validator, instance, value) if met else set()
                found |= _evaluated(validator, instance, schema.get("then" if met else "else"))
            case "dependentSchemas":
                for name in value.keys() & instance if isinstance(instance, dict) else ():
                    found |= _evaluated(validator, instance, value[name])
            case _ if value is not None:
                found |= _members(validator, keyword, value, instance, schema)
            case _:
                pass
    return found


def _if_valid(validator: Any, instance: Any, schema: Any) -> set[Any]:
    if not validator.evolve(schema=schema).is_valid(instance):
        return set()
    return _evaluated(validator, instance, schema)


def _members(
    validator: Any, keyword: str, value: Any, instance: Any, schema: Mapping[str, Any]
) -> set[Any]:
    """The members that one keyword says something about, by itself."""
    current().spend(_length(instance) // 10)
    match keyword, instance:
        case "properties", dict():
            return {name for name in instance if name in value}
        case "patternProperties", dict():
            return {name for name in instance if any(_search(each, name) for each in value)}
        case "additionalProperties", dict():
            return set(_additional(instance, schema))
        case ("unevaluatedProperties", dict()):
            return set(instance)
        case (("items" | "unevaluatedItems"), list()):
            return set(range(len(instance)))
        case "prefixItems", list():
            return set(range(len(value)))
        case "contains", list():
            each = validator.evolve(schema=value)
            return {index for index, item in enumerate(instance) if each.is_valid(item)}
        case _:
            return set()


def _unique_items(
    validator: Any, unique: bool, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    """The library compares each item with each other one. Texts can be put into a set."""
    del validator, schema
    if unique and isinstance(instance, list):
        current().spend(_size(instance) // 10)
        if len({_written(item) for item in instance}) < len(instance):
            yield ValidationError(f"{instance!r} has non-unique elements")


def _written(value: Any) -> str:
    """Equal texts for values that are equal in JSON Schema, where 1 and 1.0 are."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_whole(item) for item in value]
        case dict():
            return {name: _whole(item) for name, item in value.items()}
        case _:
            return value


def _evolve(self: Any, **changes: Any) -> Any:
    """The library's own takes another, uncounted validator where a subschema has a `$schema`."""
    given = {
        "schema": self.schema,
        "format_checker": self.format_checker,
        "_resolver": self._resolver,
    }
    return type(self)(**(given | changes))


_formats = FormatChecker(formats=())


@_formats.checks("regex", raises=(regex.error, RecursionError, ValueError))
def _is_pattern(text: object) -> bool:
    if isinstance(text, str):
        if len(text) > _LONGEST_PATTERN:
            raise ValueError(f"a pattern has more than {_LONGEST_PATTERN:,} characters")
        with current().timed():
            regex.compile(text)
    return True


_OURS: dict[str, Keyword] = {
    "additionalProperties": _additional_properties,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "unevaluatedItems": _unevaluated_items,
    "unevaluatedProperties": _unevaluated_properties,
    "uniqueItems": _unique_items,
}
_THEIRS: Mapping[str, Any] = Draft202012Validator.VALIDATORS
_Bounded: Validator = extend(
    Draft202012Validator,
    {keyword: _counted(keyword, function) for keyword, function in {**_THEIRS, **_OURS}.items()},
)
_Bounded.evolve = _evolve
_meta: Validator = _Bounded(
    Draft202012Validator.META_SCHEMA,
    format_checker=_formats,
    _resolver=REGISTRY.resolver(Draft202012Validator.META_SCHEMA["$id"]),
)
