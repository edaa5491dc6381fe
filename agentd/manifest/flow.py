"""How work flows between agents: what a manifest subscribes to, emits, joins and schedules."""

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

JOINED = "joined"  # the specificity of a join's task and of its result

# More facts would not fit into a prompt, and the state of the join, which replicas share, would be
# slow to write.
MOST_JOINED = 1_000

FactPatterns = Annotated[
    tuple[FactPattern, ...], BeforeValidator(as_list), AfterValidator(no_duplicates)
]


def _start(value: object) -> float | None:
    """How far back a subscription starts, in seconds; None for `new`."""
    return None if value in (None, "new") else seconds(value)


def _number_or_all(value: object) -> object:
    """A number of facts, or `all`."""
    # `bool` is a subclass of `int`, so `count: true` would count as 1.
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_JOINED:
        return value
    if value in (None, "all"):
        return value
    raise ValueError(f"must be a number from 1 to {MOST_JOINED:,}, or `all`", "")


class Subscribe(StrictModel):
    """The facts that an agent runs for. A pattern or a list of patterns is short for `to`."""

    to: Annotated[FactPatterns, AfterValidator(not_empty)] = Field(
        description="The patterns of the results and events.",
        examples=[["result.research.*", "event.review.requested"]],
    )
    since: Annotated[
        float | None, BeforeValidator(_start, json_schema_input_type=Duration | Literal["new"])
    ] = Field(
        default=None,
        alias="from",  # a keyword in Python
        description="Where a new subscription starts in the log: at `new` facts only, or this far "
        "back. An agent that has subscribed before resumes where it stopped.",
        examples=["1h"],
    )
    errors: Flag = Field(
        default=False,
        description="If true, the agent also runs for results that are errors.",
        examples=[True],
    )


class EmitRule(StrictModel):
    """A rule that emits a message after an answer: either a `task` or an `event`."""

    task: Topic | None = Field(
        default=None,
        description="The topic of a task. One agent that has its domain as a capability takes the "
        "task.",
        examples=["factcheck.claims"],
    )
    event: Topic | None = Field(
        default=None,
        description="The topic of an event. Every subscriber gets the event.",
        examples=["report.ready"],
    )
    when: Expression | None = Field(
        default=None,
        description="The rule applies only if this expression is true. All expressions of a rule "
        "can use `output`, `message`, `content`, `context`, `agent`, `now` and, beside "
        "`for_each`, `item`.",
        examples=["output.score > 0.5"],
    )
    for_each: Expression | None = Field(
        default=None,
        description="An expression that gives a list. The rule emits one message for each `item` "
        "of it.",
        examples=["output.claims"],
    )
    content: Expression | None = Field(
        default=None,
        description="An expression that gives the content of the message. Default: the item, or "
        "else the answer.",
        examples=["item"],
    )
    priority: Priority | None = Field(
        default=None,
        description="The priority of the message, 0 to 9. Default: the priority of the task that "
        "was answered.",
        examples=[7],
    )
    target: Name | None = Field(
        default=None,
        description="The name of the one agent that the task is for.",
        examples=["factchecker"],
    )
    capabilities: Names = Field(
        default=(),
        description="Capabilities that the agent must have besides the domain of the task.",
        examples=[["research"]],
    )
    exclusions: Names = Field(
        default=(),
        description="The names of agents that must not take the task.",
        examples=[["analyst"]],
    )

    @property
    def subject(self) -> str:
        """`task` or `event`, domain and specificity."""
        return f"task.{self.task}" if self.task else f"event.{self.event}"

    @model_validator(mode="after")
    def _either_task_or_event(self) -> Self:
        if (self.task is None) == (self.event is None):
            raise ValueError("needs either `task` or `event`", "")
        return self

    @field_validator("task", "event")
    @classmethod
    def _not_reserved(cls, topic: str | None, info: ValidationInfo) -> str | None:
        domain = (topic or "").partition(".")[0]
        if info.field_name == "event" and domain in RUNTIME_EVENTS:
            raise ValueError(
                f"must not begin with {domain}.", "agentd publishes such events itself"
            )
        if domain.startswith("_"):
            raise ValueError("must not begin with _", "to name an agent, use `target`")
        return topic

    @model_validator(mode="after")
    def _can_be_delivered(self) -> Self:
        if self.event is not None:
            for name in ("target", "capabilities", "exclusions"):
                if getattr(self, name):
                    hint = "every subscriber gets an event"
                    raise ValueError("cannot be combined with `event`", hint, name)
        if self.target in self.exclusions:
            hint = "remove it from `exclusions`, or name another target"
            raise ValueError(
                "is also in `exclusions`, so no agent may take this task", hint, "target"
            )
        return self


class Emit(StrictModel):
    """The messages that follow an answer. A list is short for `rules`."""

    rules: tuple[EmitRule, ...] = Field(
        default=(),
        description="The rules that emit messages after each answer.",
        examples=[[{"event": "report.ready"}]],
    )
    allow: tuple[EmissionPattern, ...] = Field(
        default=(),
        description="Patterns of tasks and events that the model may emit with the tool `emit`.",
        examples=[["task.research.*"]],
    )
    limit: Count = Field(
        default=20,
        description="The maximum number of messages that the model may emit in one task.",
        examples=[5],
    )

    @property
    def subjects(self) -> tuple[str, ...]:
        """All that the agent may emit: `task.billing.issue`, or a pattern for the model."""
        return (*(rule.subject for rule in self.rules), *self.allow)

    @field_validator("allow")
    @classmethod
    def _not_reserved(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for index, pattern in enumerate(allow):
            # A `*` as domain is allowed: the tool `emit` checks each message, too.
            kind, domain, _ = pattern.split(".")
            if domain.startswith("_") or (kind == "event" and domain in RUNTIME_EVENTS):
                raise ValueError(
                    f"has `{pattern}`, but `{domain}` is reserved for agentd", "", index
                )
        return allow


class Join(StrictModel):
    """Waits for several facts, then runs once with all of them."""

    wait_for: Annotated[FactPatterns, AfterValidator(not_empty)] = Field(
        description="The patterns of the facts. Without `count`, the join waits for one fact of "
        "each pattern.",
        examples=[["result.analysis.*", "result.research.*"]],
    )
    by: Literal["conversation", "correlation", "parent"] = Field(
        default="correlation",
        description="What the facts of one join have in common: the `conversation`, the original "
        "request (`correlation`), or the message that they follow (`parent`). For a result, "
        "`parent` is the message that its task follows.",
        examples=["parent"],
    )
    count: Annotated[
        int | Literal["all"] | None,
        BeforeValidator(_number_or_all, json_schema_input_type=int | Literal["all"] | None),
    ] = Field(
        default=None,
        description="The number of facts that completes the join, or `all` for every message of a "
        "fan-out. Default: one fact of each pattern.",
        examples=[3],
    )
    timeout: Duration = Field(
        default=60.0,
        description="The longest wait after the first fact.",
        examples=["60s"],
    )
    on_timeout: Literal["run", "fail"] = Field(
        default="run",
        description="What happens after the timeout: `run` with the facts that have arrived, or "
        "`fail` with an error result.",
        examples=["fail"],
    )


class Schedule(StrictModel):
    """A task that agentd publishes regularly: by either `every` or `cron`."""

    every: Duration | None = Field(
        default=None, description="The time between two tasks, at least 1s.", examples=["1h"]
    )
    cron: str | None = Field(
        default=None,
        min_length=1,
        description="A cron expression: minute, hour, day of the month, month and day of the "
        "week. An optional field in front is the second.",
        examples=["0 7 * * 1-5"],
    )
    time_zone: str = Field(
        default="UTC",
        description="The time zone of `cron`.",
        examples=["Europe/Berlin"],
    )
    task: Any = Field(
        description="The content of the task.", examples=["Collect the news of the last hour."]
    )

    @field_validator("every")
    @classmethod
    def _at_least_a_second(cls, every: float | None) -> float | None:
        # The server's schedules have a resolution of one second.
        if every is not None and every < 1:
            raise ValueError("must be at least 1s", "")
        return every

    @field_validator("cron")
    @classmethod
    def _with_six_fields(cls, cron: str | None) -> str | None:
        return cron and parse(cron).text

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, zone: str) -> str:
        known = zoneinfo.available_timezones()  # empty if the system has no time zone data
        if known and zone not in known:
            near = difflib.get_close_matches(zone, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else "for example Europe/Berlin"
            raise ValueError(f"is not a known time zone: `{zone[:40]}`", hint)
        return zone

    @model_validator(mode="after")
    def _either_every_or_cron(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("needs either `every` or `cron`", "")
        # An interval does not depend on the time of day, so a time zone would have no effect.
        if self.every is not None and self.time_zone != "UTC":
            raise ValueError(
                "has a `time_zone` without `cron`", "remove it: `every` has no time zone"
            )
        return self
