"""A model that cannot be called here says why, and is known not to have been called."""

from __future__ import annotations

import pytest

from agentd.errors import NotCalled
from agentd.models.port import ChatRequest, Usage
from agentd.models.unavailable import UnavailableModel


async def test_a_call_raises_the_reason() -> None:
    model = UnavailableModel("openai/gpt-4o", "model_auth", "OPENAI_API_KEY is not set")
    with pytest.raises(NotCalled) as caught:
        await model.complete(ChatRequest((), {}, 5.0))

    assert str(caught.value) == "openai/gpt-4o: OPENAI_API_KEY is not set"
    assert (caught.value.code, caught.value.retryable) == ("model_auth", False)
    assert not caught.value.may_cost


def test_its_price_is_not_known() -> None:
    model = UnavailableModel("openai/gpt-4o", "model_auth", "no key")

    assert (model.name, model.is_mock) == ("openai/gpt-4o", False)
    assert model.cost_of(Usage(1, 1)) is None
