"""The tree of a conversation: its tasks, what each of them did, and what followed from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from agentd.protocol.subjects import RESERVED_DOMAINS
from agentd.queue.topic import TOPIC
from agentd.record.trace.entry import Entry, gist
from agentd.record.trace.grouped import Grouped, TaskRecords, grouped
from agentd.record.trace.life import Life
from agentd.record.trace.lineage import Place, numbers_of_facts, places
from agentd.record.trace.node import Node
from agentd.record.values import items, known, mapping, name_of, number, text_of


def build(conversation: str, entries: Iterable[Entry]) -> Node:
    """The tree of a conversation from its records: each of them is in a node.

    The records may be of anybody and in any order. What does not fit anywhere stands at the root.
    """
    return _Tree(grouped(entries)).root(conversation)


def branch(tree: Node, name: str) -> Node:
    """The part of a tree that has everything about one message, from the task that it all began
    with; the whole tree if `name` is no id and no number of a record in it."""
    for child in tree.children:
        if any(name == node.id or name in map(str, node.sequences) for node in child.walk()):
            return replace(tree, children=[child], **_totals([child]))
    return tree


class _Tree:
    def __init__(self, records: Grouped) -> None:
        self._records = records
        self._below: dict[Place, list[str]] = {}
        for key, place in places(records).items():
            self._below.setdefault(place, []).append(key)

    def root(self, conversation: str) -> Node:
        """The node of the conversation."""
        children = self._children(Place())
        children += [_other(each) for each in self._records.rest]
        children.sort(key=lambda node: node.first)
        return Node(kind="conversation", id=conversation, children=children, **_totals(children))

    def _children(self, place: Place) -> list[Node]:
        """The nodes of all tasks and events at a place, in the order of the log."""
        keys, tasks = self._below.get(place, ()), self._records.tasks
        return [self._task(tasks[key]) if key in tasks else self._event(key) for key in keys]

    def _event(self, key: str) -> Node:
        event = self._records.events[key]
        return Node(
            kind="event",
            name=_topic(event),
            id=key,
            text=event.gist,
            began=event.at,
            ended=event.at,
            details=known(source=event.source),
            sequences=[event.sequence],
            children=self._children(Place(event=key)),
        )

    def _task(self, task: TaskRecords) -> Node:
        followed = {node.id: node for node in self._children(Place(task=task.id))}
        content = task.message.payload.get("content") if task.message else None
        lives = [
            Life(task.id, each, lambda key: followed.pop(key, None), content=content)
            for each in task.lives
        ]
        steps = [life.steps() for life in lives]
        shares = _shares(lives, followed.values())
        nodes = [
            life.ordered([*own, *more])
            for life, own, more in zip(lives, steps, shares, strict=True)
        ]
        nodes = [[self._with_facts(node, task) for node in own] for own in nodes]
        last, sent = lives[-1], task.sent
        began, ended = _span(task, last)
        return Node(
            kind="task",
            name=_agent(task),
            id=task.id,
            text=task.message.gist if task.message else "",
            status=last.status,
            began=began,
            started=_started(lives[0], began, ended),
            ended=ended,
            details={
                **_sent(task),
                **last.details,
                **known(
                    lives=len(lives) if len(lives) > 1 else None, state=_state(last, nodes[-1])
                ),
            },
            sequences=[sent.sequence] if sent else [],
            children=nodes[0] if len(lives) == 1 else _lives(lives, nodes),
        )

    def _with_facts(self, node: Node, task: TaskRecords) -> Node:
        """A step of a task; that of a join with what the join was made of."""
        if node.kind != "join" or task.joined is None:
            return node
        content, known_facts = task.joined.content, self._records.by_sequence
        facts = [_fact(each, known_facts.get(each)) for each in numbers_of_facts(task.joined)]
        missing = [each for each in items(content.get("missing")) if isinstance(each, str)]
        complete = content.get("complete") is True
        return replace(node, details=known(facts=facts, complete=complete, missing=missing))


def _fact(sequence: int, entry: Entry | None) -> dict[str, Any]:
    """A fact of a join; of one that is no longer on record only its sequence is known."""
    if entry is None:
        return {"sequence": sequence}
    return known(sequence=sequence, subject=_topic(entry), source=entry.source, task=entry.task)


def _shares(lives: Sequence[Life], followed: Iterable[Node]) -> list[list[Node]]:
    """What followed from each life."""
    ends = [life.entries[0].sequence for life in lives[1:]]
    shares: list[list[Node]] = [[] for _ in lives]
    for node in followed:
        shares[sum(node.first >= end for end in ends)].append(node)
    return shares


def _lives(lives: Sequence[Life], nodes: Sequence[Sequence[Node]]) -> list[Node]:
    """The nodes of several lives of a task."""
    found: list[Node] = []
    for place, (life, own) in enumerate(zip(lives, nodes, strict=True), 1):
        is_last = place == len(lives)
        # The first one began with the task, which has its own node.
        again = [life.opening.sequence] if life.opening and place > 1 else []
        found.append(
            Node(
                kind="life",
                name=str(place),
                # An older agentd deleted the error when the task was sent again.
                status=life.status if life.result or is_last else "failed",
                began=life.entries[0].at,
                ended=life.result.at if life.result else None if is_last else life.entries[-1].at,
                details=life.details,
                sequences=again,
                children=own,
            )
        )
    return found


def _state(life: Life, nodes: Sequence[Node]) -> str:
    """What a task without a result does, as far as the log says; "" for one that has ended."""
    if life.result:
        return ""
    steps = [node for top in nodes if top.kind in ("turn", "call") for node in top.walk()]
    if any(node.kind == "approval" and node.status == "waiting" for node in steps):
        return "suspended"
    return "running" if steps else "waiting"


def _agent(task: TaskRecords) -> str:
    """The agent that did a task, or is doing it; else the one that it is for."""
    for entry in reversed(task.entries):
        source = mapping(entry.message.get("source"))
        if entry.subject.type in ("result", "event") and source.get("type") == "agent":
            return text_of(source.get("id"))
    if task.joined:
        return text_of(task.joined.content.get("agent"))
    return text_of(task.message.message.get("target")) if task.message else ""


def _sent(task: TaskRecords) -> dict[str, Any]:
    """Who sent a task, and where."""
    sent = task.sent
    if sent is None:
        return {}
    return known(to=_topic(sent), source=sent.source, priority=sent.subject.priority)


def _topic(entry: Entry) -> str:
    """Where a record was published, as people see it."""
    subject = entry.subject
    if subject.domain in RESERVED_DOMAINS and subject.type == "task":
        return entry.headers.get(TOPIC) or subject.specificity
    return f"{subject.type}.{subject.domain}.{subject.specificity}".removeprefix("task.")


def _span(task: TaskRecords, last: Life) -> tuple[float, float | None]:
    """When a task was stored, and when it ended. One made of a fact was not stored itself."""
    ended = last.result.at if last.result else None
    if task.sent:
        return task.sent.at, ended
    first = task.entries[0]
    latency = number(first.content.get("latency")) if first is last.result else None
    return first.at - (latency or 0.0) / 1000, ended


def _started(life: Life, began: float, ended: float | None) -> float | None:
    """When work on a task began: entries of its journal and the result say how long they took."""
    found: list[float] = []
    for entry in life.entries:
        used = number(entry.content.get("used")) if entry.subject.domain == "run" else None
        if used is not None:
            found.append(entry.at - used)
        if entry is life.result and (latency := number(entry.content.get("latency"))) is not None:
            found.append(entry.at - latency / 1000)
    return max(began, min(found)) if found else ended


def _other(entry: Entry) -> Node:
    """A record that belongs to no task."""
    return Node(
        kind="decision" if entry.subject.domain in ("cancel", "conversation") else "other",
        name=name_of(entry.content.get("by")) or entry.source,
        id=entry.id,
        text=entry.kind or gist(entry.payload.get("content")),
        began=entry.at,
        ended=entry.at,
        details=known(event=entry.kind, subject=_topic(entry)),
        sequences=[entry.sequence],
    )


def _totals(children: Sequence[Node]) -> dict[str, Any]:
    """The time and the sums of several trees."""
    nodes = [node for child in children for node in child.walk()]
    tasks = [node for node in nodes if node.kind == "task"]
    costs = [node.details["cost"] for node in tasks if "cost" in node.details]
    tokens = [node.details["tokens"] for node in tasks if "tokens" in node.details]
    ends = [node.ended for node in nodes]
    return {
        "began": min((node.began for node in nodes), default=0.0),
        "ended": None if None in ends else max(filter(None, ends), default=None),
        "details": known(
            tasks=len(tasks),
            tokens=sum(tokens) if tokens else None,
            cost=sum(costs) if costs else None,
        ),
    }
