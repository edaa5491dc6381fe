"""Jinja within bounds: whatever a template says, it ends soon, stays small and reaches only data.

Two laws keep it so: every step spends from a budget of time, and no value that a template makes
grows over `bounds.MAX_SIZE`, so that no single step is long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime
from difflib import get_close_matches
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

from agentd.templates.bounds import SCAN, BoundExceeded, Budget, afford, percent_size, size
from agentd.templates.compiler import TokenLimit
from agentd.templates.filters import as_text, filters, kind, tests

BUDGET = " budget"  # a name that no template can spell


class BoundedContext(Context):
    """A rendering's variables, with its budget at hand for the generated code."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.budget: Budget = self.parent[BUDGET]


class Absent(StrictUndefined):
    """What a template named and its data does not have: any use of it raises UndefinedError.

    `spelled` is how the template reached the value that should have had it, as `content.user`.
    """

    __slots__ = ("_spelled",)

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: Any = None,
        exc: Any = UndefinedError,
        *,
        spelled: str = "",
    ) -> None:
        super().__init__(hint, obj, name, exc)
        self._spelled = spelled

    @property
    def _undefined_message(self) -> str:
        owner: Any = self._undefined_obj
        name: Any = self._undefined_name
        if self._undefined_hint or owner is missing:
            return self._undefined_hint or f"{name!r} has no value here"
        is_mapping = isinstance(owner, Mapping)
        whose = f"'{self._spelled}'" + f" is {kind(owner)} and" * (not is_mapping)
        lacks = "cannot be sliced" if isinstance(name, slice) else f"has no {name!r}"
        known = owner if is_mapping else _PUBLIC.get(type(owner), ())
        near = get_close_matches(str(name), [key for key in known if isinstance(key, str)], n=1)
        return " ".join(
            [whose if self._spelled else kind(owner), lacks]
            + [f"(did you mean {word!r}?)" for word in near]
        )


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Compiles and runs templates of plain text that reach nothing but plain data."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    context_class = BoundedContext

    def __init__(self) -> None:
        super().__init__(
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,  # else an include runs into the line after it
            optimized=False,  # folding constants would run them at compile time, without a budget
            undefined=Absent,
            finalize=_written,
            cache_size=0,
            auto_reload=False,
            extensions=[TokenLimit],
        )
        self.globals = dict(_GLOBALS)
        self.filters = filters()
        self.tests = tests()

    def getattr(self, obj: Any, attribute: str, spelled: str = "") -> Any:
        """`obj.attribute`; what the data holds goes before the methods of its type."""
        if isinstance(obj, (Mapping, TemplateReference)):
            with suppress(KeyError):
                return obj[attribute]
        value = getattr(obj, attribute, missing)
        public = _PUBLIC.get(type(obj))
        if value is missing or (public is not None and attribute not in public):
            return Absent(None, obj, attribute, spelled=spelled)
        if not self.is_safe_attribute(obj, attribute, value):
            return self.unsafe_undefined(obj, attribute)
        return value

    def getitem(self, obj: Any, argument: Any, spelled: str = "") -> Any:
        """`obj[argument]`; never a method of data."""
        try:
            return obj[argument]
        except (TypeError, LookupError):
            if isinstance(argument, str) and type(obj) not in _PUBLIC:
                return self.getattr(obj, argument, spelled)
        return Absent(None, obj, argument, spelled=spelled)

    # Jinja's own odd names: they cannot clash with the keywords of a template's call.
    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """`obj(...)`: macros, blocks, our few functions and the public methods of data."""
        budget: Budget = __context.parent[BUDGET]
        budget.spend()
        if isinstance(__obj, Undefined):
            return __obj()
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if name in _PUBLIC.get(type(owner), ()):
            if kwargs.keys() - _JINJAS_OWN:
                raise BoundExceeded(f"{name!r} takes its arguments in order, without names")
            afford(_GROWTH[name](owner, *args) if name in _GROWTH else 0)
        elif not isinstance(__obj, _CALLABLE) and __obj not in _FUNCTIONS:
            raise BoundExceeded(f"cannot call {kind(__obj)}")
        return budget.made(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`, refused before it could grow too large."""
        budget: Budget = context.parent[BUDGET]
        budget.spend()
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            afford(left.bit_length() * right)
        elif operator == "*":
            afford(max(size(left) * _times(right), size(right) * _times(left)))
        elif operator == "%" and isinstance(left, str):
            afford(percent_size(left, right))
        return budget.made(self.binop_table[operator](left, right))

    def joined(self, context: Context, parts: Iterable[Any]) -> str:
        """The parts of `a ~ b ~ c` as one text."""
        texts = [as_text(part) for part in parts]
        afford(sum(map(len, texts)))
        return context.parent[BUDGET].made("".join(texts))


class _Namespace(Namespace):
    """`namespace(a=1)`; written without its fields, which may hold each other."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)

    def __repr__(self) -> str:
        return "namespace"


def _mapping(fields: Mapping[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
    """`dict(a=1)`. Not of pairs: a list of colliding keys takes a dict minutes."""
    return {**(fields or {}), **more}


@pass_context
def _written(context: BoundedContext, value: Any) -> str:
    text = as_text(value)
    context.budget.spend(len(text))
    return text


def _scan(text: str, other: str | None) -> int:
    return len(text) * len(other or "") // SCAN


def _times(value: Any) -> int:
    return value if isinstance(value, int) else 0


# All that templates reach of data's own types. `format` is not among them: it reads attributes.
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
# The most characters that a method's result can have, or that its work amounts to. What searches
# from the right compares every character of one text with every one of the other.
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
    "strftime": lambda value, form: len(form) * 256,  # where Python itself gives up
    "zfill": lambda text, width: width,
}
_JINJAS_OWN = frozenset({"_loop_vars", "_block_vars"})  # keywords of every call in a loop or block
_CALLABLE = (Macro, BlockReference, LoopContext, Joiner)
_GLOBALS: Mapping[str, Any] = {
    "cycler": Cycler,
    "dict": _mapping,
    "joiner": Joiner,
    "namespace": _Namespace,
    "range": safe_range,
}
_FUNCTIONS = tuple(_GLOBALS.values())
