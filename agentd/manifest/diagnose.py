"""Turns the validation errors of pydantic into problems with a place and a hint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from agentd.manifest.agent import Manifest
from agentd.manifest.limits import Output
from agentd.manifest.strict_model import StrictModel
from agentd.manifest.yaml.nodes import Map, Node, Scalar, Seq, Span, flow_style
from agentd.manifest.yaml.reader import MAX_PROBLEMS, shorten
from agentd.problems import Problem, did_you_mean

# Parameters that users often write at the top level, instead of under `parameters`.
_OFTEN_MISPLACED = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
)
# Words of a JSON Schema, which users write directly under `output`.
_SCHEMA_WORDS = ("type", "properties", "required", "items", "enum", "additionalProperties", "$ref")
# Booleans in YAML 1.1, text in YAML 1.2.
_OLD_BOOLEANS = ("yes", "no", "on", "off", "y", "n")

# The types of pydantic's errors, with problem and hint; {…} is filled in from the error's context.
_TEXTS = {
    "string_type": ("must be text", ""),
    "int_type": ("must be a whole number", ""),
    "float_type": ("must be a number", ""),
    "bool_type": ("must be true or false", ""),
    "dict_type": ("must be a mapping", "write its fields below it, each as `name: value`"),
    "model_type": ("must be a mapping", "write its fields below it, each as `name: value`"),
    "tuple_type": (
        "must be a list",
        "write [ ] around it, or put each item on a line that begins with `- `",
    ),
    "missing": ("is missing", ""),
    "string_too_short": ("is empty", "write a value, or delete the line"),
    "string_too_long": ("is longer than {max_length} characters", ""),
    "greater_than_equal": ("must be at least {ge:g}", ""),
    "less_than_equal": ("must be at most {le:g}", ""),
    "literal_error": ("must be {expected}", ""),
}


def diagnose(
    error: ValidationError,
    root: Map,
    *,
    model: type[StrictModel] = Manifest,
    subject: str = "the manifest",
) -> list[Problem]:
    """The problems of `plain(root)`, which is no valid `model`, each at its place in the file.

    `subject` names the whole in problems that belong to no field.
    """
    # Without the input: it may hold secrets, and pydantic would copy it into each error.
    found = error.errors(include_url=False, include_input=False)
    reported = [
        (details, _problem(details, root, model, subject)) for details in found[:MAX_PROBLEMS]
    ]
    # A misspelt required field is both unknown and missing. Report it once.
    hints = {problem.hint for _, problem in reported}
    problems = [
        problem
        for details, problem in reported
        if details["type"] != "missing" or _question(str(details["loc"][-1])) not in hints
    ]
    if len(found) > MAX_PROBLEMS:
        more = len(found) - MAX_PROBLEMS
        problems.append(root.span.problem(f"there are {more:,} more problems like these"))
    return problems


def places_of(error: ValidationError) -> list[tuple[str | int, ...]]:
    """The fields that the problems of `error` are about."""
    found = error.errors(include_url=False, include_input=False)
    return [(*details["loc"], *_text(details)[2:]) for details in found]


def warn_if_no_model_is_left(manifest: Manifest, root: Map) -> Iterator[Problem]:
    """A warning if every model has a `when`, so that some message may find no model."""
    if manifest.model and all(model.when for model in manifest.model):
        last = ("model", len(manifest.model) - 1, "when")
        yield place(root, last).problem(
            "every model has a `when`, so a task for which none is true fails with no_model",
            hint="remove `when` from the last model",
            severity="warning",
        )


def place(root: Map, loc: Sequence[str | int]) -> Span:
    """The place of the field at `loc`, or of the nearest thing around it."""
    return node_at(root, loc)[1]


def node_at(root: Map, loc: Sequence[str | int]) -> tuple[Node, Span]:
    """The value at `loc`, or the nearest one around it, and its place."""
    _, span, node = _walk(root, loc)
    return node, span


def _problem(details: ErrorDetails, root: Map, model: type[StrictModel], subject: str) -> Problem:
    if details["type"] == "extra_forbidden":
        return _unknown_field(details["loc"], root, model)
    text, hint, *path = _text(details)
    names, span, node = _walk(root, (*details["loc"], *path))
    if details["type"] == "missing":
        names = [*names, str(details["loc"][-1])]
    elif isinstance(node, Scalar) and node.value is None and details["type"] != "value_error":
        text, hint = "has no value", "write one, or delete the line"
    elif details["type"] in ("model_type", "dict_type"):
        hint = _example(details["loc"], model) or hint
    elif details["type"] == "string_type" and isinstance(node, Scalar):
        hint = "quote it"
    elif details["type"] == "bool_type" and isinstance(node, Scalar):
        hint = (
            "yes, no, on and off are text in YAML 1.2" if node.text.lower() in _OLD_BOOLEANS else ""
        )
    elif details["type"] == "literal_error" and isinstance(node, Scalar):
        hint = did_you_mean(node.text, details.get("ctx", {})["expected"].replace("'", "").split())
    if not names and details["loc"] == ("name",):
        # The name of the file, as there is no field `name` to point at.
        names, hint = ["name"], "it comes from the file name; set `name`, or rename the file"
    what = f"`{'.'.join(names)}`" if names else subject
    if details["loc"] and isinstance(details["loc"][-1], int) and details["type"] != "value_error":
        what = f"an item of {what}"
    return span.problem(f"{what} {text}", hint=hint)


def _example(loc: Sequence[str | int], model: type[StrictModel]) -> str:
    """How a mapping at `loc` may look, from the example of its field; "" if there is none."""
    *outer, name = [step for step in loc if isinstance(step, str)] or [""]
    field = _fields(_part_at(outer, model)).get(name)
    example = field.examples[0] if field and field.examples else None
    if isinstance(loc[-1], int) and isinstance(example, list):
        example = example[0]
    return f"for example `{flow_style(example)}`" if isinstance(example, dict) else ""


def _unknown_field(loc: tuple[str | int, ...], root: Map, model: type[StrictModel]) -> Problem:
    name = str(loc[-1])
    _, span, parent = _walk(root, loc[:-1])
    if isinstance(parent, Map) and name in parent.entries:
        span = parent.entries[name][0].span
    return span.problem(f"unknown field `{shorten(name)}`", hint=_suggestion(name, loc[:-1], model))


def _text(details: ErrorDetails) -> tuple[str, ...]:
    """Problem and hint, followed by the keys that a validator of ours adds to the place."""
    context: Mapping[str, Any] = details.get("ctx", {})
    if details["type"] == "value_error":
        return context["error"].args
    text, hint = _TEXTS.get(details["type"], (details["msg"], ""))
    return text.format_map(context).replace("'", "`"), hint


def _walk(root: Map, loc: Sequence[str | int]) -> tuple[list[str], Span, Node]:
    """The keys on the way to `loc`, the best place to point at, and the node there.

    A location may name steps that the file does not have: an absent field, the `name` of a model
    that is given as a text, the `rules` that a list is short for. Such steps are left out.
    """
    names: list[str] = []
    node: Node = root
    span = _point(root)
    for step in loc:
        if isinstance(node, Map) and isinstance(step, int):
            # `model: {routes: […]}`, which the manifest turns into a list before it is checked.
            node = node.get("routes") or node
        if isinstance(node, Map) and step in node.entries:
            key, node = node.entries[str(step)]
            names.append(str(step))
            empty = isinstance(node, Scalar) and not node.text
            span = node.span if isinstance(node, Scalar) and not empty else key.span
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
            span = _point(node)
    return names, span, node


def _point(node: Node) -> Span:
    """The place to show for a whole node: its first key, instead of all of its line.

    Not a key that comes from the defaults: what is missing is to be added in the manifest.
    """
    if isinstance(node, Map):
        keys = (key.span for key, _ in node.entries.values())
        return next((span for span in keys if span.source is node.span.source), node.span)
    return node.span


def _suggestion(name: str, loc: Sequence[str | int], model: type[StrictModel]) -> str:
    part = _part_at(loc, model)
    if near := did_you_mean(name, _fields(part)):
        return near
    for outer, field in _fields(part).items() if part is not Manifest else ():
        inner = _part(field.annotation)
        if inner and name in _fields(inner):
            return f"it belongs into an item of `{outer}`: begin the item with `- `"
    if part is Output and name in _SCHEMA_WORDS:
        return "a JSON Schema belongs under `schema`"
    if part is not Manifest:
        return f"the fields here are {', '.join(_fields(part))}"
    if name in _OFTEN_MISPLACED:
        return "it belongs under `parameters`"
    # `limits` first: it has a `timeout`, as other parts have, and is what users mean most often.
    for outer in ("limits", *Manifest.model_fields):
        inner = _part(Manifest.model_fields[outer].annotation)
        if inner and name in _fields(inner):
            return f"it belongs under `{outer}`"
    return f"the fields are {', '.join(_fields(part))}"


def _question(name: str) -> str:
    return f"did you mean `{name}`?"


def _part_at(loc: Sequence[str | int], model: type[StrictModel]) -> type[StrictModel]:
    """The class of the mapping at `loc`."""
    part = model
    for step in loc:
        field = _fields(part).get(str(step))
        part = (field and _part(field.annotation)) or part
    return part


def _fields(part: type[StrictModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in part.model_fields.items()}


def _part(annotation: Any) -> type[StrictModel] | None:
    """The class of the mapping that a field holds, alone or in a list; None if it holds none."""
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        return annotation
    inner = (_part(argument) for argument in get_args(annotation))
    return next((part for part in inner if part), None)
