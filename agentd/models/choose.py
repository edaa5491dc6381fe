"""From a `model:` of a manifest to an object that can be called, or to what is wrong with it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentd.errors import ModelError
from agentd.manifest.model import MOCK_MODELS, ModelRef
from agentd.manifest.rate import Allowance
from agentd.models.limits.cache import Cache
from agentd.models.limits.configured_model import CallOptions, ConfiguredModel
from agentd.models.limits.limited_model import LimitedModel, Limiters, digest_of
from agentd.models.limits.shared_rate import Rates
from agentd.models.mock_script import ScriptError, parse
from agentd.models.port import Model
from agentd.models.prices import ListPrice, PriceList
from agentd.models.providers import (
    COMPATIBLE,
    KEYS,
    Compatible,
    base_of,
    first,
    missing_key,
    secrets,
    split,
    unknown,
)
from agentd.models.unavailable import UnavailableModel
from agentd.problems import did_you_mean

if TYPE_CHECKING:
    from agentd.models.endpoint import Endpoint, Http
    from agentd.models.litellm_bridge import Litellm

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AgentRate:
    """The rate of an agent (`limits.rate`). `key` names the agent among all that share a rate."""

    key: str
    rate: Allowance


class Models:
    """The models of one process: equal models are one object, and all share one HTTP session.

    A call of a model that is no mock waits for a slot of its endpoint, in `limiters`. aiohttp and
    litellm are imported when a model first needs them, so that mocks start fast.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.limiters = Limiters()
        self.rates = Rates()
        self.cache = Cache()
        self._environ = environ
        self._prices = PriceList()
        self._models: dict[tuple[object, ...], Model] = {}
        self._unknown: dict[str, str | None] = {}  # results of `unknown`, which reads megabytes
        self._endpoints: dict[tuple[str, str | None], Endpoint] = {}
        self._http: Http | None = None
        self._litellm: Litellm | None = None

    def check(self, ref: ModelRef, script: Any = None) -> list[str]:
        """The problems of `ref` that can be found without a call; empty if there are none.

        `script` is the parsed mock script, if `ref.script` is only the name of its file.
        """
        return [text for _, text in self.problems(ref, script)]

    def problems(self, ref: ModelRef, script: Any = None) -> list[tuple[str, str]]:
        """What `check` finds, each with an error code: `model_auth` for a missing key."""
        return self._problems(ref, ref.script if script is None else script)

    def open_all(
        self, refs: Sequence[ModelRef], agent: AgentRate | None = None
    ) -> tuple[Model, ...]:
        """The models of `refs`, for `agent`. If one of several has no key here, that is a warning.

        Raises:
            ModelError: as `open`; for a missing key only if no model has one.
        """
        models: list[Model] = []
        missing: list[ModelError] = []
        for ref in refs:
            try:
                models.append(self.open(ref, agent=agent))
            except ModelError as error:
                if error.code != "model_auth":
                    raise
                missing.append(error)
                models.append(UnavailableModel(ref.name, error.code, str(error)))
        if len(missing) == len(refs):
            raise missing[0]
        for error in missing:
            log.warning("%s; the other models of the list are called instead", error)
        return tuple(models)

    def open(self, ref: ModelRef, script: Any = None, *, agent: AgentRate | None = None) -> Model:
        """The model of `ref`. Its calls count in the rate of `agent`. Nothing is connected yet.

        Raises:
            ModelError: `check` finds problems (`model_auth` for a missing key, else
                `model_config`); the text has all of them.
        """
        # Other models ignore the script: `name: ${AGENTD_MODEL:-mock/script}` may be either.
        script = (ref.script if script is None else script) if ref.name in MOCK_MODELS else None
        # `repr`, because a script is made of lists and mappings, which cannot be keys.
        identity = (ref.name, ref.api_base, _key(ref), ref.timeout, _price(ref), repr(script))
        if identity not in self._models:
            problems = self._problems(ref, script)
            if problems:
                raise ModelError("; ".join(text for _, text in problems), code=problems[0][0])
            self._models[identity] = self._make(ref, script)
        # The options are not part of the identity: agents with different ones share the model.
        options = self._options(ref, script, agent)
        model = self._models[identity]
        return ConfiguredModel(model, options) if options else model

    def takes_images(self, name: str) -> bool | None:
        """Whether the model of this name takes images; None if that is not known."""
        return None if name in MOCK_MODELS else self._prices.takes_images(name)

    async def warm(self) -> None:
        """Imports litellm if an open model needs it, so that the first task need not wait."""
        if self._litellm is not None:
            await self._litellm.module()

    async def close(self) -> None:
        """Closes all connections."""
        if self._http is not None:
            await self._http.close()
        if self._litellm is not None:
            await self._litellm.close()

    def _problems(self, ref: ModelRef, script: Any) -> list[tuple[str, str]]:
        """The problems of a model: an error code and a text each."""
        if ref.name.startswith("mock/"):
            return [("model_config", text) for text in _mock_problems(ref.name, script)]
        provider, model = split(ref.name)
        if not model:
            return [("model_config", f"`{ref.name}` has no model after the provider")]
        family = _family(provider, model)
        if family is not None:
            return self._compatible_problems(ref, family)
        if ref.name not in self._unknown:
            self._unknown[ref.name] = unknown(ref.name, self._prices)
        problem = self._unknown[ref.name]
        if problem:
            return [("model_config", problem)]
        provider = provider or self._prices.provider(ref.name) or ""
        variable = missing_key(provider, self._environ)
        # At another address there may be a gateway that needs no key.
        if variable and not _key(ref) and not ref.api_base:
            return [("model_auth", f"{variable} is not set (needed by {ref.name})")]
        return []

    def _compatible_problems(self, ref: ModelRef, family: Compatible) -> list[tuple[str, str]]:
        base = base_of(family, ref.api_base, self._environ)
        if base is None:
            text = f"no address for {ref.name}: set `api_base` or {family.bases[0]}"
            return [("model_config", text)]
        if not _is_http(base):
            text = f"`{base}` is not an http:// or https:// address (for {ref.name})"
            return [("model_config", text)]
        if base.partition("?")[0].rstrip("/").endswith("/chat/completions"):
            text = f"`{base}`: leave out /chat/completions; agentd adds it (for {ref.name})"
            return [("model_config", text)]
        key = _key(ref) or first(family.keys, self._environ)
        # Any other server may need no key. Whether it does is only known at the call.
        if key is None and _is_openai(base):
            return [("model_auth", f"{family.keys[0]} is not set (needed by {ref.name})")]
        if key and not (key.isascii() and key.isprintable()):
            text = (
                f"the API key of {ref.name} has characters that cannot be sent in a header; was it "
                "copied with typographic quotes or a line break?"
            )
            return [("model_auth", text)]
        return []

    def _make(self, ref: ModelRef, script: Any) -> Model:
        # Imported here and below, when a model needs it: aiohttp and litellm are slow to import.
        from agentd.models.mock import EchoModel, ScriptModel

        provider, model = split(ref.name)
        if ref.name == "mock/echo":
            return EchoModel(price=_price(ref))
        if provider == "mock":
            return ScriptModel(parse(script), price=_price(ref), timeout=ref.timeout)
        price = _price(ref) or self._prices.of(ref.name)
        family = _family(provider, model)
        if family is None:
            return self._through_litellm(ref, price)
        from agentd.models.openai_http import OpenAIModel

        base = base_of(family, ref.api_base, self._environ) or ""
        key = _key(ref) or first(family.keys, self._environ)
        endpoint = self._endpoint(base, key)
        direct = OpenAIModel(ref.name, model, endpoint, price=price, timeout=ref.timeout)
        return LimitedModel(direct, self.limiters.of(base, key))

    def _options(self, ref: ModelRef, script: Any, agent: AgentRate | None) -> CallOptions | None:
        """How the model of `ref` is to be called; None if the manifest says nothing about it."""
        calls = [self.rates.of(agent.key, agent.rate, "limits.rate")] if agent else []
        marks = self._wants_marks(ref)
        if not (calls or ref.parameters or ref.rate or ref.tokens or ref.cache or marks):
            return None
        key = self._shared_key(ref) if ref.rate or ref.tokens else ""
        if ref.rate:
            calls.append(self.rates.of(f"{key}\ncalls", ref.rate, "model.rate"))
        tokens = None
        if ref.tokens:
            tokens = self.rates.of(f"{key}\ntokens", ref.tokens, "model.tokens")
        return CallOptions(
            parameters=ref.parameters,
            calls=calls,
            tokens=tokens,
            cache=self.cache if ref.cache else None,
            cache_name=f"{ref.name}\n{ref.api_base}\n{script!r}",
            cache_seconds=ref.cache or 0.0,
            prompt_cache=marks,
        )

    def _wants_marks(self, ref: ModelRef) -> bool:
        """Whether the prompts for this model are marked. OpenAI itself caches without marks, and
        refuses them."""
        family = _family(*split(ref.name)) if ref.prompt_cache else None
        base = base_of(family, ref.api_base, self._environ) if family else None
        return ref.prompt_cache and not _is_openai(base or "")

    def _shared_key(self, ref: ModelRef) -> str:
        """A name of this model with this key: the same for all agents and replicas that use it.

        It becomes part of a key in a bucket that others may read, so the API key is in a digest.
        """
        provider, model = split(ref.name)
        family = _family(provider, model)
        base = base_of(family, ref.api_base, self._environ) if family else ref.api_base
        names = family.keys if family else KEYS.get(provider, ())
        digest = digest_of(base or provider, _key(ref) or first(names, self._environ))
        return f"{digest}\n{model}"

    def _endpoint(self, base: str, key: str | None) -> Endpoint:
        from agentd.models.endpoint import Endpoint, Http

        self._http = self._http or Http()
        if (base, key) not in self._endpoints:
            self._endpoints[base, key] = Endpoint(self._http, base, key)
        return self._endpoints[base, key]

    def _through_litellm(self, ref: ModelRef, price: ListPrice | None) -> Model:
        from agentd.models.litellm_bridge import Litellm, LitellmModel

        self._litellm = self._litellm or Litellm()
        key = _key(ref)
        provider = split(ref.name)[0] or self._prices.provider(ref.name) or ref.name
        known = key or first(KEYS.get(provider, ()), self._environ)
        model = LitellmModel(
            ref.name,
            self._litellm,
            api_key=key,
            api_base=ref.api_base,
            price=price,
            timeout=ref.timeout,
            # litellm may read a key that agentd does not know of, so hide all that look like one.
            secrets=((key,) if key else ()) + secrets(self._environ),
        )
        return LimitedModel(model, self.limiters.of(ref.api_base or provider, known))


def _family(provider: str, model: str) -> Compatible | None:
    """The family of servers that agentd calls directly; None if litellm does.

    litellm does it for OpenAI's Responses API (`openai/responses/…`), which has another format.
    """
    return None if model.startswith("responses/") else COMPATIBLE.get(provider)


def _mock_problems(name: str, script: Any) -> list[str]:
    if name not in MOCK_MODELS:
        hint = did_you_mean(name, MOCK_MODELS) or f"write {' or '.join(MOCK_MODELS)}"
        return [f"`{name}` is not a mock model; {hint}"]
    if name == "mock/echo":
        return []
    try:
        parse(script)
    except ScriptError as error:
        return error.problems
    return []


def _key(ref: ModelRef) -> str | None:
    return (ref.api_key.get_secret_value().strip() or None) if ref.api_key else None


def _price(ref: ModelRef) -> ListPrice | None:
    return ListPrice.flat(ref.price) if ref.price else None


def _is_openai(base: str) -> bool:
    return (urlsplit(base).hostname or "").endswith("api.openai.com")


def _is_http(base: str) -> bool:
    try:
        parts = urlsplit(base)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
