"""What every agent has in its manifest: a model, limits, and how it answers and remembers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
)

from agentd.manifest.model import ShortRef
from agentd.manifest.quantities import Duration, Money, Rate, Whole, one_of_types
from agentd.manifest.strict_model import Count, StrictModel


class Output(StrictModel):
    """What an answer must look like."""

    schema_: Annotated[Any, one_of_types("a JSON Schema or a file name", dict, str)] = Field(
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


class History(StrictModel):
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


class Limits(StrictModel):
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


class Retry(StrictModel):
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
