"""The sandbox: any template ends soon, uses little memory and reaches nothing but plain data.

Two rules guarantee that. Each step pays from a budget of time and work. No value of a template
becomes larger than `bounds.MAX_SIZE`, so no single step takes long: Python cannot interrupt a
long operation on one value, such as `'x' * 10 ** 9`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime
from typing import Any

from jinja2 import Undefined
from jinja2.exceptions import UndefinedError
from jinja2.runtime import (
    BlockReference,
    Context,
    LoopContext,
    Macro,
    StrictUndefined,
    TemplateReference,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Cycler, Joiner, Namespace, missing, pass_context

from agentd.problems import nearest
from agentd.templates.bounds import SCAN, BoundExceeded, Budget, check_size, percent_size, size
from agentd.templates.compiler import TokenLimit
from agentd.templates.filters import as_text, filters, kind, tests

BUDGET = " budget"  # with a space, so that no template can write this name


class BoundedContext(Context):
    """The variables of a rendering. The generated code finds the budget as `context.budget`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.budget: Budget = self.parent[BUDGET]


class Absent(StrictUndefined):
    """The value of a name or field that does not exist: any use of it raises UndefinedError.

    `path` is the expression for the value that lacks the field, such as `content.user`.
    """

    __slots__ = ("_path",)

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: Any = None,
        exc: Any = UndefinedError,
        *,
        path: str = "",
    ) -> None:
        super().__init__(hint, obj, name, exc)
        self._path = path

    @property
    def _undefined_message(self) -> str:
        owner: Any = self._undefined_obj
        name: Any = self._undefined_name
        if self._undefined_hint or owner is missing:
            return self._undefined_hint or f"{name!r} has no value here"
        is_mapping = isinstance(owner, Mapping)
        whose = f"'{self._path}'" + f" is {kind(owner)} and" * (not is_mapping)
        lacks = "cannot be sliced" if isinstance(name, slice) else f"has no {name!r}"
        known = owner if is_mapping else _PUBLIC.get(type(owner), ())
        near = nearest(str(name), [key for key in known if isinstance(key, str)])
        meant = f"(did you mean {near!r}?)" if near else ""
        return f"{whose if self._path else kind(owner)} {lacks} {meant}".rstrip()


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Compiles and renders templates of plain text that reach nothing but plain data."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    context_class = BoundedContext

    def __init__(self) -> None:
        super().__init__(
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            # Without this, the last line of an include and the next line become one.
            keep_trailing_newline=True,
            optimized=False,  # constant folding would run code at compile time, without a budget
            undefined=Absent,
            finalize=_output_text,
            cache_size=0,  # a prompt holds its own compiled templates
            auto_reload=False,
            extensions=[TokenLimit],
        )
        self.globals = dict(_GLOBALS)
        self.filters = filters()
        self.tests = tests()

    def getattr(self, obj: Any, attribute: str, path: str = "") -> Any:
        """`obj.attribute`; a field of the data takes precedence over a method of its type."""
        # A message with a field `items` is usual, and its author does not know Python's methods.
        if isinstance(obj, (Mapping, TemplateReference)):
            with suppress(KeyError):
                return obj[attribute]
        value = getattr(obj, attribute, missing)
        public = _PUBLIC.get(type(obj))
        if value is missing or (public is not None and attribute not in public):
            return Absent(None, obj, attribute, path=path)
        if not self.is_safe_attribute(obj, attribute, value):
            return self.unsafe_undefined(obj, attribute)
        return value

    def getitem(self, obj: Any, argument: Any, path: str = "") -> Any:
        """`obj[argument]`; it never gives a method of data."""
        try:
            return obj[argument]
        except (TypeError, LookupError):
            if isinstance(argument, str) and type(obj) not in _PUBLIC:
                return self.getattr(obj, argument, path)
        return Absent(None, obj, argument, path=path)

    # The odd names are Jinja's: they cannot clash with the keyword arguments of a call.
    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """`obj(...)`: calls a macro, a block, a global function or a public method of data."""
        budget: Budget = __context.parent[BUDGET]
        budget.spend()
        if isinstance(__obj, Undefined):
            return __obj()  # raises the error that names what is missing
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if name in _PUBLIC.get(type(owner), ()):
            # `_GROWTH` knows arguments by position: a keyword could hide a width from it.
            if kwargs.keys() - _JINJA_KEYWORDS:
                raise BoundExceeded(f"{name!r} takes its arguments in order, without names")
            check_size(_GROWTH[name](owner, *args) if name in _GROWTH else 0)
        # A list of what may be called, not of what may not: new things are refused by default.
        elif not isinstance(__obj, _CALLABLE) and __obj not in _FUNCTIONS:
            raise BoundExceeded(f"cannot call {kind(__obj)}")
        return budget.charge(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`; refused in advance if the result could be too large."""
        budget: Budget = context.parent[BUDGET]
        budget.spend()
        # `+` needs no check here: its result is at most twice as large as a value may be.
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            check_size(left.bit_length() * right)
        elif operator == "*":
            check_size(max(size(left) * _times(right), size(right) * _times(left)))
        elif operator == "%" and isinstance(left, str):
            check_size(percent_size(left, right))
        return budget.charge(self.binop_table[operator](left, right))

    def joined(self, context: Context, parts: Iterable[Any]) -> str:
        """The value of `a ~ b ~ c`, as one text."""
        texts = [as_text(part) for part in parts]
        check_size(sum(map(len, texts)))
        return context.parent[BUDGET].charge("".join(texts))


class _Namespace(Namespace):
    """`namespace(a=1)`. Its `repr` omits the fields, because two namespaces can hold each other."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)

    def __repr__(self) -> str:
        return "namespace"


def _mapping(fields: Mapping[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
    """`dict(a=1)`. It takes no list of pairs: with colliding hashes, many keys take minutes."""
    return {**(fields or {}), **more}


@pass_context
def _output_text(context: BoundedContext, value: Any) -> str:
    text = as_text(value)
    context.budget.spend(len(text))
    return text


def _scan(text: str, other: str | None) -> int:
    """The work of comparing each character of one text with each character of the other."""
    return len(text) * len(other or "") // SCAN


def _times(value: Any) -> int:
    return value if isinstance(value, int) else 0


# The attributes that templates reach on each type. `str.format` is not among them: its fields
# read attributes past the sandbox, as in `'{0.__class__}'.format(x)`.
_PUBLIC: Mapping[type, frozenset[str]] = {
    of: frozenset(names.split())
    for of, names in {
        str: "capitalize casefold center count endswith find index isalnum isalpha isdigit islower "
        "isnumeric isspace isupper join ljust lower lstrip partition removeprefix removesuffix "
        "replace rjust rsplit rstrip split splitlines startswith strip title upper zfill",
        dict: "get items keys values",
        list: "count index",
        tuple: "count index",
        int: "",
        float: "is_integer",
        bool: "",
        type(None): "",
        date: "day isoformat isoweekday month strftime weekday year",
        datetime: "date day hour isoformat isoweekday minute month second strftime time timestamp "
        "weekday year",
        LoopContext: "changed cycle depth depth0 first index index0 last length nextitem previtem "
        "revindex revindex0",
        Cycler: "current next reset",
    }.items()
}
# An upper bound of the characters in a method's result, or of its work in the same unit. The
# methods that strip, and `rsplit`, can compare each character of one text with each of the other.
_GROWTH: Mapping[str, Callable[..., int]] = {
    "center": lambda text, width, *_: width,
    "join": lambda text, items: len(text) * len(items) + size(items),
    "ljust": lambda text, width, *_: width,
    "replace": lambda text, old, new, *_: text.count(old) * len(new),
    "lstrip": lambda text, chars=None: _scan(text, chars),
    "rjust": lambda text, width, *_: width,
    "rsplit": lambda text, separator=None, *_: _scan(text, separator),
    "rstrip": lambda text, chars=None: _scan(text, chars),
    "strip": lambda text, chars=None: _scan(text, chars),
    "strftime": lambda value, form: len(form) * 256,  # Python allows no longer result
    "zfill": lambda text, width: width,
}
_JINJA_KEYWORDS = frozenset({"_loop_vars", "_block_vars"})  # Jinja adds them in loops and blocks
_CALLABLE = (Macro, BlockReference, LoopContext, Joiner)
_GLOBALS: Mapping[str, Any] = {
    "cycler": Cycler,
    "dict": _mapping,
    "joiner": Joiner,
    "namespace": _Namespace,
    "range": safe_range,
}
_FUNCTIONS = tuple(_GLOBALS.values())
