"""The turns of one life of a task, with their tool calls and the decisions on these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentd.protocol.subjects import digest
from agentd.queue import journal
from agentd.queue.decisions import Decision, Dialogue, decision_of, request_of
from agentd.record.calls import calls_of, in_result
from agentd.record.trace.entry import Entry, gist
from agentd.record.trace.node import Node, Status
from agentd.record.values import count, items, known, mapping, name_of, number, text_of, whole

ANSWER = journal.MODEL_CALLED

_STATUS: Mapping[str, Status] = {"denied": "failed", "expired": "failed"}

Call = tuple[int, int]  # the turn from 1, the index from 0


@dataclass(frozen=True)
class Steps:
    """The steps of a life by what they are about, the first record of each; and its dialogue."""

    turns: Mapping[int, Entry]
    called: Mapping[Call, Entry]
    answered: Mapping[Call, Entry]
    dialogue: Dialogue

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Steps:
        """The steps among these records of one life."""
        calls = [called for each in entries if (called := last_call(each))]
        turns = [*reversed(calls), *_of(entries, journal.TURN, ANSWER)]
        return cls(
            {whole(each.content.get("turn")): each for each in turns},
            {_call(entry): entry for entry in _of(entries, journal.CALLED)},
            {_call(entry): entry for entry in _of(entries, journal.ANSWERED)},
            _dialogue(entries),
        )

    def asked(self, turn: int) -> list[int]:
        """The indexes of the calls of a turn that are known from other records than the turn."""
        requested = {
            index for each in self.dialogue.requests if each.turn == turn for index in each.indexes
        }
        made = {index for of, index in (*self.called, *self.answered) if of == turn}
        return sorted(requested | made)


def last_call(entry: Entry) -> Entry | None:
    """What a result says of the last call of the model, like a record of its own."""
    if entry.subject.type != "result" or not (called := in_result(entry.headers)):
        return None
    return replace(entry, message={"payload": {"content": called}})


def _of(entries: Iterable[Entry], *kinds: str) -> list[Entry]:
    """The records of these kinds, last to first: in a mapping, the first one stays."""
    ours = [each for each in entries if each.subject.domain == "run" and each.kind in ("", *kinds)]
    return [each for each in reversed(ours) if each.kind]


def _sent(entries: Sequence[Entry], content: Any) -> dict[int, Sequence[Mapping[str, Any]]]:
    """The messages that the model was sent in each turn."""
    journal = [each.content for each in entries if each.subject.domain == "run"]
    journal += [in_result(each.headers) for each in entries if each.subject.type == "result"]
    return {call.turn: call.messages for call in calls_of(journal, content)}


def _call(entry: Entry) -> Call:
    return whole(entry.content.get("turn")), whole(entry.content.get("index"))


def _dialogue(entries: Iterable[Entry]) -> Dialogue:
    said = [each for each in entries if each.subject.domain == "approval"]
    requests = (request_of(each.content, each.sequence) for each in said)
    decisions = (decision_of(each.content, each.sequence) for each in said)
    return Dialogue(
        [each for each in requests if each is not None],
        [each for each in decisions if each is not None],
    )


class Turns:
    """Makes the nodes of the turns of one life.

    Args:
        content: the `payload.content` of the task, as far as it is on record.
        began: when a step began, by its record: when the one before it was stored.
        over: when the life ended; None if it has not.
        pop_child: the node of a task that a tool call sent, by the id of the task.
    """

    def __init__(
        self,
        task: str,
        entries: Sequence[Entry],
        *,
        content: Any,
        began: Callable[[Entry], float],
        over: float | None,
        pop_child: Callable[[str], Node | None],
    ) -> None:
        self._task = task
        self._steps = Steps.of(entries)
        self._sent = _sent(entries, content)
        self._at = {entry.sequence: entry for entry in entries}
        self._began = began
        self._over = over
        self._pop_child = pop_child

    def nodes(self) -> list[Node]:
        """A node for each turn; for calls without a turn, as agents without a model make them, a
        node for each call."""
        turns = {turn for turn, _ in (*self._steps.called, *self._steps.answered)}
        turns |= {request.turn for request in self._steps.dialogue.requests}
        found: list[Node] = []
        for turn in sorted(turns | self._steps.turns.keys()):
            entry = self._steps.turns.get(turn)
            found += [self._turn(turn, entry)] if entry else self._calls(turn, {}, None)
        return found

    def _turn(self, turn: int, entry: Entry) -> Node:
        call = mapping(entry.content.get("call"))
        completion = mapping(entry.content.get("completion"))
        latency = number(call.get("latency"))
        began = self._began(entry) if latency is None else entry.at - latency / 1000
        error = mapping(call.get("error"))
        return Node(
            kind="turn",
            name=text_of(call.get("model")) or text_of(completion.get("model")),
            text=gist(completion.get("text") or error.get("message")),
            status="failed" if error else "ok",
            began=began,
            ended=entry.at,
            details=_of_turn(turn, completion, call) | known(messages=self._sent.get(turn)),
            sequences=[entry.sequence],
            children=self._calls(turn, completion, entry),
        )

    def _calls(self, turn: int, completion: Mapping[str, Any], entry: Entry | None) -> list[Node]:
        """The calls that a turn asks for, and those that other records know of."""
        asked = [mapping(each) for each in items(completion.get("tool_calls"))]
        indexes = sorted({*range(len(asked)), *self._steps.asked(turn)})
        return [
            self._one((turn, index), asked[index] if index < len(asked) else {}, entry)
            for index in indexes
        ]

    def _one(self, place: Call, asked: Mapping[str, Any], turn: Entry | None) -> Node:
        called, answered = self._steps.called.get(place), self._steps.answered.get(place)
        approvals = self._approvals(place)
        records = [each for each in (called, answered) if each]
        first = called or turn or answered
        began = first.at if first and first is not answered else 0.0
        if approvals:
            began = approvals[-1].ended or approvals[-1].began
        child = self._pop_child(digest(f"{self._task}.{place[0]}.{place[1]}"))
        given = mapping(answered and answered.content)
        requested = self._requested(place)
        return Node(
            kind="call",
            name=text_of(asked.get("name")) or _name(records) or text_of(requested.get("name")),
            text=gist(asked.get("arguments") or requested.get("arguments")),
            status=self._status(answered),
            began=began or (self._began(answered) if answered else 0.0),
            ended=answered.at if answered else None,
            details=known(
                turn=place[0],
                index=place[1],
                key=text_of(mapping(called and called.content).get("key")),
                answer=gist(given.get("text")),
                by=name_of(given.get("by")),
                decision=text_of(given.get("decision")),
            ),
            sequences=sorted(each.sequence for each in records),
            children=[*approvals, *([child] if child else [])],
        )

    def _status(self, answered: Entry | None) -> Status:
        if answered:
            return "failed" if answered.content.get("error") is True else "ok"
        return "waiting" if self._over is None else ""

    def _requested(self, place: Call) -> Mapping[str, Any]:
        """A call as the first request for a decision on it has it."""
        found = (
            call
            for request in self._steps.dialogue.requests
            for call in request.calls
            if (request.turn, call["index"]) == place
        )
        return next(found, {})

    def _approvals(self, place: Call) -> list[Node]:
        """The request for a decision on a call, with the decision."""
        turn, index = place
        dialogue = self._steps.dialogue
        return [
            self._approval(request.sequence, request.expires, dialogue.verdicts(request).get(index))
            for request in dialogue.requests
            if request.turn == turn and index in request.indexes
        ]

    def _approval(self, sequence: int, expires: float, decision: Decision | None) -> Node:
        asked = self._at[sequence]
        verb = decision.verb if decision else self._undecided(expires)
        ended = self._at[decision.sequence].at if decision else None
        if verb == "expired":
            ended = min(expires, self._over or expires)
        return Node(
            kind="approval",
            name=decision.by if decision else "",
            text=gist(_said(decision)) if decision else "",
            status="waiting" if verb == "waiting" else _STATUS.get(verb, "ok"),
            began=asked.at,
            ended=ended,
            details={"decision": verb},
            sequences=[sequence, *([decision.sequence] if decision else [])],
        )

    def _undecided(self, expires: float) -> str:
        """The state of a request that nobody has decided. The task resumes when it expires."""
        last = max((entry.at for entry in self._at.values()), default=0.0)
        return "expired" if self._over is not None or last >= expires else "waiting"


def _said(decision: Decision) -> Any:
    """What a person said: an answer, other arguments, a reason."""
    return decision.answer or decision.arguments or decision.reason


def _name(records: Iterable[Entry]) -> str:
    return next(filter(None, (text_of(each.content.get("name")) for each in records)), "")


def _of_turn(turn: int, completion: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a turn: from the record of the call, else from the completion."""
    usage = mapping(completion.get("usage"))
    counts = known(
        inputTokens=count(usage.get("input_tokens")), outputTokens=count(usage.get("output_tokens"))
    )
    return known(
        turn=turn,
        usage=mapping(call.get("usage")) or counts,
        cost=number(call.get("cost", completion.get("cost"))),
        endpoint=text_of(call.get("endpoint")),
        firstChunk=number(call.get("firstChunk")),
        finishReason=text_of(call.get("finishReason")) or text_of(completion.get("finish_reason")),
        attempts=items(call.get("attempts")),
        call=call,
    )
