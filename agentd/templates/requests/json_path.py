"""Paths into JSON values, such as `data.items[0].temp` or `items[*].name`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentd.errors import AgentdError

_STEP = re.compile(
    r"""\.?(?P<name>[\w-]+)
    | \.?\*(?=[.\[]|$)                                       # the same as [*]
    | \[\s*(?: (?P<index>-?\d{1,9}) | \*
             | "(?P<double>(?:[^"\\]|\\.)*)" | '(?P<single>(?:[^'\\]|\\.)*)' )\s*\]
    """,
    re.VERBOSE,
)
_SHOWN = 10  # keys of an object, in an error


class NoMatch(AgentdError):
    """The value has nothing at the path. The text names the last part that exists, and its keys."""


@dataclass(frozen=True)
class JsonPath:
    """A parsed path. A step is a key, an index (negative: from the end) or None, which is `[*]`."""

    text: str
    steps: tuple[str | int | None, ...]

    def pick(self, value: Any) -> Any:
        """The part of `value` at the path; if the path has `[*]`, the list of all matching parts.

        Raises:
            NoMatch: `value` has nothing at the path.
        """
        return _pick(value, self.steps, "")


def parse_path(text: str) -> JsonPath:
    """Parses a path. A leading `$`, as in JSONPath (RFC 9535), is allowed and has no effect.

    Raises:
        ValueError: the text is not a path; the arguments are the problem and a hint.
    """
    rest = text.strip()
    position = 1 if rest.startswith("$") else 0
    steps: list[str | int | None] = []
    while position < len(rest):
        step = _STEP.match(rest, position)
        # Only the first step may be a name without a dot: `a[0]b` is not a path.
        if step is None or (step[0][0] not in ".[" and position):
            raise ValueError(f"is not a valid path from character {position + 1}", _FORMS)
        steps.append(_key(step))
        position = step.end()
    return JsonPath(text, tuple(steps))


_FORMS = 'for example data.items[0].temp, items[*].name or ["a key"]'


def _key(step: re.Match[str]) -> str | int | None:
    """The key or the index of a step; None for `[*]`."""
    if step["index"]:
        return int(step["index"])
    quoted = step["double"] if step["double"] is not None else step["single"]
    return step["name"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)


def _pick(value: Any, steps: Sequence[str | int | None], walked: str) -> Any:
    for number, step in enumerate(steps):
        if step is None:
            return _pick_all(value, steps[number + 1 :], walked)
        value = _child(value, step, walked)
        walked += f"[{step!r}]" if isinstance(step, int) else f".{step}"
    return value


def _pick_all(value: Any, steps: Sequence[str | int | None], walked: str) -> list[Any]:
    """The parts of all members at the rest of the path, without members that have nothing there."""
    if not isinstance(value, dict | list):
        raise NoMatch(f"{_place(walked)} is {_kind(value)}, not a list")
    members: list[Any] = list(value.values()) if isinstance(value, dict) else value
    found: list[Any] = []
    first_error: NoMatch | None = None
    for member in members:
        try:
            found.append(_pick(member, steps, f"{walked}[*]"))
        except NoMatch as error:
            first_error = first_error or error
    # If no member matches, the path is probably misspelt. An empty list would hide that.
    if first_error and not found:
        raise first_error
    return found


def _child(value: Any, step: str | int, walked: str) -> Any:
    if isinstance(value, list):
        # `items.0` means the same as `items[0]`.
        index = int(step) if isinstance(step, str) and step.isdecimal() else step
        if not isinstance(index, int):
            raise NoMatch(f"{_place(walked)} is a list, not an object with {step!r}")
        if not -len(value) <= index < len(value):
            raise NoMatch(f"{_place(walked)} has {len(value)} items and none at [{index}]")
        return value[index]
    if isinstance(value, dict):
        if str(step) in value:
            return value[str(step)]
        known = ", ".join(repr(str(key)[:50]) for key in list(value)[:_SHOWN]) or "no keys"
        more = "…" if len(value) > _SHOWN else ""
        raise NoMatch(f"{_place(walked)} has no {step!r}; it has {known}{more}")
    raise NoMatch(f"{_place(walked)} is {_kind(value)} and has no {step!r}")


def _place(walked: str) -> str:
    return f"`{walked.removeprefix('.')}`" if walked else "the answer"


def _kind(value: Any) -> str:
    kinds = {str: "a text", bool: "a boolean", type(None): "null", dict: "an object"}
    return kinds.get(type(value), "a list" if isinstance(value, list) else "a number")
