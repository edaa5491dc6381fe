"""What the search can find, and how much of it there may be."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from agentd.record.index.texts import LONGEST, joined, phrase, spaced, text_of


def finds(text: str, wanted: str) -> bool:
    """Whether the search of SQLite finds `wanted` in `text`."""
    query = "SELECT 1 FROM texts WHERE texts MATCH ?"
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE texts USING fts5 (text)")
        db.execute("INSERT INTO texts VALUES (?)", (spaced(text),))
        return bool(db.execute(query, (phrase(wanted),)).fetchone())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Revenue grew by 12 % in Europe.", "revenue grew"),
        ("Revenue grew by 12 % in Europe.", "grew by 12 % in Eur"),
        ("営業利益は減少した", "利益は"),
        ("an apple", 'an "app'),
    ],
)
def test_words_are_found_one_after_the_other(text: str, wanted: str) -> None:
    assert finds(text, wanted)


@pytest.mark.parametrize("wanted", ["grew revenue", "rev grew", "evenue"])
def test_other_words_are_not_found(wanted: str) -> None:
    assert not finds("Revenue grew by 12 % in Europe.", wanted)


@pytest.mark.parametrize("wanted", ["", "%", '"', "* -", "\0"])
def test_what_has_no_word_is_no_query(wanted: str) -> None:
    assert phrase(wanted) == ""


@pytest.mark.parametrize("wanted", ["a OR b", "NEAR(a b)", "text: a", "a*", "^a", '"a', "a\0b"])
def test_what_is_wanted_is_text_and_no_query(wanted: str) -> None:
    assert not finds("b", wanted)


def test_all_texts_of_a_content_are_read() -> None:
    assert text_of({"code": "one", "calls": [{"name": "two"}, 3, None]}) == "one\ntwo"


def test_a_text_is_bounded() -> None:
    assert len(text_of("x" * LONGEST * 2)) == LONGEST
    assert len(text_of(["x" * 100] * LONGEST)) <= LONGEST
    assert len(text_of([""] * LONGEST * 2)) < LONGEST


def test_a_text_is_given_back_as_it_was() -> None:
    assert joined(spaced("利益 and ภาษาไทย")) == "利益 and ภาษาไทย"
