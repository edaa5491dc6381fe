"""The prices of tokens, from the list in litellm's package, which is read without importing it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from agentd.manifest.model import Price
from agentd.models.port import Usage

_TIER = re.compile(r"input_cost_per_token_above_(\d+)k_tokens$")


@dataclass(frozen=True, kw_only=True)
class ListPrice:
    """USD per token. `tiers` are prices for prompts of more than so many tokens, ascending."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    reasoning: float
    tiers: tuple[tuple[int, ListPrice], ...] = ()

    @classmethod
    def flat(cls, price: Price) -> Self:
        """The price from a manifest, which is in USD per million tokens."""
        fresh, output = price.input / 1e6, price.output / 1e6
        cached = fresh if price.cached_input is None else price.cached_input / 1e6
        return cls(
            input=fresh, output=output, cache_read=cached, cache_write=fresh, reasoning=output
        )

    def cost(self, usage: Usage) -> float:
        """USD for one call."""
        for above, price in reversed(self.tiers):
            if usage.input_tokens > above:
                return price.cost(usage)
        # Cached tokens are part of the input, reasoning tokens are part of the output. A server
        # may count them differently: nothing may become negative.
        plain = max(0, usage.input_tokens - usage.cache_read - usage.cache_write)
        thought = min(usage.reasoning_tokens, usage.output_tokens)
        return (
            plain * self.input
            + usage.cache_read * self.cache_read
            + usage.cache_write * self.cache_write
            + (usage.output_tokens - thought) * self.output
            + thought * self.reasoning
        )


class PriceList:
    """The list on disk: 3 MB of JSON, of which only the entries that are needed are parsed."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or litellm_file("model_prices_and_context_window_backup.json")
        self._entries: dict[str, dict[str, Any] | None] = {}
        self._prices: dict[str, ListPrice | None] = {}

    def of(self, name: str) -> ListPrice | None:
        """The price of a model by litellm's name for it; None if the list does not have it.

        None is not a price of 0: the cost of a call is then unknown. The first look-up of a name
        reads the file (about 5 ms); later ones cost nothing.
        """
        if name not in self._prices:
            self._prices[name] = self._of(name)
        return self._prices[name]

    def provider(self, name: str) -> str | None:
        """The provider of a name without one, such as `claude-sonnet-4-5`; None if not listed."""
        return (self._entry(name) or {}).get("litellm_provider")

    def takes_images(self, name: str) -> bool | None:
        """Whether a model takes images; None if the list does not say."""
        return (self._listed(name) or {}).get("supports_vision")

    def text(self) -> str:
        """The whole list; "" if litellm's package does not have it."""
        if self._path is None or not self._path.is_file():
            return ""
        return self._path.read_text(encoding="utf-8")

    def _of(self, name: str) -> ListPrice | None:
        entry = self._listed(name)
        return _price(entry) if entry else None

    def _listed(self, name: str) -> dict[str, Any] | None:
        entry = self._entry(name)
        provider, _, rest = name.partition("/")
        if entry is None and rest:
            # `openai/gpt-4o` is listed as `gpt-4o` with the provider openai. The same name at
            # another provider is another model with another price.
            entry = self._entry(rest)
            if entry and not str(entry.get("litellm_provider")).startswith(provider):
                return None
        return entry

    def _entry(self, name: str) -> dict[str, Any] | None:
        if name not in self._entries:
            self._entries[name] = find(self.text(), name)
        return self._entries[name]


def find(text: str, name: str) -> dict[str, Any] | None:
    """The object of one key of the list, found without parsing the other 4,000 entries."""
    found = re.search(rf"{re.escape(json.dumps(name))}\s*:\s*(?={{)", text)
    return json.JSONDecoder().raw_decode(text, found.end())[0] if found else None


def litellm_file(name: str) -> Path | None:
    """A file of litellm's package. It is not imported: that takes 2 to 8 seconds and 150 MB."""
    spec = find_spec("litellm")
    folders = (spec.submodule_search_locations if spec else None) or ()
    return next((Path(folder) / name for folder in folders), None)


def _price(entry: Mapping[str, Any], suffix: str = "") -> ListPrice | None:
    def usd(key: str) -> float | None:
        value = entry.get(key + suffix)
        return float(value) if isinstance(value, int | float) else None

    fresh, output = usd("input_cost_per_token"), usd("output_cost_per_token")
    if fresh is None or output is None:
        return None
    reasoning = usd("output_cost_per_reasoning_token")
    read, write = usd("cache_read_input_token_cost"), usd("cache_creation_input_token_cost")
    return ListPrice(
        input=fresh,
        output=output,
        cache_read=fresh if read is None else read,
        cache_write=fresh if write is None else write,
        reasoning=output if reasoning is None else reasoning,
        tiers=() if suffix else _tiers(entry),
    )


def _tiers(entry: Mapping[str, Any]) -> tuple[tuple[int, ListPrice], ...]:
    sizes = sorted(int(found[1]) for key in entry if (found := _TIER.match(key)))
    prices = [(size * 1000, _price(entry, f"_above_{size}k_tokens")) for size in sizes]
    return tuple((above, price) for above, price in prices if price)
