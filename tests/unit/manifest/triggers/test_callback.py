"""A callback: a URL, or an expression that gives one."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agentd.manifest.triggers.callback import Callback, as_callback


@pytest.mark.parametrize(
    ("url", "fixed"),
    [
        ("https://example.org/x", True),
        ("HTTP://example.org", True),
        ("body.response_url", False),
        ("'https://example.org/' ~ body.id", False),
    ],
)
def test_a_url_is_told_from_an_expression(url: str, fixed: bool) -> None:
    assert Callback.model_validate(as_callback(url)).is_fixed is fixed


@pytest.mark.parametrize("url", ["", "https://example.org/{{ body.id }}"])
def test_what_is_neither_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Callback.model_validate({"url": url})
