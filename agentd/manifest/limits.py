"""The parts of a manifest that bound an agent: the form of its answer, history, limits, retries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
)

from agentd.manifest.model import ShortRef
from agentd.manifest.quantities import Duration, Money, Rate, Whole, one_of_types
from agentd.manifest.strict_model import Count, StrictModel


class Output(StrictModel):
    """The form that an answer must have."""

    schema_: Annotated[Any, one_of_types("a JSON Schema or a file name", dict, str)] = Field(
        alias="schema",  # `schema` itself is a method of pydantic's BaseModel
        description="The JSON Schema of the answer, or the name of the file that holds it.",
        examples=[{"type": "object", "required": ["score"]}],
        json_schema_extra={"type": ["object", "string"]},
    )
    retries: Annotated[Whole, Field(ge=0, le=10)] = Field(
        default=2,
        description="How many times the model may correct an answer that does not fit the schema.",
        examples=[2],
    )


class History(StrictModel):
    """How much of the conversation the model sees."""

    max_messages: Count = Field(
        default=20,
        description="The maximum number of messages, of users and agents together. A user's "
        "message and its answer are kept or left out together.",
        examples=[20],
    )
    max_tokens: Count = Field(
        default=4000,
        description="The maximum number of tokens, estimated at four bytes per token. Only the "
        "newest exchange may exceed it.",
        examples=[4000],
    )
    keep: Annotated[Whole, Field(ge=0, le=1000)] = Field(
        default=5,
        description="How many of the newest messages stay unchanged when the older ones are "
        "summarized, as far as `max_messages` and `max_tokens` allow.",
        examples=[5],
    )
    compact: Literal["summarize", "trim"] = Field(
        default="summarize",
        description="What happens to the older messages when there are too many: `summarize` lets "
        "a model condense them, `trim` leaves them out. The log keeps them in both cases.",
        examples=["trim"],
    )
    model: ShortRef | None = Field(
        default=None,
        description="The model that writes the summaries, in the same form as one `model`. "
        "Default: the agent's own model.",
        examples=["openai/gpt-4o-mini"],
    )


class Limits(StrictModel):
    """The limits of an agent."""

    concurrency: Annotated[Whole, Field(ge=1, le=10_000)] = Field(
        default=8,
        description="The maximum number of tasks that one process runs at the same time.",
        examples=[8],
    )
    timeout: Duration = Field(
        default=120.0,
        description="The longest time for one task, with all its attempts, turns and tool calls. "
        "A wait in the queue, for an approval, for a rate or for a provider that asks for a wait "
        "(`Retry-After`) does not count.",
        examples=["120s"],
    )
    calls: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        default=64,
        description="The maximum number of tool calls in one turn. agentd makes no further call of "
        "this turn, and the model receives an error for it.",
        examples=[64],
    )
    turns: Count = Field(
        default=10,
        description="The maximum number of turns in one task. A task that has no answer by then "
        "becomes a dead letter.",
        examples=[10],
    )
    repeated_calls: Count = Field(
        default=3,
        description="How many times a task may make the same tool call with the same arguments "
        "while it calls nothing new. A further call is refused, and the model is asked to do "
        "something else. If it repeats the call nevertheless, the task becomes a dead letter. "
        "Raise it for a tool that is polled.",
        examples=[20],
    )
    hops: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        default=16,
        description="The maximum number of hops of a request, from agent to agent. A task with "
        "more hops becomes a dead letter.",
        examples=[16],
    )
    cost: Money = Field(
        default=0.5,
        description="The most that one task may cost, in USD, with all its attempts. agentd does "
        "not make a call that may cost more than is left. It estimates the cost from the text of "
        "the call and its `max_tokens` (default: 1,000 output tokens). The limit has no effect "
        "for a model whose price is unknown.",
        examples=[0.5],
    )
    conversation_cost: Money = Field(
        default=5.0,
        description="The most that one conversation may cost, in USD, for all agents and replicas "
        "together; otherwise like `cost`.",
        examples=[5.0],
    )
    rate: Rate | None = Field(
        default=None,
        description="The highest rate of calls to the agent's models, on all replicas together. A "
        "task whose call would exceed the rate waits. If the wait is too long, the task is handed "
        "back to the queue.",
        examples=["60/min"],
    )


class Retry(StrictModel):
    """How often and how soon a task is tried again."""

    attempts: Annotated[Whole, Field(ge=1, le=100)] = Field(
        default=5,
        description="The maximum number of attempts, the first one included.",
        examples=[5],
    )
    backoff: Duration = Field(
        default=1.0,
        description="The wait after the first failed attempt. It doubles after each further one.",
        examples=["1s"],
    )
    max_backoff: Duration = Field(
        default=60.0, description="The longest wait between two attempts.", examples=["60s"]
    )
