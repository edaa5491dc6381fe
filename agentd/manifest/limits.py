"""What every agent has in its manifest: a model, limits, and how it answers and remembers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from agentd.manifest.quantities import Duration, Expression, Money, Rate, Whole, either

MOCKS = ("mock/echo", "mock/script")

# What a model's call has of its own; `parameters` go to the provider untouched.
NOT_PARAMETERS = {
    **dict.fromkeys(["model", "messages", "stream"], "agentd sets it itself"),
    **dict.fromkeys(["max_retries", "num_retries", "fallbacks"], "agentd retries by itself"),
    **dict.fromkeys(["api_key", "api_base", "base_url", "timeout"], "it belongs under `model`"),
}

Count = Annotated[Whole, Field(ge=1, le=1_000_000)]


def for_the_provider(parameters: dict[str, Any]) -> dict[str, Any]:
    """`parameters`, none of which agentd sets itself."""
    for name in parameters.keys() & NOT_PARAMETERS.keys():
        raise ValueError("is not a parameter", NOT_PARAMETERS[name], name)
    return parameters


Parameters = Annotated[dict[str, Any], AfterValidator(for_the_provider)]


class Part(BaseModel):
    """Strict and immutable. Values never appear in errors: they may be secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Price(Part):
    """What a model costs, in USD per million tokens."""

    input: Money = Field(description="USD per million tokens of input.", examples=[0.15])
    output: Money = Field(description="USD per million tokens of output.", examples=[0.6])
    cached_input: Money | None = Field(
        default=None,
        description="USD per million tokens of input that the provider had in its cache. Default: "
        "as `input`.",
        examples=[0.075],
    )


class ModelRef(Part):
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
    script: Annotated[Any, either("a file name or a list of turns", str, list, type(None))] = Field(
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
        if name.startswith("mock/") and name not in MOCKS:
            raise ValueError("is not a mock model", f"write {' or '.join(MOCKS)}")
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


class ModelRoutes(Part):
    """Models to choose from."""

    routes: list[str | ModelChoice] = Field(
        min_length=1, description="As a list of models; see there.", examples=[["mock/echo"]]
    )
    cache: Duration | None = Field(
        default=None, description="For each of them that has no other.", examples=["10m"]
    )


class Output(Part):
    """What an answer must look like."""

    schema_: Annotated[Any, either("a JSON Schema or a file name", dict, str)] = Field(
        alias="schema",
        description="The JSON Schema of the answer, or the file that holds it.",
        examples=[{"type": "object", "required": ["score"]}],
        json_schema_extra={"type": ["object", "string"]},
    )
    retries: Annotated[Whole, Field(ge=0, le=10)] = Field(
        default=2,
        description="How often the model is told its mistake and asked again.",
        examples=[2],
    )


class History(Part):
    """How much of the conversation the model sees."""

    max_messages: Count = Field(
        default=20,
        description="The most messages, of users and agents together. A user's message and the "
        "answer to it go or stay together.",
        examples=[20],
    )
    max_tokens: Count = Field(
        default=4000,
        description="The most tokens, estimated at four bytes each. Only the newest exchange may "
        "be larger.",
        examples=[4000],
    )
    keep: Annotated[Whole, Field(ge=0, le=1000)] = Field(
        default=5,
        description="The newest messages, which are never summarized; they stay as they are where "
        "the other two allow it.",
        examples=[5],
    )
    compact: Literal["summarize", "trim"] = Field(
        default="summarize",
        description="What becomes of the older ones when there are too many: a model condenses "
        "them, or they are left out. They stay in the log.",
        examples=["trim"],
    )
    model: ShortRef | None = Field(
        default=None,
        description="The model that summarizes, given as `model` itself is. Default: the agent's "
        "own.",
        examples=["openai/gpt-4o-mini"],
    )


class Limits(Part):
    """What an agent may use up."""

    concurrency: Annotated[Whole, Field(ge=1, le=10_000)] = Field(
        default=8, description="Tasks at once in one process.", examples=[8]
    )
    timeout: Duration = Field(
        default=120.0,
        description="The longest that a task may take, all in all.",
        examples=["120s"],
    )
    turns: Count = Field(
        default=10,
        description="Turns of model and tools in one task. A task that has no answer then ends "
        "among the dead letters.",
        examples=[10],
    )
    hops: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        default=16,
        description="How often one request may be handed on, from agent to agent, before it ends "
        "among the dead letters.",
        examples=[16],
    )
    cost: Money = Field(
        default=0.5,
        description="USD for one task, all its attempts together. A call that may cost more than "
        "is left is not made. What it may cost is estimated from its text and its `max_tokens`, "
        "or 1,000 tokens of output; a model whose price is not known has no such limit.",
        examples=[0.5],
    )
    conversation_cost: Money = Field(
        default=5.0,
        description="USD for one conversation, all its agents and replicas together; "
        "otherwise like `cost`.",
        examples=[5.0],
    )
    rate: Rate | None = Field(
        default=None,
        description="The most calls of its models in any such time, over all replicas. A task that "
        "would make one too many waits, and is handed back if it would wait too long.",
        examples=["60/min"],
    )


class Retry(Part):
    """What happens to a task that failed and may succeed later."""

    attempts: Annotated[Whole, Field(ge=1, le=100)] = Field(
        default=5, description="Attempts in all.", examples=[5]
    )
    backoff: Duration = Field(
        default=1.0,
        description="The wait after the first failure; it doubles each time.",
        examples=["1s"],
    )
    max_backoff: Duration = Field(default=60.0, description="The longest wait.", examples=["60s"])
