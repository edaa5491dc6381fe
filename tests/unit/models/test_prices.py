"""Prices come from litellm's list on disk; what it does not know is unknown, not free."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentd.models.port import Usage
from agentd.models.prices import ListPrice, PriceList, find, litellm_file


@pytest.fixture(scope="module")
def prices() -> PriceList:
    return PriceList()


@dataclass(frozen=True)
class PerMillion:
    input: float
    output: float
    cached_input: float | None = None


def test_a_known_model(prices: PriceList) -> None:
    price = prices.of("gpt-4o-mini")
    assert price is not None
    assert price.cost(Usage(1_000_000, 0)) == pytest.approx(0.15)
    assert price.cost(Usage(0, 1_000_000)) == pytest.approx(0.60)


def test_what_was_cached_is_cheaper(prices: PriceList) -> None:
    price = prices.of("openai/gpt-4o-mini")
    assert price is not None
    assert price.cost(Usage(1_000_000, 0, cache_read=1_000_000)) == pytest.approx(0.075)
    claude = prices.of("anthropic/claude-sonnet-4-5")
    assert claude is not None
    assert claude.cost(Usage(1_000_000, 0, cache_write=100_000)) > claude.cost(Usage(1_000_000, 0))


def test_the_provider_belongs_to_the_name(prices: PriceList) -> None:
    assert prices.of("openai/gpt-4o") == prices.of("gpt-4o")
    assert prices.of("anthropic/claude-sonnet-4-5") == prices.of("claude-sonnet-4-5")
    assert prices.of("hosted_vllm/gpt-4o") is None
    assert prices.provider("claude-sonnet-4-5") == "anthropic"


def test_who_looks_at_pictures(prices: PriceList) -> None:
    seen = [prices.takes_images(name) for name in ("openai/gpt-4o", "o3-mini", "no-such-model")]
    assert seen == [True, False, None]
    assert prices.takes_images("hosted_vllm/o3-mini") is None


def test_the_unknown_has_no_price(prices: PriceList) -> None:
    for name in ("openai/no-such-model", "no-such-model", "mock/echo", '"', "", "a/b/c", ".*"):
        assert prices.of(name) is None


def test_one_entry_is_found_as_a_whole_parse_finds_it() -> None:
    path = litellm_file("model_prices_and_context_window_backup.json")
    assert path is not None
    text = path.read_text(encoding="utf-8")
    listed = json.loads(text)
    for name in sorted(listed)[::40]:
        assert find(text, name) == listed[name]


def test_long_prompts_have_their_own_price(tmp_path: Path) -> None:
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


def test_a_manifest_can_say_the_price() -> None:
    price = ListPrice.flat(PerMillion(input=2.0, output=8.0))
    assert price.cost(Usage(500_000, 250_000, cache_read=100_000)) == pytest.approx(3.0)


def test_a_manifest_can_say_what_cached_input_costs() -> None:
    price = ListPrice.flat(PerMillion(input=2.0, output=8.0, cached_input=0.5))
    assert price.cost(Usage(1_000_000, 0, cache_read=400_000)) == pytest.approx(1.4)


def test_reasoning_has_its_own_price_where_the_list_says_so(prices: PriceList) -> None:
    thinker = prices.of("dashscope/qwen-turbo-latest")
    assert thinker is not None
    assert thinker.cost(Usage(0, 1_000_000)) == pytest.approx(0.2)
    assert thinker.cost(Usage(0, 1_000_000, reasoning_tokens=600_000)) == pytest.approx(0.38)
    assert thinker.cost(Usage(0, 10, reasoning_tokens=99)) == pytest.approx(10 * 5e-7)
    other = prices.of("gpt-4o-mini")
    assert other is not None
    thought = other.cost(Usage(0, 100, reasoning_tokens=60))
    assert thought == pytest.approx(other.cost(Usage(0, 100)))


def test_without_the_list_nothing_is_known(tmp_path: Path) -> None:
    assert PriceList(tmp_path / "gone.json").of("gpt-4o") is None


def test_litellm_is_not_imported() -> None:
    code = (
        "import sys; from agentd.models.prices import PriceList;"
        "assert PriceList().of('gpt-4o'); assert 'litellm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
