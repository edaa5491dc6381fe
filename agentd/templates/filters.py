"""The filters and tests that templates can use, and how values become text."""

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
    check_size,
    percent_size,
    size,
)


def filters() -> dict[str, Callable[..., Any]]:
    """All filters by name. Each takes the context first (Jinja's `pass_context`) and pays for its
    result."""
    chosen: dict[str, Callable[..., Any]] = {name: FILTERS[name] for name in _FILTERS.split()}
    chosen.update(_OURS)
    return {name: _bounded(name, function) for name, function in chosen.items()}


def tests() -> dict[str, Callable[..., Any]]:
    """All tests (`x is mapping`) by name. Each costs one step of the budget."""
    return {name: _counted(TESTS[name]) for name in _TESTS.split()}


def as_text(value: Any) -> str:
    """A value as text: text unchanged, a date in ISO form, everything else as JSON.

    Raises:
        BoundExceeded: the value is too large, or it is not data but a method or a macro.
        UndefinedError: the name or the field does not exist.
    """
    if isinstance(value, str):
        return value
    if type(value) in (int, float):  # not isinstance: True is an int, and its JSON is `true`
        return str(value)
    if isinstance(value, _STR_TYPES):
        return str(value)
    size(value)  # before it is encoded: lists in lists can be short to hold and long to write
    return _JSON.encode(value)


def kind(value: Any) -> str:
    """The type of a value, in words for the author of a template."""
    name = f"a {type(value).__name__.strip('_').lower()}"
    return next((word for types, word in _KINDS if isinstance(value, types)), name)


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a filter that checks the size of its result in advance and pays for it."""
    wanted: str = getattr(getattr(function, "jinja_pass_arg", None), "name", "")
    growth = _GROWTH.get(name)

    @wraps(function)
    def bounded(context: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget: Budget = context.budget
        budget.spend()
        if name in _ANY_SIZE:
            return function(*_first(wanted, context), value, *args, **kwargs)
        size(value)
        if growth is not None:
            check_size(growth(value, *args, **kwargs))
        return budget.charge(function(*_first(wanted, context), value, *args, **kwargs))

    return pass_context(bounded)


def _first(wanted: str, context: Any) -> tuple[Any, ...]:
    """The first argument of a filter of Jinja that is decorated with `pass_…`; else nothing."""
    if wanted == "eval_context":
        return (context.eval_ctx,)
    return (getattr(context, wanted, context),) if wanted else ()


def _counted(test: Callable[..., Any]) -> Callable[..., Any]:
    @pass_context
    def counted(context: Any, value: Any, *args: Any) -> Any:
        context.budget.spend()
        return test(value, *args)

    return counted


@pass_environment
def _join(
    environment: Environment, value: Any, separator: str = "", attribute: str | None = None
) -> str:
    items = map(make_attrgetter(environment, attribute), value) if attribute else value
    return separator.join(map(as_text, items))


@pass_context
def _to_json(context: Any, value: Any, indent: int | None = None) -> str:
    """JSON for people. Unlike Jinja's filter it does not escape `<`, `>`, `&` and `'`."""
    if indent is None:
        return _JSON.encode(value)
    pieces: list[str] = []
    encoder = json.JSONEncoder(ensure_ascii=False, indent=indent, default=_plain)
    # Piece by piece: the indents of deep data can be much longer than the data.
    for piece in encoder.iterencode(value):
        context.budget.spend(len(piece))
        pieces.append(piece)
    return "".join(pieces)


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    return as_text(value).replace(old, new, count)


def _escape(value: Any) -> str:
    """Text with `<`, `>`, `&` and quotes as XML entities: data cannot close a tag of the prompt."""
    # As plain `str`: with the Markup of markupsafe, `+` and `%` would escape other values too.
    return str(escape(as_text(value)))


def _plain(value: Any) -> str:
    if isinstance(value, _STR_TYPES):
        return str(value)
    raise BoundExceeded(
        f"cannot write {kind(value)} as text" + "; call it with ()" * callable(value)
    )


def _per_item(value: Any, *args: Any, **kwargs: Any) -> int:
    """The work of looking up a path such as `user.name` in each item: items times its length."""
    paths = sum(len(arg) for arg in (*args, *kwargs.values()) if isinstance(arg, str))
    return len(value) * paths


def _numbers_only(value: Any, attribute: Any = None, start: Any = 0) -> int:
    # A sum of lists copies the list at each step: its time grows with the square of the length.
    if not isinstance(start, (int, float)):
        raise BoundExceeded("'sum' adds numbers only; use 'join' for text")
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
# These filters of Jinja are missing on purpose: those that make HTML (safe, urlize, xmlattr, ...),
# those that are slow or unbounded (wordwrap, pprint), those whose result differs between two
# renderings (random), and attr, which reads attributes past the checks of the sandbox.
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
# These only look at a value or pick a part of it. So they accept a value of any size: a prompt
# can show the beginning of a message that is too large to be shown as a whole.
_ANY_SIZE = frozenset({"count", "d", "default", "first", "last", "length", "truncate"})
# An upper bound of the characters in a filter's result, or of its work in the same unit. It is
# computed from the arguments before the filter runs: afterwards the memory would be used already.
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
# Undefined is one of them, because its `str` raises the error that names what is missing.
_STR_TYPES = (*_DATES, Undefined)
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
