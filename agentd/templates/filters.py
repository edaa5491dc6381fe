"""The filters and tests that prompts have, and how their values become text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from datetime import time as clock_time
from functools import wraps
from typing import Any

from jinja2 import Environment, Undefined
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.tests import TESTS
from jinja2.utils import pass_context, pass_environment
from markupsafe import escape

from agentd.templates.bounds import (
    ITEM,
    MAX_SIZE,
    SCAN,
    BoundExceeded,
    Budget,
    afford,
    percent_size,
    size,
)


def filters() -> dict[str, Callable[..., Any]]:
    """Every filter by its name, bounded; they take the context first (Jinja's `pass_context`)."""
    chosen: dict[str, Callable[..., Any]] = {name: FILTERS[name] for name in _FILTERS.split()}
    chosen.update(_OURS)
    return {name: _bounded(name, function) for name, function in chosen.items()}


def tests() -> dict[str, Callable[..., Any]]:
    """Every test (`x is mapping`) by its name, each one step of the budget."""
    return {name: _stepping(TESTS[name]) for name in _TESTS.split()}


def as_text(value: Any) -> str:
    """How a prompt shows a value: text as it is, dates in ISO form, everything else as JSON.

    Raises:
        Refused: it is a method, a macro or another thing that is no data, or it is too large.
        UndefinedError: it is a name or field that does not exist.
    """
    if isinstance(value, str):
        return value
    if type(value) in (int, float):
        return str(value)
    if isinstance(value, _IN_OWN_WORDS):
        return str(value)
    size(value)
    return _JSON.encode(value)


def kind(value: Any) -> str:
    """What a person calls such a value."""
    name = f"a {type(value).__name__.strip('_').lower()}"
    return next((word for types, word in _KINDS if isinstance(value, types)), name)


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    wanted: str = getattr(getattr(function, "jinja_pass_arg", None), "name", "")
    growth = _GROWTH.get(name)

    @wraps(function)
    def bounded(context: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget: Budget = context.budget
        budget.spend()
        if name in _PICKING:
            return function(*_first(wanted, context), value, *args, **kwargs)
        size(value)
        if growth is not None:
            afford(growth(value, *args, **kwargs))
        return budget.made(function(*_first(wanted, context), value, *args, **kwargs))

    return pass_context(bounded)


def _first(wanted: str, context: Any) -> tuple[Any, ...]:
    """What Jinja's own filters ask for as their first argument."""
    if wanted == "eval_context":
        return (context.eval_ctx,)
    return (getattr(context, wanted, context),) if wanted else ()


def _stepping(test: Callable[..., Any]) -> Callable[..., Any]:
    @pass_context
    def stepping(context: Any, value: Any, *args: Any) -> Any:
        context.budget.spend()
        return test(value, *args)

    return stepping


@pass_environment
def _join(
    environment: Environment, value: Any, separator: str = "", attribute: str | None = None
) -> str:
    items = map(make_attrgetter(environment, attribute), value) if attribute else value
    return separator.join(map(as_text, items))


@pass_context
def _to_json(context: Any, value: Any, indent: int | None = None) -> str:
    """JSON as people read it; unlike Jinja's own, `<`, `>`, `&` and `'` stay as they are."""
    if indent is None:
        return _JSON.encode(value)
    pieces: list[str] = []
    encoder = json.JSONEncoder(ensure_ascii=False, indent=indent, default=_plain)
    for piece in encoder.iterencode(value):  # deep data grows by its indents: paid as it comes
        context.budget.spend(len(piece))
        pieces.append(piece)
    return "".join(pieces)


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    return as_text(value).replace(old, new, count)


def _escape(value: Any) -> str:
    """`<`, `>`, `&` and quotes as XML entities, so that data cannot close a prompt's own tags."""
    return str(escape(as_text(value)))


def _plain(value: Any) -> str:
    if isinstance(value, _IN_OWN_WORDS):
        return str(value)
    raise BoundExceeded(
        f"cannot write {kind(value)} as text" + "; call it with ()" * callable(value)
    )


def _per_item(value: Any, *args: Any, **kwargs: Any) -> int:
    """Each item is looked up by a path such as `user.name`: items times the path's length."""
    paths = sum(len(arg) for arg in (*args, *kwargs.values()) if isinstance(arg, str))
    return len(value) * paths


def _numbers_only(value: Any, attribute: Any = None, start: Any = 0) -> int:
    if not isinstance(start, (int, float)):
        raise BoundExceeded("sums numbers only; use 'join' for text")
    return _per_item(value, attribute)


def _width(value: int | str) -> int:
    return len(value) if isinstance(value, str) else value


_OURS: Mapping[str, Callable[..., Any]] = {
    "e": _escape,
    "escape": _escape,
    "join": _join,
    "replace": _replace,
    "string": as_text,
    "tojson": _to_json,
}
# Left out on purpose: what makes HTML (safe, urlize, xmlattr, ...), what is slow or unbounded
# (wordwrap, pprint), what differs from one rendering to the next (random), and attr.
_FILTERS = """
    abs batch capitalize center count d default dictsort filesizeformat first float format groupby
    indent int items last length list lower map max min reject rejectattr reverse round select
    selectattr slice sort sum title trim truncate unique upper wordcount
"""
_TESTS = """
    boolean defined divisibleby eq equalto even false float ge greaterthan gt in integer iterable le
    lessthan lower lt mapping ne none number odd sameas sequence string true undefined upper
    == != > >= < <=
"""
# These only look at a value or pick a part of it, so it may be as large as a message can be.
_PICKING = frozenset({"count", "d", "default", "first", "last", "length", "truncate"})
# The most characters that a filter's result can have, or that its work amounts to.
_GROWTH: Mapping[str, Callable[..., int]] = {
    "batch": lambda value, count, fill_with=None: count * ITEM,
    "center": lambda value, width=80: width,
    "format": lambda value, *args, **kwargs: percent_size(as_text(value), kwargs or args),
    "groupby": _per_item,
    "indent": lambda value, width=4, *_, **__: (len(value.splitlines()) + 1) * _width(width),
    "join": lambda value, separator="", attribute=None: (
        len(value) * (len(separator) + len(attribute or ""))
    ),
    "max": _per_item,
    "min": _per_item,
    "replace": lambda value, old, new, count=-1: as_text(value).count(old) * len(new),
    "round": lambda value, precision=0, method="": abs(precision) * (MAX_SIZE // 100),
    "slice": lambda value, slices, fill_with=None: slices * ITEM,
    "sort": _per_item,
    "sum": _numbers_only,
    "tojson": lambda value, indent=None: (indent or 0) * (MAX_SIZE // 100),
    "trim": lambda value, chars=None: len(as_text(value)) * len(chars or "") // SCAN,
    "unique": _per_item,
}

_DATES = (date, clock_time, timedelta)
# The undefined is among them: asked for its text, it raises what is missing.
_IN_OWN_WORDS = (*_DATES, Undefined)
_KINDS: Sequence[tuple[Any, str]] = (
    (str, "text"),
    ((bool, int, float), "a number"),
    (type(None), "null"),
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
    (_DATES, "a date"),
    (Callable, "a function"),
)
_JSON = json.JSONEncoder(ensure_ascii=False, default=_plain)
