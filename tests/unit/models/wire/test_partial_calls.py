"""The pieces of tool calls are put together, however a server numbers and names them."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.models.wire.partial_calls import PartialCalls

BONN, OSLO = '{"city": "Bonn"}', '{"city": "Oslo"}'
Piece = dict[str, Any]


def piece(name: Any = None, arguments: Any = None, **fields: Any) -> Piece:
    return {"function": {"name": name, "arguments": arguments}, **fields}


def split(arguments: str, *, name: str | None = None, **fields: Any) -> list[Piece]:
    return [piece(name, part, **fields) for part in (arguments[:6], arguments[6:])]


def calls(pieces: list[Piece], *, whole: bool = False) -> list[tuple[str, str]]:
    partial = PartialCalls()
    for each in pieces:
        partial.add(each, whole=whole)
    return [(call.name, call.arguments) for call in partial.whole()]


TWO = [("f", BONN), ("f", OSLO)]
HEADS = {"a": BONN, "b": OSLO}


def streamed(*, index: Any = None, ids: bool = True, **more: Any) -> list[Piece]:
    """Two parallel calls, each with a head and two pieces."""
    pieces: list[Piece] = []
    for number, (call_id, arguments) in enumerate(HEADS.items()):
        at = {} if index is None else {"index": index(number)}
        head = {"id": call_id, **at} if ids else at
        pieces += [piece("f", "", **head), *split(arguments, **at, **more)]
    return pieces


@pytest.mark.parametrize(
    "pieces",
    [
        streamed(index=int),
        streamed(),
        streamed(ids=False),
        streamed(index=lambda _: 0),
        streamed(index=str),
        streamed(index=float),
        streamed(index=lambda number: number + 1),
        streamed(index=int, ids=False),
        streamed(index=int, name="f"),
        streamed(name="f"),
        streamed(index=lambda _: 0, name="f"),
        [piece("f", BONN), piece("f", OSLO)],
        [piece("f", BONN, id="x"), piece("f", OSLO, id="x")],
        [piece("f", BONN, id="x", index=0), piece("f", OSLO, id="x", index=0)],
        [piece("f", {"city": "Bonn"}, index=0), piece("f", {"city": "Oslo"}, index=0)],
    ],
    ids=[
        *("as OpenAI", "no index", "neither index nor id", "all index 0", "index as text"),
        *("index as float", "index from 1", "no id", "name repeated", "name repeated, no index"),
        *("name repeated, all index 0", "whole pieces", "whole pieces, one id"),
        *("whole pieces, one id and index", "objects"),
    ],
)
def test_two_calls_stay_two_calls(pieces: list[Piece]) -> None:
    assert calls(pieces) == TWO


def test_interleaved_pieces_are_told_apart_by_their_ids() -> None:
    first, second = split(BONN, id="a"), split(OSLO, id="b")
    heads = [piece("f", "", id="a"), piece("f", "", id="b")]
    mixed = [*heads, first[0], second[0], first[1], second[1]]
    assert calls(mixed) == TWO


@pytest.mark.parametrize(
    "pieces",
    [
        [piece("f", "", id="a", index=0), *split(BONN, id="other", index=0)],
        [piece("f", "", id="a", index=0), *split(BONN, name="f", id="other", index=0)],
        [piece("f", "", id="a"), *split(BONN, id="other")],
        [piece("f", None, id="a", index=0), *split(BONN, name="f", index=0)],
        [*split(BONN, name="f", id="a", index=0), piece("f", "", id="a", index=0)],
        [*split(BONN, name="f", id="a", index=0), piece(None, None, id="a", index=0)],
        [piece("fu", "", index=0), piece("ll", "", index=0), *split(BONN, index=0)],
        [piece("fu", "", index=0), piece("full", "", index=0), *split(BONN, index=0)],
    ],
    ids=[
        *("new ids", "new ids and names", "new ids, no index", "name repeated"),
        *("an empty piece with the name at the end", "an empty piece at the end"),
        *("the name in pieces", "the name grows"),
    ],
)
def test_one_call_stays_one_call(pieces: list[Piece]) -> None:
    assert [arguments for _, arguments in calls(pieces)] == [BONN]
    assert calls(pieces)[0][0] in ("f", "full")


@pytest.mark.parametrize("arguments", [None, "", "null", " ", "{}", {}])
def test_no_arguments_are_an_empty_object(arguments: Any) -> None:
    assert calls([piece("now", arguments)]) == [("now", "{}")]


def test_parallel_calls_without_arguments_stay_apart() -> None:
    assert calls([piece("now", "", id="a", index=0), piece("now", "", id="b", index=0)]) == [
        ("now", "{}"),
        ("now", "{}"),
    ]


def test_every_entry_of_a_whole_response_is_a_call() -> None:
    same = piece("f", BONN, id="x", index=0)
    assert calls([same, same], whole=True) == [("f", BONN), ("f", BONN)]


def test_an_entry_that_says_nothing_is_no_call() -> None:
    assert calls([{}, piece(), {"id": "x", "function": None}]) == []


def test_arguments_that_are_no_json_are_kept_for_the_error() -> None:
    assert calls([piece("f", '{"city": "Bonn')]) == [("f", '{"city": "Bonn')]
