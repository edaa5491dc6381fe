"""Whether an expression can be evaluated, or be true, for values that fit a JSON Schema.

Only what is certain or very likely is reported: a schema that is too complicated to read allows
anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import nodes

from agentd.problems import did_you_mean
from agentd.templates.expression import parse_expression
from agentd.templates.place import PromptProblem

Schema = Mapping[str, Any]
ANYTHING: Schema = {}

_MOST_REFERENCES = 16
_COMBINED = ("anyOf", "oneOf", "allOf", "if", "not", "patternProperties")
_TYPES = {
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_WORDS = {"string": "text", "array": "a list", "object": "a mapping", "null": "null"}


@dataclass(frozen=True)
class Misfit:
    """What of an expression does not fit the schemas. An error fails in every evaluation."""

    problem: PromptProblem
    severity: Literal["error", "warning"] = "error"


class SchemaFit:
    """Compares one expression with the schemas of its names. `misfits` are the results."""

    def __init__(self, text: str, schemas: Mapping[str, Schema]) -> None:
        """Reads `text`, which is a valid expression."""
        self.misfits: list[Misfit] = []
        self._schemas = schemas
        assign = parse_expression(text).body[0]
        assert isinstance(assign, nodes.Assign)
        self._value = assign.node
        allowed = set(_guarded(self._value))
        found: dict[int, Schema] = {}
        for node in [*assign.node.find_all((nodes.Getattr, nodes.Getitem)), assign.node]:
            if id(node) not in allowed:
                self._of(node, found)
        for comparison in [*assign.node.find_all(nodes.Compare), assign.node]:
            if isinstance(comparison, nodes.Compare):
                self._compare(comparison, found)
        self._found = found

    def items(self) -> Schema:
        """The schema of the items, of an expression that must give a list."""
        schema = self._of(self._value, self._found)
        kinds = _kinds(schema)
        if kinds and "array" not in kinds:
            word = _last_word(self._value)
            text = f"`{word}` is {_in_words(kinds)}, but `for_each` needs a list"
            self.misfits.append(Misfit(PromptProblem(text, 1, word)))
        items = schema.get("items")
        return items if isinstance(items, dict) else ANYTHING

    def _of(self, node: nodes.Node, found: dict[int, Schema]) -> Schema:
        """The schema of a value; each problem on the way to it is reported once."""
        if id(node) not in found:
            found[id(node)] = ANYTHING
            found[id(node)] = self._schema(node, found)
        return found[id(node)]

    def _schema(self, node: nodes.Node, found: dict[int, Schema]) -> Schema:
        match node:
            case nodes.Name():
                return self._schemas.get(node.name, ANYTHING)
            case nodes.Getattr():
                return self._field(self._of(node.node, found), node.attr, _last_word(node.node))
            case nodes.Getitem(arg=nodes.Const(value=str(key))):
                return self._field(self._of(node.node, found), key, _last_word(node.node))
            case nodes.Getitem(arg=nodes.Const(value=int())):
                items = self._resolved(self._of(node.node, found)).get("items")
                return items if isinstance(items, dict) else ANYTHING
            case _:
                return ANYTHING

    def _field(self, owner: Schema, name: str, whose: str) -> Schema:
        owner = self._resolved(owner)
        if any(word in owner for word in _COMBINED):
            return ANYTHING
        kinds = _kinds(owner)
        if kinds and "object" not in kinds:
            text = f"`{whose}` is {_in_words(kinds)} and has no `{name}`"
            self.misfits.append(Misfit(PromptProblem(text, 1, name)))
            return ANYTHING
        properties: Any = owner.get("properties")
        if not isinstance(properties, dict) or not properties:
            return ANYTHING
        if name in properties:
            return properties[name] if isinstance(properties[name], dict) else ANYTHING
        hint = did_you_mean(name, properties) or f"it has {', '.join(sorted(properties))}"
        problem = PromptProblem(f"the schema of `{whose}` has no `{name}`", 1, name, hint)
        closed = owner.get("additionalProperties") is False
        if closed or "additionalProperties" not in owner:
            self.misfits.append(Misfit(problem, "error" if closed else "warning"))
        return ANYTHING

    def _resolved(self, schema: Schema) -> Schema:
        """The schema behind local references; ANYTHING for others."""
        for _ in range(_MOST_REFERENCES):
            if "$ref" not in schema:
                return schema
            target: Any = self._schemas.get("output", ANYTHING)
            reference = str(schema["$ref"])
            if not reference.startswith("#/"):
                return ANYTHING
            for part in reference[2:].split("/"):
                target = target.get(part) if isinstance(target, dict) else None
            schema = target if isinstance(target, dict) else ANYTHING
        return ANYTHING

    def _compare(self, node: nodes.Compare, found: dict[int, Schema]) -> None:
        for operand in node.ops:
            schema = self._resolved(self._of(node.expr, found))
            if any(word in schema for word in _COMBINED):
                continue
            for value in _constants(operand):
                self._compare_with(schema, operand.op, value, _last_word(node.expr))

    def _compare_with(self, schema: Schema, op: str, value: Any, name: str) -> None:
        kinds, shown = _kinds(schema), repr(value)
        word = value if isinstance(value, str) and value else shown
        if kinds and not _is_of(value, kinds):
            text = f"`{name}` is {_in_words(kinds)} and never {shown}"
            certain = op not in ("eq", "ne", "in", "notin")
            hint = f"compare it with {_in_words(kinds)}"
            severity = "error" if certain else "warning"
            self.misfits.append(Misfit(PromptProblem(text, 1, word, hint), severity))
            return
        listed: Any = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if isinstance(listed, list) and op in ("eq", "in") and value not in listed:
            known = [each for each in listed if isinstance(each, str)]
            hint = did_you_mean(str(value), known) or f"it is one of {', '.join(map(repr, listed))}"
            problem = PromptProblem(f"`{name}` is never {shown}", 1, word, hint)
            self.misfits.append(Misfit(problem, "warning"))


def _guarded(root: nodes.Node) -> Iterator[int]:
    """Nodes that need no value: `x is defined`, `x | default(…)`, and the methods of calls."""
    for node in [*root.find_all((nodes.Test, nodes.Filter, nodes.Call)), root]:
        match node:
            case nodes.Test(name="defined" | "undefined") | nodes.Filter(name="default" | "d"):
                yield id(node.node)
            case nodes.Call():
                yield id(node.node)
            case _:
                pass


def _constants(operand: nodes.Operand) -> Iterator[Any]:
    """The literal values that a comparison names."""
    match operand.expr:
        case nodes.Const():
            if operand.op not in ("in", "notin"):
                yield operand.expr.value
        case nodes.List() | nodes.Tuple() if operand.op in ("in", "notin"):
            yield from (each.value for each in operand.expr.items if isinstance(each, nodes.Const))
        case _:
            pass


def _kinds(schema: Schema) -> tuple[str, ...]:
    """The types that a schema allows; () if it allows any."""
    given: Any = schema.get("type", ())
    kinds = (given,) if isinstance(given, str) else tuple(given)
    return kinds if all(kind in _TYPES for kind in kinds) else ()


def _is_of(value: Any, kinds: tuple[str, ...]) -> bool:
    # `True` is an `int` in Python, but no number in JSON.
    if isinstance(value, bool):
        return "boolean" in kinds
    return any(isinstance(value, _TYPES[kind]) for kind in kinds)


def _in_words(kinds: tuple[str, ...]) -> str:
    words = (_WORDS.get(kind, f"a{'n' * (kind[0] in 'aio')} {kind}") for kind in kinds)
    return " or ".join(words)


def _last_word(node: nodes.Node) -> str:
    """The name of a value in a text: its last field, or else its name."""
    match node:
        case nodes.Name():
            return node.name
        case nodes.Getattr():
            return node.attr
        case nodes.Getitem(arg=nodes.Const(value=str(key))):
            return key
        case nodes.Getitem() | nodes.Filter() if node.node:
            return _last_word(node.node)
        case _:
            return "the value"
