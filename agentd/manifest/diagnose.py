"""Turns what pydantic says of a manifest into problems with a place, a mistake and a mend."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from agentd.manifest.agent import Manifest
from agentd.manifest.strict_model import StrictModel
from agentd.manifest.yaml.nodes import Map, Node, Scalar, Seq, Span
from agentd.manifest.yaml.reader import MAX_PROBLEMS, shorten
from agentd.problems import Problem

# What people write beside `parameters` most often.
_PARAMETERS = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
)
_SWITCHES = ("yes", "no", "on", "off", "y", "n")

# pydantic's kinds of error against our words; {name} is filled from the error's context.
_WORDS = {
    "string_type": ("must be text", ""),
    "int_type": ("must be a whole number", ""),
    "float_type": ("must be a number", ""),
    "bool_type": ("must be true or false", ""),
    "dict_type": ("must be a mapping", "write fields below it, as `name: value`"),
    "model_type": ("must be a mapping", "write fields below it, as `name: value`"),
    "tuple_type": ("must be a list", "write [ ] around it, or lines that begin with `- `"),
    "missing": ("is missing", ""),
    "string_too_short": ("is empty", "write something, or delete the line"),
    "string_too_long": ("is longer than {max_length} characters", ""),
    "greater_than_equal": ("must be at least {ge:g}", ""),
    "less_than_equal": ("must be at most {le:g}", ""),
    "literal_error": ("must be {expected}", ""),
}


def diagnose(
    error: ValidationError,
    root: Map,
    *,
    of: type[StrictModel] = Manifest,
    called: str = "the manifest",
) -> list[Problem]:
    """The errors of an `of` made from `plain(root)`, each at its place in the file, which people
    know as `called`."""
    found = error.errors(include_url=False, include_input=False)
    told = [(details, _problem(details, root, of, called)) for details in found[:MAX_PROBLEMS]]
    # A misspelt field is also a missing one: one mistake, one problem.
    meant = {problem.hint for _, problem in told}
    problems = [
        problem
        for details, problem in told
        if details["type"] != "missing" or _meant(str(details["loc"][-1])) not in meant
    ]
    if len(found) > MAX_PROBLEMS:
        problems.append(root.span.problem(f"and {len(found) - MAX_PROBLEMS:,} more mistakes"))
    return problems


def unconditional(manifest: Manifest, root: Map) -> Iterator[Problem]:
    """A warning where no model is left for a message that no `when` is true of."""
    if manifest.model and all(model.when for model in manifest.model):
        last = ("model", len(manifest.model) - 1, "when")
        yield place(root, last).problem(
            "every model has a `when`: a task that none is true of fails (no_model)",
            hint="leave it out of the last one",
            severity="warning",
        )


def place(root: Map, loc: Sequence[str | int]) -> Span:
    """Where the field at `loc` stands, or the nearest thing around it."""
    return _walk(root, loc)[1]


def did_you_mean(name: str, known: Collection[str]) -> str:
    """`did you mean …?` for a misspelt name; "" where nothing known is near."""
    near = get_close_matches(shorten(name), known, n=1, cutoff=0.65)
    return _meant(near[0]) if near else ""


def _problem(details: ErrorDetails, root: Map, of: type[StrictModel], called: str) -> Problem:
    if details["type"] == "extra_forbidden":
        return _unknown(details["loc"], root, of)
    mistake, hint, *path = _words(details)
    names, span, node = _walk(root, (*details["loc"], *path))
    if details["type"] == "missing":
        names = [*names, str(details["loc"][-1])]
    elif isinstance(node, Scalar) and node.value is None and details["type"] != "value_error":
        mistake, hint = "has no value", "write one, or delete the line"
    elif details["type"] == "string_type" and isinstance(node, Scalar):
        hint = "quote it"
    elif details["type"] == "bool_type" and isinstance(node, Scalar):
        hint = "yes, no, on and off are text" if node.text.lower() in _SWITCHES else ""
    elif details["type"] == "literal_error" and isinstance(node, Scalar):
        hint = did_you_mean(node.text, details.get("ctx", {})["expected"].replace("'", "").split())
    if not names and details["loc"] == ("name",):
        names, hint = ["name"], "it comes from the file's name; write `name:`, or rename the file"
    subject = f"`{'.'.join(names)}`" if names else called
    return span.problem(f"{subject} {mistake}", hint=hint)


def _unknown(loc: tuple[str | int, ...], root: Map, of: type[StrictModel]) -> Problem:
    name = str(loc[-1])
    _, span, parent = _walk(root, loc[:-1])
    if isinstance(parent, Map) and name in parent.entries:
        span = parent.entries[name][0].span
    return span.problem(f"unknown field `{shorten(name)}`", hint=_suggest(name, loc[:-1], of))


def _words(details: ErrorDetails) -> tuple[str, ...]:
    """Mistake, mend, and what a validator of ours adds to the place."""
    context: Mapping[str, Any] = details.get("ctx", {})
    if details["type"] == "value_error":
        return context["error"].args
    mistake, hint = _WORDS.get(details["type"], (details["msg"], ""))
    return mistake.format_map(context).replace("'", "`"), hint


def _walk(root: Map, loc: Sequence[str | int]) -> tuple[list[str], Span, Node]:
    """The keys on the way to `loc`, the best place to point at, and the node there.

    A location may name what is not in the file: an absent field, the `name` of a model given as a
    text, the `rules` that a list stands for. Such steps are left out.
    """
    names: list[str] = []
    node: Node = root
    span = _point(root)
    for step in loc:
        if isinstance(node, Map) and isinstance(step, int):
            node = node.get("routes") or node  # a list of models that is written as a mapping
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
    """Where to point for a whole node: at its first key rather than under all of its line."""
    if isinstance(node, Map) and node.entries:
        return next(iter(node.entries.values()))[0].span
    return node.span


def _suggest(name: str, loc: Sequence[str | int], of: type[StrictModel]) -> str:
    part = _part_at(loc, of)
    near = did_you_mean(name, list(_fields(part)))
    if near or part is not Manifest:
        return near or f"fields here: {', '.join(_fields(part))}"
    if name in _PARAMETERS:
        return "it belongs under `parameters`"
    for outer in ("limits", *Manifest.model_fields):
        inner = _part(Manifest.model_fields[outer].annotation)
        if inner and name in _fields(inner):
            return f"it belongs under `{outer}`"
    return f"fields: {', '.join(_fields(part))}"


def _meant(name: str) -> str:
    return f"did you mean `{name}`?"


def _part_at(loc: Sequence[str | int], of: type[StrictModel]) -> type[StrictModel]:
    part = of
    for step in loc:
        field = _fields(part).get(str(step))
        part = (field and _part(field.annotation)) or part
    return part


def _fields(part: type[StrictModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in part.model_fields.items()}


def _part(annotation: Any) -> type[StrictModel] | None:
    """The class of the mapping that a field holds, alone or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        return annotation
    inner = (_part(argument) for argument in get_args(annotation))
    return next((part for part in inner if part), None)
