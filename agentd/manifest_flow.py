"""How work flows between agents: what a manifest emits, joins and schedules."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from agentd.manifest_parts import Count, Part
from agentd.quantities import (
    Duration,
    Emission,
    Expression,
    Fact,
    Name,
    Names,
    Priority,
    Topic,
    filled,
)


class EmitRule(Part):
    """One kind of message that follows an answer: exactly one of `task` and `event`."""

    task: Topic | None = Field(
        default=None, description="A task for whoever can do it.", examples=["factcheck.claims"]
    )
    event: Topic | None = Field(
        default=None, description="A fact for whoever listens.", examples=["report.ready"]
    )
    when: Expression | None = Field(
        default=None,
        description="Only if this holds; sees `output`, `message` and `item`.",
        examples=["output.score > 0.5"],
    )
    for_each: Expression | None = Field(
        default=None,
        description="One message for each `item` of this list.",
        examples=["output.claims"],
    )
    content: Expression | None = Field(
        default=None,
        description="What it says; default: the item, or the answer.",
        examples=["item"],
    )
    priority: Priority | None = Field(
        default=None, description="0 to 9; default: that of the task.", examples=[7]
    )
    target: Name | None = Field(
        default=None, description="The one agent that shall do it.", examples=["factchecker"]
    )
    capabilities: Names = Field(
        default=(), description="All that its agent must be able to do.", examples=[["research"]]
    )
    exclusions: Names = Field(
        default=(), description="Agents that shall not do it.", examples=[["analyst"]]
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.task is None) == (self.event is None):
            raise ValueError("needs either `task` or `event`", "")
        return self


class Emit(Part):
    """What follows an answer. A list stands for its `rules`."""

    rules: tuple[EmitRule, ...] = Field(
        default=(), description="What follows every answer.", examples=[[{"event": "report.ready"}]]
    )
    allow: tuple[Emission, ...] = Field(
        default=(),
        description="What the model itself may emit, through a tool.",
        examples=[["task.research.*"]],
    )


class Join(Part):
    """Waits for several facts and runs once for all of them."""

    wait_for: Annotated[tuple[Fact, ...], AfterValidator(filled)] = Field(
        description="One of each of these.", examples=[["result.analysis.*", "result.research.*"]]
    )
    by: Literal["conversation", "correlation", "parent"] = Field(
        default="conversation",
        description="What the facts must have in common.",
        examples=["parent"],
    )
    count: Count | None = Field(
        default=None,
        description="How many facts complete it; default: one of each of `wait_for`.",
        examples=[3],
    )
    timeout: Duration = Field(
        default=60.0, description="The longest wait after the first.", examples=["60s"]
    )
    on_timeout: Literal["run", "fail"] = Field(
        default="run", description="`run` with what is there, or `fail`.", examples=["fail"]
    )


class Schedule(Part):
    """Work that comes by itself: exactly one of `every` and `cron`."""

    every: Duration | None = Field(
        default=None, description="The time between two tasks.", examples=["1h"]
    )
    cron: str | None = Field(
        default=None, min_length=1, description="A cron expression.", examples=["0 7 * * 1-5"]
    )
    task: Any = Field(
        description="The content of the task.", examples=["Collect the news of the last hour."]
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("needs either `every` or `cron`", "")
        return self
