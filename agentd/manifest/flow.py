"""How work flows between agents: what a manifest emits, joins and schedules."""

from __future__ import annotations

import difflib
import zoneinfo
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agentd.manifest.cron import parse
from agentd.manifest.quantities import (
    Duration,
    EmissionPattern,
    Expression,
    FactPattern,
    Flag,
    Name,
    Names,
    Priority,
    Topic,
    as_list,
    no_duplicates,
    not_empty,
    seconds,
)
from agentd.manifest.strict_model import Count, StrictModel
from agentd.protocol.subjects import RUNTIME_EVENTS

# More than this many facts make no prompt, and a state that is slow to share.
MOST_JOINED = 1_000

FactPatterns = Annotated[
    tuple[FactPattern, ...], BeforeValidator(as_list), AfterValidator(no_duplicates)
]


def _since(value: object) -> float | None:
    """How far back, in seconds; None for `new`."""
    return None if value in (None, "new") else seconds(value)


def _enough(value: object) -> object:
    """A number of facts, or `all`."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_JOINED:
        return value
    if value in (None, "all"):
        return value
    raise ValueError(f"must be a number from 1 to {MOST_JOINED:,}, or `all`", "")


class Subscribe(StrictModel):
    """Facts that an agent runs for. A pattern, or a list of them, stands for its `to`."""

    to: Annotated[FactPatterns, AfterValidator(not_empty)] = Field(
        description="Patterns of results and events.",
        examples=[["result.research.*", "event.review.requested"]],
    )
    since: Annotated[
        float | None, BeforeValidator(_since, json_schema_input_type=Duration | Literal["new"])
    ] = Field(
        default=None,
        alias="from",
        description="Where an agent begins that has no place in the log yet: with facts that are "
        "`new` then, or so far back.",
        examples=["1h"],
    )
    errors: Flag = Field(
        default=False,
        description="Also runs for results that are errors.",
        examples=[True],
    )


class EmitRule(StrictModel):
    """One kind of message that follows an answer: exactly one of `task` and `event`."""

    task: Topic | None = Field(
        default=None, description="A task for whoever can do it.", examples=["factcheck.claims"]
    )
    event: Topic | None = Field(
        default=None, description="A fact for whoever listens.", examples=["report.ready"]
    )
    when: Expression | None = Field(
        default=None,
        description="Only if this holds; sees `output`, `item`, `message`, `content`, `context` "
        "and `agent`, as the other expressions here do.",
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

    @field_validator("task", "event")
    @classmethod
    def _not_ours(cls, topic: str | None, info: ValidationInfo) -> str | None:
        domain = (topic or "").partition(".")[0]
        if info.field_name == "event" and domain in RUNTIME_EVENTS:
            raise ValueError(f"may not begin with {domain}.", "such events are agentd's own")
        if domain.startswith("_"):
            raise ValueError("may not begin with _", "name an agent as `target`")
        return topic

    @model_validator(mode="after")
    def _addressed(self) -> Self:
        if self.event is not None:
            for name in ("target", "capabilities", "exclusions"):
                if getattr(self, name):
                    mend = "an event is for whoever listens"
                    raise ValueError("does not go with `event`", mend, name)
        if self.target in self.exclusions:
            raise ValueError("is excluded as well: nobody may do this", "", "target")
        return self


class Emit(StrictModel):
    """What follows an answer. A list stands for its `rules`."""

    rules: tuple[EmitRule, ...] = Field(
        default=(), description="What follows every answer.", examples=[[{"event": "report.ready"}]]
    )
    allow: tuple[EmissionPattern, ...] = Field(
        default=(),
        description="What the model itself may emit, through the tool `emit`.",
        examples=[["task.research.*"]],
    )
    limit: Count = Field(
        default=20, description="How often it may do so in one task.", examples=[5]
    )

    @field_validator("allow")
    @classmethod
    def _not_ours(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for index, pattern in enumerate(allow):
            kind, domain, _ = pattern.split(".")
            if domain.startswith("_") or (kind == "event" and domain in RUNTIME_EVENTS):
                raise ValueError(f"has `{pattern}`: {domain}. is agentd's own", "", index)
        return allow


class Join(StrictModel):
    """Waits for several facts and runs once for all of them."""

    wait_for: Annotated[FactPatterns, AfterValidator(not_empty)] = Field(
        description="One of each of these.", examples=[["result.analysis.*", "result.research.*"]]
    )
    by: Literal["conversation", "correlation", "parent"] = Field(
        default="correlation",
        description="What the facts must have in common: the conversation; the request that they "
        "all go back to; or the message that they (or their tasks) follow.",
        examples=["parent"],
    )
    count: Annotated[
        int | Literal["all"] | None,
        BeforeValidator(_enough, json_schema_input_type=int | Literal["all"] | None),
    ] = Field(
        default=None,
        description="How many facts complete it; `all`: every sibling of a fan-out. Default: one "
        "of each of `wait_for`.",
        examples=[3],
    )
    timeout: Duration = Field(
        default=60.0, description="The longest wait after the first.", examples=["60s"]
    )
    on_timeout: Literal["run", "fail"] = Field(
        default="run", description="`run` with what is there, or `fail`.", examples=["fail"]
    )


class Schedule(StrictModel):
    """Work that comes by itself: exactly one of `every` and `cron`."""

    every: Duration | None = Field(
        default=None, description="The time between two tasks.", examples=["1h"]
    )
    cron: str | None = Field(
        default=None,
        min_length=1,
        description="A cron expression: minute, hour, day of the month, month, day of the week; a "
        "sixth field in front is the second.",
        examples=["0 7 * * 1-5"],
    )
    time_zone: str = Field(
        default="UTC",
        description="The time zone that `cron` is meant in.",
        examples=["Europe/Berlin"],
    )
    task: Any = Field(
        description="The content of the task.", examples=["Collect the news of the last hour."]
    )

    @field_validator("every")
    @classmethod
    def _a_second_or_more(cls, every: float | None) -> float | None:
        if every is not None and every < 1:
            raise ValueError("must be at least 1s", "")
        return every

    @field_validator("cron")
    @classmethod
    def _six_fields(cls, cron: str | None) -> str | None:
        return cron and parse(cron).text

    @field_validator("time_zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        known = zoneinfo.available_timezones()  # empty where the system has no such data
        if known and zone not in known:
            near = difflib.get_close_matches(zone, known, n=1)
            mend = f"did you mean `{near[0]}`?" if near else "for example Europe/Berlin"
            raise ValueError(f"is no time zone: `{zone[:40]}`", mend)
        return zone

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("needs either `every` or `cron`", "")
        if self.every is not None and self.time_zone != "UTC":
            raise ValueError("`time_zone` goes with `cron`", "")
        return self
