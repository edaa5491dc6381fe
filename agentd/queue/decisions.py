"""Approval requests and the decisions on them: events of a task, read back from the log.

`event.approval.{taskId}` holds requests and decisions in the order of the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.objects import whole
from agentd.nats.records import skipping
from agentd.nats.schedules import is_from_schedule
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import Subjects

REQUESTED = "approval_requested"

_CALL = ("index", "name", "arguments")
_FIRST_YEAR, _LAST_YEAR = 1970, 9999


@dataclass(frozen=True, kw_only=True)
class ApprovalRequest:
    """A request for approval of some tool calls of one turn.

    Attributes:
        sequence: its sequence in LOG.
        life, turn: the run, and its turn that is suspended.
        calls: `index`, `name` and `arguments` of each call.
        expires: when undecided calls count as denied, in seconds since the epoch.
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
    """A person's decision. `calls` are the indexes of the calls it covers; None means all."""

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
        """The tool answer that the model gets for a denied call."""
        by = f" by {self.by}" if self.by else ""
        return f"this call was denied{by}{': ' + self.reason if self.reason else ''}"


@dataclass(frozen=True)
class Dialogue:
    """All requests and decisions of one task, in the order of the log."""

    requests: Sequence[ApprovalRequest] = ()
    decisions: Sequence[Decision] = ()

    def verdicts(
        self, request: ApprovalRequest, *, before: float = float("inf")
    ) -> dict[int, Decision]:
        """The first decision on each call, among those stored `before` this sequence of the log."""
        found: dict[int, Decision] = {}
        for decision in self.decisions:
            for index in request.indexes if decision.sequence < before else ():
                if decision.is_about(request, index):
                    found.setdefault(index, decision)
        return found

    def is_decided(self, request: ApprovalRequest) -> bool:
        return self.verdicts(request).keys() == request.indexes


async def read(bus: Bus, subjects: Subjects, task: str) -> Dialogue:
    """The requests and decisions of a task that are on record.

    Raises:
        BusError: the log does not answer.
    """
    requests: list[ApprovalRequest] = []
    decisions: list[Decision] = []
    async for sequence, message in _events(bus, subjects.event("approval", task)):
        content = message.payload.content
        if request := request_of(content, sequence):
            if request.task == task:  # anyone may publish an event about another task here
                requests.append(request)
        elif decision := decision_of(content, sequence):
            decisions.append(decision)
    return Dialogue(requests, decisions)


def request_of(content: Any, sequence: int = 0) -> ApprovalRequest | None:
    """The request in the content of an event; None if the content is not a valid request."""
    match content:
        case {
            "task": str(task),
            "agent": str(agent),
            "life": int(life),
            "turn": int(turn),
            "calls": [*calls],
            "expires": str(expires),
        } if all(map(_is_call, calls)) and (until := _moment(expires)) is not None:
            return ApprovalRequest(
                sequence=sequence,
                task=task,
                agent=agent,
                life=life,
                turn=turn,
                calls=[{name: each[name] for name in _CALL} for each in calls],
                expires=until,
            )
        case _:
            return None


def _is_call(value: Any) -> bool:
    match value:
        case {"index": int(), "name": str(), "arguments": _}:
            return True
        case _:
            return False


def _moment(text: str) -> float | None:
    """A time of RFC 3339 in seconds since the epoch; None for one that cannot be shown."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    # At both ends of the calendar, another time zone is out of range.
    return moment.timestamp() if _FIRST_YEAR <= moment.year < _LAST_YEAR else None


def decision_of(content: Any, sequence: int = 0) -> Decision | None:
    """The decision in the content of an event; None if the content is not a valid decision."""
    if not isinstance(content, dict):
        return None
    fields = cast("dict[str, Any]", content)
    calls, turn = fields.get("calls"), fields.get("turn")
    if fields.get("decision") not in ("approve", "deny"):
        return None
    if not isinstance(turn, int | None) or not isinstance(calls, list | None):
        return None
    return Decision(
        sequence=sequence,
        approve=fields["decision"] == "approve",
        turn=turn,
        calls=None if calls is None else _numbers(cast("list[Any]", calls)),
        by=str(fields.get("by") or ""),
        reason=str(fields.get("reason") or ""),
    )


async def _events(bus: Bus, subject: str) -> AsyncIterator[tuple[int, AgentMessage]]:
    """The events on `subject` whose content is an object. Any client may publish there, so
    everything else is skipped."""
    async for msg in jetstream.stored(bus, LOG, subject):
        if is_from_schedule(msg):
            continue
        message = None
        with skipping(LOG, msg):
            message = await whole(bus, decode(msg.data, type="event"))
        if message and isinstance(message.payload.content, dict):
            yield int((msg.headers or {})["Nats-Sequence"]), message


def _numbers(values: list[Any]) -> frozenset[int]:
    return frozenset(each for each in values if isinstance(each, int))
