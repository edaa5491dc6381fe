"""The paths of `pick:`: what they give, and how far they lead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.templates.requests.json_path import NoMatch, parse_path

ANSWER: Mapping[str, Any] = {
    "data": {"items": [{"temp": 3, "name": "a"}, {"name": "b"}], "odd key.": [1]},
    "0": "zero",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", ANSWER),
        ("$", ANSWER),
        ("data.items[0].temp", 3),
        ("$.data.items[-1].name", "b"),
        ("data.items[-2].name", "a"),
        ("data.items.1.name", "b"),
        ("data.items[*].name", ["a", "b"]),
        ("data.items[*].temp", [3]),
        ("data.items.*", ANSWER["data"]["items"]),
        ('data["odd key."][0]', 1),
        ("data['odd key.']", [1]),
        ("0", "zero"),
    ],
)
def test_a_path_picks_its_part(path: str, value: Any) -> None:
    assert parse_path(path).pick(ANSWER) == value


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("data.itms", "`data` has no 'itms'; it has 'items', 'odd key.'"),
        ("data.items[5]", "`data.items` has 2 items and none at [5]"),
        ("data.items.name", "`data.items` is a list, not an object with 'name'"),
        ("data.items[0].temp.x", "`data.items[0].temp` is a number and has no 'x'"),
        ("data.items[*].nothing", "`data.items[*]` has no 'nothing'"),
        ("data.items[0].name[*]", "`data.items[0].name` is a text, not a list"),
        ("nothing", "the answer has no 'nothing'; it has 'data', '0'"),
    ],
)
def test_an_error_names_the_last_part_that_exists(path: str, words: str) -> None:
    with pytest.raises(NoMatch) as caught:
        parse_path(path).pick(ANSWER)

    assert words in str(caught.value)


@pytest.mark.parametrize("path", ["a..b", "a[", "a[x]", "a b", "a['b]", "[1.5]", "a.[0", "$$"])
def test_an_invalid_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a valid path from character"):
        parse_path(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.data())
def test_every_part_of_a_value_has_a_path(value: Any, data: st.DataObject) -> None:
    path, part = "", value
    while isinstance(part, dict | list) and part and data.draw(st.booleans()):
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        key: Any = data.draw(st.sampled_from(keys))
        quoted = key if isinstance(key, int) else '"' + _escaped(key) + '"'
        path, part = f"{path}[{quoted}]", part[key]

    assert parse_path(path).pick(value) == part


def _escaped(key: str) -> str:
    return key.replace("\\", "\\\\").replace('"', '\\"')


@given(st.text(), json_values)
def test_any_text_is_a_path_or_an_error(text: str, value: Any) -> None:
    try:
        parse_path(text).pick(value)
    except (ValueError, NoMatch):
        return


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", "a text"), (True, "a boolean"), (None, "null"), (1.5, "a number")],
)
def test_a_value_without_parts_is_named_by_its_type(value: Any, kind: str) -> None:
    with pytest.raises(NoMatch, match=f"`a` is {kind} and has no 'b'"):
        parse_path("a.b").pick({"a": value})
