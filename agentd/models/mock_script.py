"""The script of `mock/script`: its format, and every problem of a script that cannot be played.

    - Hello.                                     # a turn that is only text
    - tool_calls: [{name: get_weather, arguments: {city: Bonn}}]
      latency: 200ms
    - {error: {status: 429, message: slow down, retry_after: 2}}

A script is a list of turns, `{turns: [...]}`, or `{cases: [{match: regex, turns: [...]}, ...]}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from agentd.errors import AgentdError
from agentd.manifest.quantities import seconds
from agentd.models.meaning import code_of
from agentd.models.port import ToolCall, Usage
from agentd.problems import did_you_mean

CODES = (
    "model_auth",
    "model_config",
    "model_not_found",
    "model_rejected",
    "model_refused",
    "model_rate_limited",
    "model_overloaded",
    "model_timeout",
    "model_truncated",
    "model_cut_off",
    "model_empty",
    "model_too_large",
    "model_garbage",
)
_Value = TypeVar("_Value")
_TURN = (
    *("text", "tool_calls", "finish", "error", "latency", "chunks", "interval", "reasoning"),
    "usage",
)


class ScriptError(AgentdError):
    """A script that cannot be played; `problems` has the place and the text of each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The error with which a turn ends, after its text if it has one."""

    code: str
    message: str
    status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One scripted answer.

    Attributes:
        latency: seconds before it.
        interval: seconds after each chunk.
        chunks: how many pieces the text is streamed in; None for pieces of a few words.
        finish: the finish reason, such as `length` of an answer that was cut off.
    """

    text: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    error: Fault | None = None
    usage: Usage | None = None
    latency: float = 0.0
    interval: float = 0.0
    chunks: int | None = None
    finish: str = ""

    @property
    def finish_reason(self) -> str:
        return self.finish or ("tool_calls" if self.tool_calls else "stop")


@dataclass(frozen=True)
class ScriptCase:
    """The turns for messages in which `match` is found; None matches every message."""

    match: re.Pattern[str] | None
    turns: tuple[Turn, ...]


def parse(script: Any) -> tuple[ScriptCase, ...]:
    """The cases of a script, which is given as parsed YAML.

    Raises:
        ScriptError: the script has problems; the error has all of them.
    """
    if isinstance(script, str):
        raise ScriptError([f"the script is a file name ({script}), and its content is needed"])
    reader = _ScriptReader()
    cases = reader.cases(script)
    if reader.problems:
        raise ScriptError(reader.problems)
    return cases


class _ScriptReader:
    """Continues after a problem, so that all of them are reported at once."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def cases(self, script: Any) -> tuple[ScriptCase, ...]:
        if isinstance(script, list):
            return (ScriptCase(None, self._turns(script, "")),)
        fields = self._fields(script, "script", ("turns", "cases"))
        if "cases" not in fields:
            return (ScriptCase(None, self._turns(fields.get("turns"), "")),)
        if "turns" in fields:
            self._wrong("script", "has both `turns` and `cases`; remove one")
        return tuple(
            self._case(case, f"case {number}")
            for number, case in enumerate(self._list(fields["cases"], "cases"), 1)
        )

    def _case(self, case: Any, where: str) -> ScriptCase:
        fields = self._fields(case, where, ("match", "turns"))
        pattern = fields.get("match")
        match = self._read(pattern, f"{where}, match", _pattern, "is not a regular expression")
        return ScriptCase(match, self._turns(fields.get("turns"), f"{where}, "))

    def _turns(self, turns: Any, where: str) -> tuple[Turn, ...]:
        listed = self._list(turns, f"{where}turns")
        return tuple(self._turn(turn, f"{where}turn {n}") for n, turn in enumerate(listed, 1))

    def _turn(self, turn: Any, where: str) -> Turn:
        if isinstance(turn, str):
            return Turn(text=turn)
        fields = self._fields(turn, where, _TURN)
        calls = self._list(fields.get("tool_calls", []), f"{where}, tool_calls", empty=True)
        count = self._read(
            fields.get("chunks"), f"{where}, chunks", _count, "must be a whole number, at least 1"
        )
        return Turn(
            text=self._text(fields, "text", where),
            reasoning=self._text(fields, "reasoning", where) or None,
            tool_calls=tuple(self._call(call, index, where) for index, call in enumerate(calls)),
            error=self._error(fields["error"], f"{where}, error") if "error" in fields else None,
            usage=self._usage(fields["usage"], f"{where}, usage") if "usage" in fields else None,
            latency=self._seconds(fields, "latency", where) or 0.0,
            interval=self._seconds(fields, "interval", where) or 0.0,
            chunks=count,
            finish=self._text(fields, "finish", where),
        )

    def _call(self, call: Any, index: int, where: str) -> ToolCall:
        where = f"{where}, tool_calls[{index}]"
        fields = self._fields(call, where, ("name", "arguments", "id"))
        if not fields.get("name"):
            self._wrong(where, "`name` is missing")
        arguments = fields.get("arguments", {})
        return ToolCall(
            id=self._text(fields, "id", where) or f"call_{index}",
            name=self._text(fields, "name", where),
            # Text is passed on as it is, so that a script can contain invalid JSON.
            arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
        )

    def _error(self, error: Any, where: str) -> Fault:
        fields = self._fields(error, where, ("code", "status", "message", "retry_after"))
        status = fields.get("status")
        if status is not None and not (isinstance(status, int) and 300 <= status < 600):
            self._wrong(
                f"{where}, status", f"`{status}` is not an HTTP status of an error (300 to 599)"
            )
            status = None
        code = fields.get("code") or (code_of(status) if status else "")
        if code not in CODES:
            if code:
                hint = did_you_mean(str(code), CODES)
                self._wrong(where, f"`{code}` is not a code of a model error", hint)
            else:
                self._wrong(where, "needs a `code` or a `status`")
        return Fault(
            code=str(code),
            status=status,
            message=self._text(fields, "message", where) or "scripted error",
            retry_after=self._seconds(fields, "retry_after", where),
        )

    def _usage(self, usage: Any, where: str) -> Usage:
        fields = self._fields(usage, where, ("input", "output", "reasoning"))
        counts = [
            self._read(
                fields.get(key, 0),
                f"{where}, {key}",
                _natural,
                "must be a whole number, at least 0",
            )
            or 0
            for key in ("input", "output", "reasoning")
        ]
        return Usage(*counts)

    def _fields(self, value: Any, where: str, known: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._wrong(where, f"must be a mapping with {' or '.join(f'`{k}`' for k in known)}")
            return {}
        for key in value.keys() - set(known):
            self._wrong(where, f"unknown key `{key}`", did_you_mean(str(key), known))
        return value

    def _list(self, value: Any, where: str, *, empty: bool = False) -> list[Any]:
        if not isinstance(value, list) or not (value or empty):
            self._wrong(where, "must be a list" + ("" if empty else " with at least one entry"))
            return []
        return value

    def _text(self, fields: dict[str, Any], key: str, where: str) -> str:
        value = fields.get(key, "")
        if not isinstance(value, str):
            self._wrong(f"{where}, {key}", "must be text")
            return ""
        return value

    def _seconds(self, fields: dict[str, Any], key: str, where: str) -> float | None:
        problem = "must be a duration such as 200ms or 2s"
        return self._read(fields.get(key), f"{where}, {key}", seconds, problem)

    def _read(
        self, value: Any, where: str, read: Callable[[Any], _Value], problem: str
    ) -> _Value | None:
        """`read(value)`; None if there is no value, or a wrong one, which is then a problem."""
        if value is None:
            return None
        try:
            return read(value)
        except (TypeError, ValueError, re.error):
            self._wrong(where, f"{problem} (it is {json.dumps(value, default=str)})")
            return None

    def _wrong(self, where: str, text: str, hint: str = "") -> None:
        self.problems.append(f"{where}: {text}" + (f"; {hint}" if hint else ""))


def _pattern(value: Any) -> re.Pattern[str]:
    return re.compile(value, re.IGNORECASE)


def _natural(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return value


def _count(value: Any) -> int:
    return _natural(value) or _natural(-1)
