"""The parts of a topology: agents, emissions, subscriptions, runs, and the steps between runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import place
from agentd.manifest.flow import EmitRule
from agentd.manifest.triggers.trigger import Trigger
from agentd.manifest.yaml.nodes import Map
from agentd.problems import Problem
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.subjects import RUNTIME_EVENTS

Loc = tuple[str | int, ...]

WILDCARD = "*"  # any domain or specificity


@dataclass(frozen=True)
class Member:
    """An agent of the folder: its manifest, and the fields of the file with their places."""

    manifest: Manifest
    root: Map

    def warning(self, *loc: str | int, text: str, hint: str = "") -> Problem:
        """A warning at the field `loc`."""
        return place(self.root, loc).problem(text, hint=hint, severity="warning")


@dataclass(frozen=True)
class Emission:
    """A task or event that an agent may emit after an answer: by a rule, or by its model.

    Attributes:
        subject: `task` or `event`, domain and specificity, each of which may be `*`.
        loc: the field of the manifest.
        rule: None if the model may emit it (`emit.allow`).
        target: the one agent that the task is for, if the rule names one.
    """

    agent: str
    subject: str
    loc: Loc
    rule: EmitRule | None = None
    target: str | None = None

    @property
    def is_task(self) -> bool:
        return self.subject.startswith("task.")

    @property
    def topic(self) -> tuple[str, str]:
        """Domain and specificity."""
        _, domain, specificity = self.subject.split(".")
        return domain, specificity

    @property
    def recipients(self) -> Recipients:
        """The agents that may take it, if it is a task.

        A domain `*` counts as a capability, which every agent with any capability has.
        """
        rule = self.rule
        return Recipients.among(
            Destination(*self.topic),
            target=self.target,
            capabilities=rule.capabilities if rule else (),
            exclusions=rule.exclusions if rule else (),
            passed_on_by=self.agent,
        )

    @property
    def always(self) -> bool:
        """Whether it follows every answer, whatever the answer is."""
        rule = self.rule
        return rule is not None and not (rule.when or rule.for_each or rule.choose)

    @property
    def any_number(self) -> bool:
        """Whether one answer may emit any number of these messages: a fan-out."""
        return self.rule is None or bool(self.rule.for_each)


@dataclass(frozen=True)
class TriggeredTask:
    """A task that a trigger of an agent starts; `loc` is the field of the manifest."""

    agent: str
    trigger: Trigger
    loc: Loc

    @property
    def to(self) -> Destination:
        """Where it goes: to the agent of the manifest, unless the trigger says otherwise."""
        return Destination.parse(self.trigger.task or f"@{self.agent}")

    @property
    def recipients(self) -> Recipients:
        """The agents that may take it."""
        return Recipients.among(self.to)


@dataclass(frozen=True)
class FactSubscription:
    """A pattern of facts that an agent receives: it runs for each (`subscribe`) or joins them."""

    agent: str
    pattern: str
    loc: Loc
    joins: bool = False


@dataclass(frozen=True, order=True)
class AgentRun:
    """A run of an agent. Its result is `result.{domain}.{specificity}`; the last may be `*`."""

    agent: str
    domain: str
    specificity: str

    @property
    def fact(self) -> str:
        return f"result.{self.domain}.{self.specificity}"


@dataclass(frozen=True)
class FlowStep:
    """A run that follows another run.

    Attributes:
        subject: the message between the two runs.
        always: whether the run follows every time.
        any_number: whether any number of these runs may follow at once.
        emission: the emission that caused the run; None for a result, or a call of an agent tool.
        subscription: the subscription that received the fact; None for a task.
    """

    run: AgentRun
    subject: str
    always: bool
    any_number: bool
    emission: Emission | None = None
    subscription: FactSubscription | None = None


def intersection(one: str, other: str) -> str:
    """The pattern of all facts or subjects that two patterns both match; "" if there are none."""
    pairs = list(zip(one.split("."), other.split("."), strict=True))
    # All patterns have three parts, so that equal places can be compared.
    if any(a != b and WILDCARD not in (a, b) for a, b in pairs):
        return ""
    # Events of agentd itself are only received by an agent that names their domain.
    for pattern, fact in ((one, other), (other, one)):
        if pattern.startswith("event.*") and fact.split(".")[1] in RUNTIME_EVENTS:
            return ""
    return ".".join(b if a == WILDCARD else a for a, b in pairs)


def emissions_of(name: str, member: Member) -> Iterator[Emission]:
    """The emissions that the manifest of an agent allows."""
    emit = member.manifest.emit
    for index, rule in enumerate(emit.rules):
        for outlet in rule.outlets:
            kind, _, topic = outlet.subject.partition(".")
            loc = ("emit", "rules", index, kind, getattr(rule, kind).index(topic))
            yield Emission(name, outlet.subject, loc, rule, outlet.target)
    for index, pattern in enumerate(emit.allow):
        yield Emission(name, pattern, ("emit", "allow", index))


def triggered_by(name: str, member: Member) -> Iterator[TriggeredTask]:
    """The tasks that the triggers of an agent start."""
    for index, trigger in enumerate(member.manifest.triggers):
        yield TriggeredTask(name, trigger, ("triggers", index, "task"))


def subscriptions_of(name: str, member: Member) -> Iterator[FactSubscription]:
    """The subscriptions of an agent, those of its join included."""
    subscribe, join = member.manifest.subscribe, member.manifest.join
    for index, pattern in enumerate(subscribe.to if subscribe else ()):
        yield FactSubscription(name, pattern, ("subscribe", "to", index))
    for index, pattern in enumerate(join.wait_for if join else ()):
        yield FactSubscription(name, pattern, ("join", "wait_for", index), joins=True)
