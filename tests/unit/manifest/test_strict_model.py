"""The base class of all parts of a manifest."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agentd.manifest.strict_model import Count, StrictModel


class Part(StrictModel):
    """A part with one field."""

    count: Count = 1


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Part.model_validate({"cuont": 2})


def test_a_part_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Part().count = 2  # type: ignore[misc]


def test_an_error_does_not_show_the_value() -> None:
    with pytest.raises(ValidationError) as refused:
        Part.model_validate({"count": "sk-secret"})
    assert "sk-secret" not in str(refused.value)


@pytest.mark.parametrize("value", [0, 1_000_001, True, 1.0, "1"])
def test_a_count_is_a_whole_number_from_one_to_a_million(value: object) -> None:
    assert Part.model_validate({"count": 1_000_000}).count == 1_000_000
    with pytest.raises(ValidationError):
        Part.model_validate({"count": value})
