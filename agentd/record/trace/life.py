"""One life of a task: its attempts, turns, approvals, and how it ended, as nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from agentd.queue import journal
from agentd.queue.dead_letters import ATTEMPTS, ERROR, REASON
from agentd.record.trace.entry import Entry, gist
from agentd.record.trace.grouped import opening, resumes
from agentd.record.trace.node import Kind, Node, Status
from agentd.record.trace.turns import ANSWER, Turns, last_call
from agentd.record.values import count, known, mapping, name_of, number, text_of

PopChild = Callable[[str], Node | None]

# What the other events of a task are; a life has at most one of most of them.
_KINDS: Mapping[str, Kind] = {
    "accepted": "accepted",
    journal.FAILED: "attempt",
    journal.HANDED_BACK: "attempt",
    journal.STARTED: "attempt",
    journal.MODEL_FAILED: "model",
    journal.MODEL_AWAITED: "model",
    "joined": "join",
    "late": "late",
    "letter_retried": "letter",
    "letter_dropped": "letter",
    "cancel_requested": "decision",
    "task_stopped": "decision",
    "task_resumed": "decision",
    "conversation_exchange": "memory",
    "conversation_summary": "memory",
}
_FAILED = frozenset({journal.FAILED, journal.STARTED, journal.MODEL_FAILED})


class Life:
    """One life of a task.

    Args:
        entries: its records, ascending; at least one.
        pop_child: the node of a task that a tool call sent, by the id of the task.
        content: that of the task, as far as it is on record.
    """

    def __init__(
        self, task: str, entries: Sequence[Entry], pop_child: PopChild, *, content: Any = None
    ) -> None:
        self.entries = entries
        first = opening(entries)
        self.opening = first if first and not resumes(first) else None
        self.result = next((each for each in entries if is_result(each)), None)
        self._before = {entry.sequence: before for before, entry in pairwise(entries)}
        self._turns = Turns(
            task,
            entries,
            content=content,
            began=self._began,
            over=self.result and self.result.at,
            pop_child=pop_child,
        )

    def steps(self) -> list[Node]:
        """The steps of this life: each record except its opening is in one of them."""
        turns = self._turns.nodes()
        shown = {sequence for turn in turns for node in turn.walk() for sequence in node.sequences}
        # A result may say itself what the last call of the model was.
        rest = [each for each in self.entries if each.sequence not in shown or each is self.result]
        return [*turns, *(self._step(each) for each in rest if each is not self.opening)]

    def ordered(self, nodes: Iterable[Node]) -> list[Node]:
        """Its steps, and what followed from them, in the order of the log."""
        return sorted(nodes, key=self._place)

    @property
    def status(self) -> Status:
        """How the task stood at its end."""
        if self.result is None:
            return "waiting"
        return "ok" if self.result.content["success"] is True else "failed"

    @property
    def details(self) -> dict[str, Any]:
        """What is known of the whole life."""
        run = [each for each in self.entries if each.subject.domain == "run"]
        kinds = [each.kind for each in run]
        tries = 1 + sum(kinds.count(kind) for kind in (journal.FAILED, journal.STARTED))
        replicas = dict.fromkeys(text_of(each.content.get("replica")) for each in self.entries)
        return known(
            attempts=tries if run or self.result else None,
            replicas=[each for each in replicas if each],
            **of_result(self.result.content if self.result else {}),
        )

    def _place(self, node: Node) -> tuple[float, int]:
        """The last call of the model is stored in one batch with the result, perhaps behind it."""
        first = node.first
        is_answer = node.kind == "turn" and self.result is not None and first > self.result.sequence
        return (self.result.sequence - 0.5 if is_answer and self.result else first, first)

    def _began(self, entry: Entry) -> float:
        """When a step began: when the record before it was stored."""
        before = self._before.get(entry.sequence)
        return before.at if before else entry.at

    def _step(self, entry: Entry) -> Node:
        if entry is self.result:
            return self._result(entry)
        if entry.subject.type == "task":
            return _copy(entry)
        if entry.subject.type == "dlq":
            return _letter(entry)
        return self._event(entry)

    def _result(self, entry: Entry) -> Node:
        has_call = any(each.kind == ANSWER or last_call(each) for each in self.entries)
        success = entry.content["success"] is True
        error = mapping(entry.content.get("error"))
        said = entry.content.get("data") if success else error.get("message")
        return Node(
            kind="result",
            name=entry.source,
            id=entry.id,
            text=gist(said),
            status="ok" if success else "failed",
            # Without a record of the last call, the time since the step before was that call.
            began=entry.at if has_call else self._began(entry),
            ended=entry.at,
            details=of_result(entry.content),
            sequences=[entry.sequence],
        )

    def _event(self, entry: Entry) -> Node:
        kind, content = entry.kind, entry.content
        shown = _KINDS.get(kind, "decision" if entry.subject.domain == "approval" else "other")
        since = self._began(entry) if kind in (journal.FAILED, journal.HANDED_BACK) else entry.at
        error = mapping(content.get("error"))
        return Node(
            kind=shown,
            name=name_of(content.get("by")) or text_of(content.get("model")) or entry.source,
            text=gist(_said(entry)),
            status="failed" if kind in _FAILED else "",
            began=since,
            ended=entry.at,
            details=known(
                event=kind,
                code=text_of(error.get("code")) or text_of(content.get("code")),
                delivery=count(content.get("delivery")),
                delay=number(content.get("delay")),
                letter=count(content.get("letter")),
            ),
            sequences=[entry.sequence],
        )


def is_result(entry: Entry) -> bool:
    """Whether a record is a result that counts: it says whether the task succeeded."""
    return entry.subject.type == "result" and isinstance(entry.content.get("success"), bool)


def of_result(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says beside the answer."""
    usage = mapping(content.get("usage"))
    return known(
        code=text_of(mapping(content.get("error")).get("code")),
        model=text_of(content.get("model")),
        revision=text_of(content.get("revision")),
        tokens=count(content.get("tokens")),
        inputTokens=count(usage.get("inputTokens")),
        outputTokens=count(usage.get("outputTokens")),
        cost=number(content.get("cost")),
        latency=number(content.get("latency")),
        finishReason=text_of(content.get("finishReason")),
        cut=text_of(content.get("cut")),
        cached=content.get("cached") is True or None,
    )


def _copy(entry: Entry) -> Node:
    """The same task, published once more."""
    kind: Kind = "resumed" if resumes(entry) else "forwarded"
    subject = entry.subject
    return Node(
        kind=kind,
        name=f"{subject.domain}.{subject.specificity}",
        began=entry.at,
        ended=entry.at,
        sequences=[entry.sequence],
    )


def _letter(entry: Entry) -> Node:
    attempts = entry.headers.get(ATTEMPTS, "")
    return Node(
        kind="letter",
        name=entry.headers.get(REASON, ""),
        text=gist(entry.headers.get(ERROR, "")),
        status="failed",
        began=entry.at,
        ended=entry.at,
        details=known(
            letter=entry.sequence,
            attempts=int(attempts) if attempts.isdecimal() and len(attempts) < 10 else None,
        ),
        sequences=[entry.sequence],
    )


def _said(entry: Entry) -> Any:
    """What an event says for a person."""
    content = entry.content
    error = mapping(content.get("error"))
    said: Iterator[Any] = (
        content.get(name) for name in ("message", "reason", "summary", "decision")
    )
    return error.get("message") or next((each for each in said if each), None) or ""
