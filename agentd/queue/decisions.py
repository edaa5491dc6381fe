"""Approval requests, questions, and the decisions on them: events of a task, read from the log.

`event.approval.{taskId}` holds requests and decisions in the order of the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from agentd.errors import DecodeError, TaskError, UsageError
from agentd.manifest.json_schema.check import misfit
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.objects import whole
from agentd.nats.records import skipped, skipping
from agentd.nats.schedules import is_from_schedule
from agentd.nats.streams import LOG
from agentd.protocol.actor import name_in
from agentd.protocol.message import AgentMessage, decode, short_id
from agentd.protocol.subjects import Subjects

REQUESTED = "approval_requested"

LONGEST_ANSWER = 32_000  # characters of a person's answer
MOST_REQUESTS = 64  # of one task, that are read: the newest ones
MOST_CALLS = 1_000  # of one request; a turn has fewer

_CALL = ("index", "name", "arguments")
_DECISIONS = ("approve", "deny", "edit", "answer")
_FIRST_YEAR, _LAST_YEAR = 1970, 9999


@dataclass(frozen=True, kw_only=True)
class ApprovalRequest:
    """A request for decisions on some tool calls of one turn.

    Attributes:
        sequence: its sequence in LOG.
        life, turn: the run, and its turn that is suspended.
        calls: `index`, `name` and `arguments` of each call. A call that asks a person has a
            `question` too, and may have `choices` and a `default`.
        expires: when undecided calls count as denied, or as answered with the default, in seconds
            since the epoch.
        schemas: the JSON Schema of the arguments of each tool, as far as it was recorded.
    """

    sequence: int
    task: str
    agent: str
    life: int
    turn: int
    calls: Sequence[Mapping[str, Any]]
    expires: float
    schemas: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def indexes(self) -> set[int]:
        return {call["index"] for call in self.calls}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A person's decision.

    Attributes:
        calls: the indexes of the calls that it covers; None means all that it can be about.
        arguments: what the one call is made with, in place of the model's own arguments.
        answer: the answer to the one question.
    """

    sequence: int
    approve: bool
    turn: int | None = None
    calls: frozenset[int] | None = None
    by: str = ""
    reason: str = ""
    arguments: Mapping[str, Any] | None = None
    answer: str | None = None

    def covered(self, request: ApprovalRequest) -> frozenset[int]:
        """The indexes of the calls of a request that it decides. One that cannot be meant decides
        nothing: an edit of two calls at once, or an answer that is not among the choices."""
        if self.turn not in (None, request.turn) or self.sequence <= request.sequence:
            return frozenset()
        covered = frozenset(
            call["index"]
            for call in request.calls
            if (self.calls is None or call["index"] in self.calls) and self._can_decide(call)
        )
        of_one = self.arguments is not None or self.answer is not None
        return covered if len(covered) == 1 or not of_one else frozenset()

    def is_about(self, request: ApprovalRequest, index: int) -> bool:
        """Whether it decides this call of a request."""
        return index in self.covered(request)

    def _can_decide(self, call: Mapping[str, Any]) -> bool:
        if not self.approve:
            return True
        if "question" not in call:
            return self.answer is None
        return self.answer is not None and self.answer in call.get("choices", (self.answer,))

    @property
    def verb(self) -> str:
        """What it does to a call: approved, denied, edited or answered."""
        if self.answer is not None:
            return "answered"
        if self.arguments is not None:
            return "edited"
        return "approved" if self.approve else "denied"

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
            for index in decision.covered(request) if decision.sequence < before else ():
                found.setdefault(index, decision)
        return found

    def is_decided(self, request: ApprovalRequest) -> bool:
        return self.verdicts(request).keys() == request.indexes


async def read(bus: Bus, subjects: Subjects, task: str) -> Dialogue:
    """The requests and decisions of a task that are on record.

    Raises:
        BusError: the log does not answer.
    """
    kept = _Kept(task)
    async for sequence, message in _events(bus, subjects.event("approval", task)):
        content = message.payload.content
        if request := request_of(content, sequence):
            kept.ask(request)
        elif decision := decision_of(content, sequence):
            kept.decide(decision)
    return Dialogue([asked for asked, _ in kept.requests.values()], kept.decisions)


class _Kept:
    """What counts of the events about a task, of which anyone may publish thousands: the first
    request of a turn, the newest of them; the first decision on each of their calls."""

    def __init__(self, task: str) -> None:
        self._task = task
        # Each with the indexes of the calls that are not decided yet.
        self.requests: dict[tuple[int, int], tuple[ApprovalRequest, set[int]]] = {}
        self.decisions: list[Decision] = []

    def ask(self, request: ApprovalRequest) -> None:
        turn = (request.life, request.turn)
        if request.task != self._task or turn in self.requests:
            return
        self.requests[turn] = (request, request.indexes)
        while len(self.requests) > MOST_REQUESTS:
            oldest, _ = self.requests.pop(next(iter(self.requests)))
            text = f"task {short_id(self._task)} has more than {MOST_REQUESTS} requests"
            skipped(LOG, f"a request to {oldest.agent}", DecodeError(text), oldest.sequence)

    def decide(self, decision: Decision) -> None:
        counts = False
        for request, undecided in self.requests.values():
            if made := undecided and undecided & decision.covered(request):
                undecided -= made
                counts = True
        if counts:
            self.decisions.append(decision)


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
        } if (
            len(calls) <= MOST_CALLS
            and all(map(_is_call, calls))
            and (until := _moment(expires)) is not None
        ):
            return ApprovalRequest(
                sequence=sequence,
                task=task,
                agent=agent,
                life=life,
                turn=turn,
                calls=[_call(each) for each in calls],
                expires=until,
                schemas=_schemas(content.get("schemas")),
            )
        case _:
            return None


def _is_call(value: Any) -> bool:
    match value:
        case {"index": int(), "name": str(), "arguments": _}:
            return True
        case _:
            return False


def _call(value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a call that are as they should be: anyone may publish a request."""
    call = {name: value[name] for name in _CALL}
    match value:
        case {"question": str(question)}:
            call["question"] = question
        case _:
            return call
    match value:
        case {"choices": [*choices]} if choices and all(isinstance(c, str) for c in choices):
            call["choices"] = choices
        case _:
            pass
    if isinstance(value.get("default"), str):
        call["default"] = value["default"]
    return call


def _schemas(value: Any) -> dict[str, Any]:
    given = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return {name: schema for name, schema in given.items() if isinstance(schema, dict)}


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
    kind, arguments, answer = fields.get("decision"), fields.get("arguments"), fields.get("answer")
    if kind not in _DECISIONS:
        return None
    if not isinstance(turn, int | None) or not isinstance(calls, list | None):
        return None
    # Another word than `approve`: an older agentd would approve the arguments of the model.
    if kind == "edit" and not isinstance(arguments, dict):
        return None
    if kind == "answer" and not is_answer(answer):
        return None
    return Decision(
        sequence=sequence,
        approve=kind != "deny",
        turn=turn,
        calls=None if calls is None else _numbers(cast("list[Any]", calls)),
        by=name_in(fields),
        reason=str(fields.get("reason") or ""),
        arguments=arguments if kind == "edit" else None,
        answer=answer if kind == "answer" else None,
    )


def is_answer(value: Any) -> bool:
    """Whether a value can be a person's answer: text that is not empty and not too long."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= LONGEST_ANSWER


async def require_meaning(request: ApprovalRequest, content: Mapping[str, Any]) -> None:
    """Checks a decision before it is stored: one that means nothing would be ignored.

    Raises:
        UsageError: the request has no such call, or not exactly one that can be meant.
        TaskError: the arguments do not fit the tool, or the answer is no choice (`invalid_input`).
    """
    task, listed = short_id(request.task), ", ".join(map(str, sorted(request.indexes)))
    if unknown := set(content.get("calls", ())) - request.indexes:
        raise UsageError(f"task {task} has no call {min(unknown)}; it has {listed}")
    meant = [c for c in request.calls if c["index"] in content.get("calls", request.indexes)]
    if content["decision"] in ("edit", "answer"):
        asking = [c for c in meant if ("question" in c) is (content["decision"] == "answer")]
        what = "question" if content["decision"] == "answer" else "call to edit"
        if len(asking) != 1:
            count = f"{len(asking)} calls that could be meant" if asking else f"no {what}"
            raise UsageError(f"task {task} has {count} among its calls {listed}")
        await _require_fit(request, asking[0], content)
    elif content["decision"] == "approve" and all("question" in call for call in meant):
        raise UsageError(f"task {task} asks a question: answer it, or deny it")


async def _require_fit(
    request: ApprovalRequest, call: Mapping[str, Any], content: Mapping[str, Any]
) -> None:
    if content["decision"] == "answer":
        choices = call.get("choices")
        if not is_answer(content["answer"]):
            wrong = f"the answer must be a text of 1 to {LONGEST_ANSWER:,} characters"
        elif choices and content["answer"] not in choices:
            wrong = f"the answer must be one of: {', '.join(choices)}"
        else:
            return
        raise TaskError(wrong, code="invalid_input")
    found = await misfit(content["arguments"], request.schemas.get(call["name"], {}))
    if found or not isinstance(content["arguments"], dict):
        where = "".join(f"[{step!r}]" for step in found.path) if found else ""
        why = found.text if found else "they must be a JSON object"
        text = f"the arguments do not fit {call['name']}: arguments{where}: {why}"
        raise TaskError(text, code="invalid_input")


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
