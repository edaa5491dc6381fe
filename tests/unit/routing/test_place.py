"""Places in the stream of a workflow, as text."""

from __future__ import annotations

import pytest

from agentd.errors import UsageError
from agentd.routing.place import Place


@pytest.mark.parametrize(
    "place", [Place(3, 3), Place(3, 40, "t-1", "r-2"), Place(3, 4, "t", "run_1-void")]
)
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert Place.parse(str(place)) == place


@pytest.mark.parametrize("text", ["", "1", "1-", "a-b", "1-2.t", "1-2.t.x", "1-2.t.r-1.x", "²-1"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no place in"):
        Place.parse(text)
