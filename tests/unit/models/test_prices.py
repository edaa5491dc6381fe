"""Prices come from litellm's list on disk; a model that is not listed is not free, but unknown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.manifest.model import Price
from agentd.models.port import Usage
from agentd.models.prices import ListPrice, PriceList, find, litellm_file


@pytest.fixture(scope="module")
def prices() -> PriceList:
    return PriceList()


def test_a_listed_model_has_its_price(prices: PriceList) -> None:
    price = prices.of("gpt-4o-mini")
    assert price is not None
    assert price.cost(Usage(1_000_000, 0)) == pytest.approx(0.15)
    assert price.cost(Usage(0, 1_000_000)) == pytest.approx(0.60)


def test_cached_input_has_its_own_price(prices: PriceList) -> None:
    price = prices.of("openai/gpt-4o-mini")
    assert price is not None
    assert price.cost(Usage(1_000_000, 0, cache_read=1_000_000)) == pytest.approx(0.075)
    claude = prices.of("anthropic/claude-sonnet-4-5")
    assert claude is not None
    assert claude.cost(Usage(1_000_000, 0, cache_write=100_000)) > claude.cost(Usage(1_000_000, 0))


def test_the_same_name_at_another_provider_is_another_model(prices: PriceList) -> None:
    assert prices.of("openai/gpt-4o") == prices.of("gpt-4o")
    assert prices.of("anthropic/claude-sonnet-4-5") == prices.of("claude-sonnet-4-5")
    assert prices.of("hosted_vllm/gpt-4o") is None
    assert prices.provider("claude-sonnet-4-5") == "anthropic"


def test_the_list_says_which_models_take_images(prices: PriceList) -> None:
    known = [prices.takes_images(name) for name in ("openai/gpt-4o", "o3-mini", "no-such-model")]
    assert known == [True, False, None]
    assert prices.takes_images("hosted_vllm/o3-mini") is None


def test_a_model_that_is_not_listed_has_no_price(prices: PriceList) -> None:
    for name in ("openai/no-such-model", "no-such-model", "mock/echo", '"', "", "a/b/c", ".*"):
        assert prices.of(name) is None


def test_an_entry_is_the_same_as_in_the_parsed_list() -> None:
    path = litellm_file("model_prices_and_context_window_backup.json")
    assert path is not None
    text = path.read_text(encoding="utf-8")
    listed = json.loads(text)
    for name in sorted(listed)[::40]:
        assert find(text, name) == listed[name]


def test_long_prompts_can_have_another_price(tmp_path: Path) -> None:
    entry = {
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 2e-6,
        "input_cost_per_token_above_200k_tokens": 3e-6,
        "output_cost_per_token_above_200k_tokens": 4e-6,
    }
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"m": entry, "image": {"output_cost_per_image": 1}}))
    prices = PriceList(file)
    price = prices.of("m")
    assert price is not None
    assert price.cost(Usage(200_000, 100)) == pytest.approx(0.2002)
    assert price.cost(Usage(200_001, 100)) == pytest.approx(0.600403)
    assert prices.of("image") is None


def test_a_manifest_can_set_the_price() -> None:
    price = ListPrice.flat(Price(input=2.0, output=8.0))
    assert price.cost(Usage(500_000, 250_000, cache_read=100_000)) == pytest.approx(3.0)


def test_a_manifest_can_set_the_price_of_cached_input() -> None:
    price = ListPrice.flat(Price(input=2.0, output=8.0, cached_input=0.5))
    assert price.cost(Usage(1_000_000, 0, cache_read=400_000)) == pytest.approx(1.4)


def test_reasoning_has_the_price_that_is_listed_for_it(prices: PriceList) -> None:
    thinker = prices.of("dashscope/qwen-turbo-latest")
    assert thinker is not None
    assert thinker.cost(Usage(0, 1_000_000)) == pytest.approx(0.2)
    assert thinker.cost(Usage(0, 1_000_000, reasoning_tokens=600_000)) == pytest.approx(0.38)
    assert thinker.cost(Usage(0, 10, reasoning_tokens=99)) == pytest.approx(10 * 5e-7)
    other = prices.of("gpt-4o-mini")
    assert other is not None
    thought = other.cost(Usage(0, 100, reasoning_tokens=60))
    assert thought == pytest.approx(other.cost(Usage(0, 100)))


def test_without_the_list_no_price_is_known(tmp_path: Path) -> None:
    assert PriceList(tmp_path / "gone.json").of("gpt-4o") is None


def test_prices_do_not_import_litellm() -> None:
    code = (
        "import sys; from agentd.models.prices import PriceList;"
        "assert PriceList().of('gpt-4o'); assert 'litellm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
