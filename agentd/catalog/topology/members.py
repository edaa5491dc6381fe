"""What a topology is made of: agents, what they may emit, what they hear of, and their runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import place
from agentd.manifest.flow import EmitRule
from agentd.manifest.yaml.nodes import Map
from agentd.problems import Problem
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.subjects import RUNTIME_EVENTS

Loc = tuple[str | int, ...]

ANY = "*"


@dataclass(frozen=True)
class Member:
    """An agent of the folder: its manifest, and where in the file its fields stand."""

    manifest: Manifest
    root: Map

    def warning(self, *loc: str | int, text: str, hint: str = "") -> Problem:
        """What is odd about the field at `loc`."""
        return place(self.root, loc).problem(text, hint=hint, severity="warning")


@dataclass(frozen=True)
class Emission:
    """What an agent may send after an answer: by a rule, or without one as its model likes.

    `subject` is `task.…` or `event.…`, domain and specificity, `*` being any; `loc` the field.
    """

    agent: str
    subject: str
    loc: Loc
    rule: EmitRule | None = None

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
        """Who may take it, if it is a task. A domain `*` is a capability that every agent with a
        capability has."""
        rule = self.rule
        return Recipients.among(
            Destination(*self.topic),
            target=rule.target if rule else None,
            capabilities=rule.capabilities if rule else (),
            exclusions=rule.exclusions if rule else (),
            passed_on_by=self.agent,
        )

    @property
    def always(self) -> bool:
        """Whether it follows every answer: nothing that an answer says keeps it back."""
        return self.rule is not None and not (self.rule.when or self.rule.for_each)

    @property
    def several(self) -> bool:
        """Whether it makes siblings, any number of them."""
        return self.rule is None or bool(self.rule.for_each)


@dataclass(frozen=True)
class FactSubscription:
    """A pattern of facts that an agent hears of, to run for each or to join them."""

    agent: str
    pattern: str
    loc: Loc
    joins: bool = False


@dataclass(frozen=True, order=True)
class AgentRun:
    """An agent at work; its result stands on `result.{domain}.{specificity}`, `*` being any."""

    agent: str
    domain: str
    specificity: str

    @property
    def fact(self) -> str:
        return f"result.{self.domain}.{self.specificity}"


@dataclass(frozen=True)
class FlowStep:
    """A run that follows another one by way of `subject`, for what was emitted or is heard.

    `always` says that it follows each time, `several` that any number may follow at once.
    """

    run: AgentRun
    subject: str
    always: bool
    several: bool
    emission: Emission | None = None
    subscription: FactSubscription | None = None


def meeting(one: str, other: str) -> str:
    """The pattern of what two patterns of three parts both match; "" if there is nothing."""
    pairs = list(zip(one.split("."), other.split("."), strict=True))
    if any(a != b and ANY not in (a, b) for a, b in pairs):
        return ""
    # What agentd tells of itself is heard only by those who name the domain.
    for pattern, fact in ((one, other), (other, one)):
        if pattern.startswith("event.*") and fact.split(".")[1] in RUNTIME_EVENTS:
            return ""
    return ".".join(b if a == ANY else a for a, b in pairs)


def emissions_of(name: str, member: Member) -> Iterator[Emission]:
    emit = member.manifest.emit
    for index, rule in enumerate(emit.rules):
        kind = "task" if rule.task else "event"
        loc = ("emit", "rules", index, kind)
        yield Emission(name, f"{kind}.{rule.task or rule.event}", loc, rule)
    for index, pattern in enumerate(emit.allow):
        yield Emission(name, pattern, ("emit", "allow", index))


def ears_of(name: str, member: Member) -> Iterator[FactSubscription]:
    subscribe, join = member.manifest.subscribe, member.manifest.join
    for index, pattern in enumerate(subscribe.to if subscribe else ()):
        yield FactSubscription(name, pattern, ("subscribe", "to", index))
    for index, pattern in enumerate(join.wait_for if join else ()):
        yield FactSubscription(name, pattern, ("join", "wait_for", index), joins=True)
