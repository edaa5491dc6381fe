"""A model in a manifest: its name, address, key, price, rates; and several to choose from."""

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

from agentd.manifest.quantities import Duration, Expression, Money, Rate, one_of_types
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
    """What a model costs, in USD per million tokens."""

    input: Money = Field(description="USD per million tokens of input.", examples=[0.15])
    output: Money = Field(description="USD per million tokens of output.", examples=[0.6])
    cached_input: Money | None = Field(
        default=None,
        description="USD per million tokens of input that the provider had in its cache. Default: "
        "as `input`.",
        examples=[0.075],
    )


class ModelRef(StrictModel):
    """A model and how to reach it."""

    name: str = Field(
        description="The model as litellm names it; `mock/echo` and `mock/script` need no key.",
        examples=["openai/gpt-4o-mini"],
    )
    api_base: str | None = Field(
        default=None,
        description="The address of an OpenAI-compatible server, or of the provider's API.",
        examples=["http://127.0.0.1:8080/v1"],
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="The key, best taken from the environment. Left out, the provider's own "
        "variable (`OPENAI_API_KEY`…) counts.",
        examples=["${LOCAL_LLM_KEY}"],
    )
    timeout: Duration | None = Field(
        default=None,
        description="The longest that one call may take; `limits.timeout` bounds the whole task.",
        examples=["30s"],
    )
    script: Annotated[
        Any, one_of_types("a file name or a list of turns", str, list, type(None))
    ] = Field(
        default=None,
        description="For `mock/script`: its turns, or the YAML file that holds them, relative to "
        "the manifest. Other models leave it alone, so that `name: ${AGENTD_MODEL:-mock/script}` "
        "is one or the other.",
        examples=[["Hello.", "Hello again."]],
        json_schema_extra={"type": ["string", "array"]},
    )
    price: Price | None = Field(
        default=None,
        description="What it costs, for a model whose price is not known or is another for you.",
        examples=[{"input": 0.15, "output": 0.6}],
    )
    parameters: Parameters = Field(
        default={},
        description="Passed to this model as they are, where neither the agent's `parameters` nor "
        "the sender say otherwise.",
        examples=[{"reasoning_effort": "low"}],
    )
    rate: Rate | None = Field(
        default=None,
        description="The most calls of this model in any such time, of all agents that use it with "
        "this key, over all replicas. A call that would be one too many waits.",
        examples=["500/min"],
    )
    tokens: Rate | None = Field(
        default=None,
        description="The most tokens, in and out, otherwise like `rate`. What a call will take is "
        "estimated before and corrected after it.",
        examples=["200000/min"],
    )
    cache: Duration | None = Field(
        default=None,
        description="How long an answer is given again to an identical request, on all replicas.",
        examples=["10m"],
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """A name alone stands for a mapping with nothing else."""
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, dict | ModelRef):
            raise ValueError("must be the name of a model, or a mapping with `name`", "")
        return cast("Any", value)

    @field_validator("name")
    @classmethod
    def _model_name(cls, name: str) -> str:
        if not re.fullmatch(r"\S{1,256}", name):
            raise ValueError("must be the name of a model", "for example openai/gpt-4o-mini")
        if name.startswith("mock/") and name not in MOCK_MODELS:
            raise ValueError("is not a mock model", f"write {' or '.join(MOCK_MODELS)}")
        return name

    @field_validator("api_base")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must be a URL", "for example http://127.0.0.1:8080/v1")
        return url

    @model_validator(mode="after")
    def _scripted(self) -> Self:
        if self.name == "mock/script" and self.script is None:
            raise ValueError("needs a `script` for `mock/script`", "")
        return self


ShortRef = Annotated[
    ModelRef, BeforeValidator(lambda value: value, json_schema_input_type=str | ModelRef)
]


class ModelChoice(ModelRef):
    """A model of a list, and when it is asked."""

    when: Expression | None = Field(
        default=None,
        description="The model is only asked if this expression is true of the message.",
        examples=["content | length > 1000"],
    )


class ModelRoutes(StrictModel):
    """Models to choose from."""

    routes: list[str | ModelChoice] = Field(
        min_length=1, description="As a list of models; see there.", examples=[["mock/echo"]]
    )
    cache: Duration | None = Field(
        default=None, description="For each of them that has no other.", examples=["10m"]
    )
