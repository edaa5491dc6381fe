"""A model in a manifest: its name, address, key, price and rates, and lists of models."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from agentd.manifest.quantities import (
    Duration,
    Expression,
    Flag,
    Money,
    Rate,
    not_empty,
    one_of_types,
    seconds,
)
from agentd.manifest.strict_model import StrictModel

MOCK_MODELS = ("mock/echo", "mock/script")

# Parameters that agentd refuses, each with the reason. `parameters` are sent to the provider
# unchanged, so these would override what agentd decides for a call. The key and the address would
# even be sent in the body of the request.
RESERVED_PARAMETERS = {
    **dict.fromkeys(["model", "messages", "stream"], "agentd sets it"),
    **dict.fromkeys(["max_retries", "num_retries", "fallbacks"], "agentd does the retries"),
    **dict.fromkeys(
        ["api_key", "api_base", "base_url", "timeout"], "it belongs beside `name` under `model`"
    ),
}


def _not_reserved(parameters: dict[str, Any]) -> dict[str, Any]:
    for name in parameters.keys() & RESERVED_PARAMETERS.keys():
        raise ValueError("is not a parameter", RESERVED_PARAMETERS[name], name)
    return parameters


Parameters = Annotated[dict[str, Any], AfterValidator(_not_reserved)]


class Price(StrictModel):
    """The price of a model, in USD per million tokens."""

    input: Money = Field(
        description="The price of a million input tokens, in USD.", examples=[0.15]
    )
    output: Money = Field(
        description="The price of a million output tokens, in USD.", examples=[0.6]
    )
    cached_input: Money | None = Field(
        default=None,
        description="The price of a million input tokens that the provider reads from its cache, "
        "in USD. Default: the same as `input`.",
        examples=[0.075],
    )


class ModelRef(StrictModel):
    """A model and how agentd reaches it."""

    name: str = Field(
        description="The name of the model, as litellm spells it. `mock/echo` and `mock/script` "
        "need no key and no network.",
        examples=["openai/gpt-4o-mini"],
    )
    api_base: str | None = Field(
        default=None,
        description="The address of an OpenAI-compatible server or of the provider's API. "
        "Default: the address in the provider's own variable (`OPENAI_BASE_URL`…), or else the "
        "provider's default address.",
        examples=["http://127.0.0.1:8080/v1"],
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="The API key. Take it from the environment, so that the file holds no secret. "
        "Default: the value of the provider's own variable (`OPENAI_API_KEY`…).",
        examples=["${LOCAL_LLM_KEY}"],
    )
    timeout: Duration | None = Field(
        default=None,
        description="The longest time that one call may take. `limits.timeout` bounds all calls "
        "of a task together.",
        examples=["30s"],
    )
    script: Annotated[
        Any, one_of_types("a file name or a list of turns", str, list, type(None))
    ] = Field(
        default=None,
        description="The turns of `mock/script`, or the name of the YAML file that holds them, "
        "relative to the manifest. Other models ignore this field, so that `name: "
        "${AGENTD_MODEL:-mock/script}` can be either.",
        examples=[["Hello.", "Hello again."]],
        json_schema_extra={"type": ["string", "array", "null"]},
    )
    price: Price | None = Field(
        default=None,
        description="The price of the model. Set it if agentd does not know the price, or if you "
        "pay a different one.",
        examples=[{"input": 0.15, "output": 0.6}],
    )
    parameters: Parameters = Field(
        default={},
        description="Parameters that are sent to this model unchanged. The agent's `parameters` "
        "and those of the sender take precedence.",
        examples=[{"reasoning_effort": "low"}],
    )
    rate: Rate | None = Field(
        default=None,
        description="The highest rate of calls to this model: of all agents that use it with this "
        "key, on all replicas together. A call that would exceed the rate waits.",
        examples=["500/min"],
    )
    tokens: Rate | None = Field(
        default=None,
        description="The highest rate of tokens, input and output together; otherwise like "
        "`rate`. agentd estimates the tokens of a call before the call and corrects them after it.",
        examples=["200000/min"],
    )
    cache: Duration | None = Field(
        default=None,
        description="How long agentd reuses an answer for identical requests, on all replicas.",
        examples=["10m"],
    )

    prompt_cache: Flag = Field(
        default=False,
        description="If true, agentd marks the prompt and the chat (`cache_control`), so that the "
        "provider caches them. Cached input costs less. OpenAI caches without marks.",
        examples=[True],
    )

    @classmethod
    def of_setting(cls, name: str) -> Self:
        """The model that `AGENTD_MODEL` names. Not validated here: `Models.check` reports what
        is wrong with it, in the terms of the setting."""
        return cls.model_construct(name=name)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        """Accepts a name alone in place of a mapping with only `name`."""
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, dict | ModelRef):
            raise ValueError("must be the name of a model, or a mapping with a `name`", "")
        return cast("Any", value)

    @field_validator("name")
    @classmethod
    def _is_known_name(cls, name: str) -> str:
        if not re.fullmatch(r"\S{1,256}", name):
            raise ValueError("must be the name of a model", "for example openai/gpt-4o-mini")
        if name.startswith("mock/") and name not in MOCK_MODELS:
            raise ValueError("is not a mock model", f"write {' or '.join(MOCK_MODELS)}")
        return name

    @field_validator("api_base")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is None or url.startswith(("http://", "https://")):
            return url
        if "://" not in url and re.match(r"[\w-]+[.:/]", url):
            raise ValueError("must be a URL", f"write http://{url}, or https://{url}")
        raise ValueError("must be a URL", "for example http://127.0.0.1:8080/v1")

    @model_validator(mode="after")
    def _has_script(self) -> Self:
        if self.name == "mock/script" and self.script is None:
            hint = "give its turns, or the file that holds them"
            raise ValueError("needs a `script` for `mock/script`", hint)
        return self


# The validator changes nothing. It is here so that the JSON Schema allows a plain name as well.
ShortRef = Annotated[
    ModelRef, BeforeValidator(lambda value: value, json_schema_input_type=str | ModelRef)
]


class ModelChoice(ModelRef):
    """A model of a list, and the condition for its use."""

    when: Expression | None = Field(
        default=None,
        description="agentd uses the model only if this expression is true for the message.",
        examples=["content | length > 1000"],
    )


class ModelRoutes(StrictModel):
    """A list of models, and a field that they share."""

    routes: list[str | ModelChoice] = Field(
        min_length=1,
        description="The models, in the same form as a list under `model`.",
        examples=[["mock/echo"]],
    )
    cache: Duration | None = Field(
        default=None,
        description="The `cache` of each model in the list that has none of its own.",
        examples=["10m"],
    )


def _as_models(value: Any) -> Any:
    """A model, a list of models, or `{routes: [...]}` as a list of models."""
    if isinstance(value, list | tuple):
        return value
    if not isinstance(value, dict) or "routes" not in value:
        return [value]
    shared: dict[str, Any] = {**value}
    routes = shared.pop("routes")
    for name in shared.keys() - {"cache"}:
        raise ValueError("cannot be combined with `routes`", "move it into one of the routes", name)
    if not isinstance(routes, list):
        raise ValueError("must be a list of models", "", "routes")
    try:
        shared |= {"cache": seconds(shared["cache"])} if "cache" in shared else {}
    except ValueError as error:
        # Checked here, or the error would be reported once for each of the routes.
        raise ValueError(*error.args, "cache") from None
    return [_with_shared(route, shared) for route in cast("list[Any]", routes)]


def _with_shared(route: Any, fields: dict[str, Any]) -> Any:
    """A route, with the shared `fields` that it does not set itself."""
    whole = {"name": route} if isinstance(route, str) else route
    return {**fields, **whole} if isinstance(whole, dict) else whole


# The list is complete before its models are checked: pydantic runs the before-validator first.
_ModelForms = (
    str | ModelRoutes | ModelChoice | Annotated[list[str | ModelChoice], Field(min_length=1)]
)

Models = Annotated[
    tuple[ModelChoice, ...],
    AfterValidator(not_empty),
    BeforeValidator(_as_models, json_schema_input_type=_ModelForms),
]
