"""How work flows between agents: what a manifest subscribes to, emits and joins."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agentd.manifest.quantities import (
    Duration,
    EmissionPattern,
    Expression,
    FactPattern,
    Flag,
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

_Joined = Annotated[int, Field(ge=1, le=MOST_JOINED)]

FactPatterns = Annotated[
    tuple[FactPattern, ...],
    BeforeValidator(as_list, json_schema_input_type=FactPattern | tuple[FactPattern, ...]),
    AfterValidator(no_duplicates),
]
Topics = Annotated[
    tuple[Topic, ...],
    BeforeValidator(as_list, json_schema_input_type=Topic | tuple[Topic, ...]),
    AfterValidator(no_duplicates),
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
        float | None,
        BeforeValidator(_start, json_schema_input_type=Duration | Literal["new"] | None),
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


class Outlet(NamedTuple):
    """Where a rule emits a message: `task.domain.specificity` or `event.…`, and the target."""

    subject: str
    target: str | None = None


class EmitRule(StrictModel):
    """A rule that emits a message after an answer: either a `task` or an `event`."""

    task: Topics = Field(
        default=(),
        description="The topic of a task, or a list from which `choose` chooses. One agent that "
        "has its domain as a capability takes the task.",
        examples=["factcheck.claims", ["billing.issue", "technical.issue"]],
    )
    event: Topics = Field(
        default=(),
        description="The topic of an event, or a list from which `choose` chooses. Every "
        "subscriber gets the event.",
        examples=["report.ready"],
    )
    choose: Expression | None = Field(
        default=None,
        description="An expression that gives one of the topics or targets of a list. A domain "
        "stands for a topic if no other topic of the list has it.",
        examples=["item.category"],
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
    target: Names = Field(
        default=(),
        description="The name of the one agent that the task is for, or a list from which "
        "`choose` chooses.",
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
    def outlets(self) -> tuple[Outlet, ...]:
        """Where its messages may go. There are several only with `choose`."""
        kind, topics = ("task", self.task) if self.task else ("event", self.event)
        targets = self.target or (None,)
        return tuple(Outlet(f"{kind}.{topic}", target) for topic in topics for target in targets)

    def chosen(self, choice: object) -> Outlet | None:
        """The one outlet that a value of `choose` stands for, if there is exactly one."""
        found = [outlet for outlet in self.outlets if choice in self._names(outlet)]
        return found[0] if len(found) == 1 else None

    def _names(self, outlet: Outlet) -> tuple[str | None, ...]:
        if len(self.target) > 1:
            return (outlet.target,)
        topic = outlet.subject.partition(".")[2]
        return topic, topic.partition(".")[0]

    @model_validator(mode="after")
    def _either_task_or_event(self) -> Self:
        if bool(self.task) == bool(self.event):
            raise ValueError("needs either `task` or `event`", "")
        return self

    @field_validator("task", "event")
    @classmethod
    def _not_reserved(cls, topics: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for index, topic in enumerate(topics):
            domain = topic.partition(".")[0]
            if info.field_name == "event" and domain in RUNTIME_EVENTS:
                hint = "agentd publishes such events itself"
                raise ValueError(f"must not begin with {domain}.", hint, index)
            if domain.startswith("_"):
                raise ValueError("must not begin with _", "to name an agent, use `target`", index)
        return topics

    @model_validator(mode="after")
    def _chooses_from_one_list(self) -> Self:
        several = [name for name in ("task", "event", "target") if len(getattr(self, name)) > 1]
        if several and not self.choose:
            hint = "add `choose`, an expression that gives one of them"
            raise ValueError("is a list, but nothing says which one is meant", hint, several[0])
        if self.choose and len(several) != 1:
            hint = "give a list of topics, or of targets, with more than one"
            raise ValueError("needs exactly one list to choose from", hint, "choose")
        return self

    @model_validator(mode="after")
    def _can_be_delivered(self) -> Self:
        if self.event:
            for name in ("target", "capabilities", "exclusions"):
                if getattr(self, name):
                    hint = "every subscriber gets an event"
                    raise ValueError("cannot be combined with `event`", hint, name)
        for index, target in enumerate(self.target):
            if target in self.exclusions:
                hint = "remove it from `exclusions`, or name another target"
                problem = "is also in `exclusions`, so no agent may take this task"
                raise ValueError(problem, hint, "target", index)
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
        outlets = (outlet for rule in self.rules for outlet in rule.outlets)
        return (*(outlet.subject for outlet in outlets), *self.allow)

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
        BeforeValidator(_number_or_all, json_schema_input_type=_Joined | Literal["all"] | None),
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
