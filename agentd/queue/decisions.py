"""What people are asked about the calls of a task, and what they say: events, read back.

`event.approval.{taskId}` holds requests and decisions in the order of the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from agentd.errors import DecodeError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.objects import whole
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import Subjects

REQUESTED = "approval_requested"


@dataclass(frozen=True, kw_only=True)
class ApprovalRequest:
    """What a person is asked.

    Attributes:
        sequence: its place in LOG.
        life, turn: the run, and the turn of it that waits.
        calls: `index`, `name` and `arguments` of each call.
        expires: in seconds since the epoch.
    """

    sequence: int
    task: str
    agent: str
    life: int
    turn: int
    calls: Sequence[Mapping[str, Any]]
    expires: float

    @property
    def indexes(self) -> set[int]:
        return {call["index"] for call in self.calls}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person says. `calls` are the indexes it is about, all if None."""

    sequence: int
    approve: bool
    turn: int | None = None
    calls: frozenset[int] | None = None
    by: str = ""
    reason: str = ""

    def is_about(self, request: ApprovalRequest, index: int) -> bool:
        about_turn = self.turn in (None, request.turn) and self.sequence > request.sequence
        return about_turn and (self.calls is None or index in self.calls)

    @property
    def refusal(self) -> str:
        """What the model is told of a call that was denied."""
        by = f" by {self.by}" if self.by else ""
        return f"this call was denied{by}{': ' + self.reason if self.reason else ''}"


@dataclass(frozen=True)
class Dialogue:
    """All that was asked and decided about a task, in the order of the log."""

    requests: Sequence[ApprovalRequest] = ()
    decisions: Sequence[Decision] = ()

    def verdicts(
        self, request: ApprovalRequest, *, before: float = float("inf")
    ) -> dict[int, Decision]:
        """The first decision on each call, of those that are in the log `before` a sequence."""
        found: dict[int, Decision] = {}
        for decision in self.decisions:
            for index in request.indexes if decision.sequence < before else ():
                if decision.is_about(request, index):
                    found.setdefault(index, decision)
        return found

    def is_decided(self, request: ApprovalRequest) -> bool:
        return self.verdicts(request).keys() == request.indexes


async def read(bus: Bus, subjects: Subjects, task: str) -> Dialogue:
    """What is on record of a task's approvals.

    Raises:
        BusError: the log does not answer.
    """
    requests: list[ApprovalRequest] = []
    decisions: list[Decision] = []
    async for sequence, message in _events(bus, subjects.event("approval", task)):
        content = message.payload.content
        if request := request_of(content, sequence):
            requests.append(request)
        elif decision := decision_of(content, sequence):
            decisions.append(decision)
    return Dialogue(requests, decisions)


def request_of(content: Any, sequence: int = 0) -> ApprovalRequest | None:
    """The request that an event's content is, if it is one."""
    try:
        return ApprovalRequest(
            sequence=sequence,
            task=str(content["task"]),
            agent=str(content["agent"]),
            life=int(content["life"]),
            turn=int(content["turn"]),
            calls=[
                {"index": int(each["index"]), "name": each["name"], "arguments": each["arguments"]}
                for each in content["calls"]
            ],
            expires=datetime.fromisoformat(content["expires"]).timestamp(),
        )
    except (KeyError, TypeError, ValueError):
        return None


def decision_of(content: Any, sequence: int = 0) -> Decision | None:
    """The decision that an event's content is, if it is one."""
    if not isinstance(content, dict):
        return None
    said = cast("dict[str, Any]", content)
    calls, turn = said.get("calls"), said.get("turn")
    if said.get("decision") not in ("approve", "deny"):
        return None
    if not isinstance(turn, int | None) or not isinstance(calls, list | None):
        return None
    return Decision(
        sequence=sequence,
        approve=said["decision"] == "approve",
        turn=turn,
        calls=None if calls is None else _numbers(cast("list[Any]", calls)),
        by=str(said.get("by") or ""),
        reason=str(said.get("reason") or ""),
    )


async def _events(bus: Bus, subject: str) -> AsyncIterator[tuple[int, AgentMessage]]:
    """The events on `subject` whose content is an object; anybody may publish there."""
    async for msg in jetstream.stored(bus, LOG, subject):
        try:
            message = await whole(bus, decode(msg.data, type="event"))
        except DecodeError:
            continue
        if isinstance(message.payload.content, dict):
            yield int((msg.headers or {})["Nats-Sequence"]), message


def _numbers(values: list[Any]) -> frozenset[int]:
    return frozenset(each for each in values if isinstance(each, int))
