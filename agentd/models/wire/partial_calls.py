"""Puts tool calls together from the pieces in which servers stream them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentd.models.port import ToolCall
from agentd.models.wire import own_fields
from agentd.models.wire.text import text_of

_LONGEST_NAME = 1_000  # characters; whatever follows is no name


class PartialCalls:
    """The tool calls of one answer.

    By OpenAI's API, `index` says to which call a piece belongs, and only the first piece of a call
    has an id and a name. Servers that call themselves compatible leave the index out, or give every
    call the index 0; they repeat the id or the name in every piece, make a new id for every piece,
    or have one id for all calls.
    """

    def __init__(self) -> None:
        self._calls: list[_PartialCall] = []
        self._by_index: dict[int, _PartialCall] = {}

    def add(self, fields: Mapping[str, Any], *, whole: bool = False) -> int:
        """Adds a piece, or a `whole` call; returns how many characters it adds to the answer."""
        piece = _Piece.of(fields)
        call = None if whole or piece.is_whole else self._continued_by(piece)
        if call is None:
            call = _PartialCall(piece.id)
            self._calls.append(call)
        if piece.index is not None:
            self._by_index[piece.index] = call
        call.add(piece)
        return len(piece.name) + len(piece.text) + (len(json.dumps(piece.own)) if piece.own else 0)

    def whole(self) -> tuple[ToolCall, ...]:
        """The calls, in the order in which they began."""
        return tuple(whole for call in self._calls if (whole := call.whole()))

    def _continued_by(self, piece: _Piece) -> _PartialCall | None:
        """The call to which a piece belongs; None if it begins another one."""
        if piece.index is not None:
            call = self._by_index.get(piece.index)
        else:
            known = (call for call in self._calls if piece.id and call.id == piece.id)
            call = next(known, self._calls[-1] if self._calls else None)
        return None if call is None or call.is_followed_by(piece) else call


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """`index` is None if there is none; `is_whole` says that the arguments are complete."""

    index: int | None
    id: str
    name: str
    text: str
    is_whole: bool
    own: Mapping[str, Any]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> _Piece:
        function = fields.get("function")
        function = function if isinstance(function, Mapping) else {}
        arguments = function.get("arguments")
        # Ollama and others send the object itself, not its JSON.
        plain = arguments is None or isinstance(arguments, str)
        return cls(
            index=_index(fields.get("index")),
            id=text_of(fields.get("id")),
            name=text_of(function.get("name")).strip(),
            text=text_of(arguments) if plain else json.dumps(arguments),
            is_whole=not plain,
            own=own_fields.of_call(fields),
        )


class _PartialCall:
    """A tool call of which more pieces may arrive."""

    def __init__(self, call_id: str) -> None:
        self.id = call_id
        self.name = ""
        self._text: list[str] = []  # joined when needed: `+=` would copy a long text every time
        self._own: list[Mapping[str, Any]] = []
        self._named_once = False  # a piece without a name has continued this call

    def add(self, piece: _Piece) -> None:
        self._named_once |= bool(self.name) and not piece.name
        if len(self.name) < _LONGEST_NAME:
            self.name = _named(self.name, piece.name)
        if piece.text:
            self._text.append(piece.text)
        if piece.own:
            self._own.append(piece.own)

    def is_followed_by(self, piece: _Piece) -> bool:
        """Whether a piece that seems to be of this call begins another one."""
        if not piece.name:
            return False
        other_id = bool(piece.id and self.id and piece.id != self.id)
        other_name = not piece.name.startswith(self.name)
        if not self._text:
            return other_id and (other_name or not piece.text)
        if self._is_complete:
            begins = piece.text.lstrip().startswith("{")
            return begins or other_id or other_name or self._named_once
        return other_name

    @property
    def _is_complete(self) -> bool:
        if not self._text[-1].rstrip().endswith("}"):
            return False
        return arguments_in("".join(self._text)) is not None

    def whole(self) -> ToolCall | None:
        """The call; None if nothing of it has arrived."""
        text = "".join(self._text)
        if not self.name and not text:
            return None
        # A model that wants no arguments writes nothing, or `null`.
        arguments = "{}" if text.strip() in ("", "null") else text
        return ToolCall(self.id, self.name, arguments, own=own_fields.joined(self._own))


def arguments_in(text: str) -> dict[str, Any] | None:
    """The JSON object in the arguments of a call; None if they are none."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _named(name: str, piece: str) -> str:
    """A name with its next piece. Few servers split it, many repeat it."""
    return piece if piece.startswith(name) else name if name.startswith(piece) else name + piece


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value[:9])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
