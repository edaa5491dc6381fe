"""Joins that cannot complete: they wait for more than can come, or for siblings nobody makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from math import inf

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import AgentRun, FlowStep, meeting
from agentd.manifest.flow import Join
from agentd.problems import Problem

_MOST_RUNS = 2_000


def check_joins(topology: Topology, name: str) -> Iterator[Problem]:
    """A warning where this agent's join asks for a number of facts that no request brings."""
    member = topology.agents[name]
    join = member.manifest.join
    if join is None or not topology.steps:
        return
    if not any(topology.publishers(each) - {name} for each in join.wait_for):
        return  # told already
    if join.count == "all" and not _has_siblings(topology, name, join):
        yield member.warning(
            *("join", "count"),
            text="waits for siblings, but nothing here makes any: the first facts complete it",
            hint="fan out with `for_each`, or give a number",
        )
    elif _is_counted(topology, join) and isinstance(join.count, int):
        most = _Most(topology, name, join).of_a_request()
        if most < join.count:
            yield member.warning(
                *("join", "count"),
                text=f"waits for {join.count} facts, but of these a request brings {most:g} here",
                hint="lower it, or fan out with `for_each`",
            )


def _is_counted(topology: Topology, join: Join) -> bool:
    """Whether what comes is one request's alone, and counted before somebody grows impatient."""
    return join.by != "conversation" and len(topology.steps) <= _MOST_RUNS


def _has_siblings(topology: Topology, name: str, join: Join) -> bool:
    """Whether a fact that is joined can be one of several."""
    return any(
        publishers - {name} and any(meeting(pattern, fact) for pattern in join.wait_for)
        for fact, publishers in topology.numbered.items()
    )


class _Most:
    """How many facts for one join can follow a run at most."""

    def __init__(self, topology: Topology, name: str, join: Join) -> None:
        self._topology = topology
        self._name = name
        self._join = join
        self._known: dict[AgentRun, float] = {}

    def of_a_request(self) -> float:
        """The most that follow anything that can be asked for."""
        for run in _last_first(self._topology):
            self._known[run] = self._said_by(run) + self._beyond(self._topology.steps[run])
        return max(self._known[run] for run in self._topology.entries)

    def _said_by(self, run: AgentRun) -> float:
        """Those that a run says itself: its result, and its events."""
        events = [each for each in self._topology.emissions[run.agent] if not each.is_task]
        said = sum(inf if each.several else 1 for each in events if self._joins(each.subject, run))
        return said + self._joins(run.fact, run)

    def _joins(self, fact: str, run: AgentRun) -> bool:
        return run.agent != self._name and any(meeting(p, fact) for p in self._join.wait_for)

    def _beyond(self, steps: Iterable[FlowStep]) -> float:
        """Those of what follows. A task has one taker, a fact all who hear of it; and who is not
        known yet is in a circle, which has no end."""
        total = 0.0
        for _, group in groupby(steps, key=lambda step: id(step.emission)):
            following = list(group)
            counts = map(self._of, following)
            emission = following[0].emission
            total += max(counts) if emission and emission.is_task else sum(counts)
        return total

    def _of(self, step: FlowStep) -> float:
        count = self._known.get(step.run, inf)
        return inf if count and step.several else count


def _last_first(topology: Topology) -> Iterator[AgentRun]:
    """Every run after those that follow it, as far as there are no circles."""
    seen: set[AgentRun] = set()
    waiting = [(run, False) for run in topology.entries]
    while waiting:
        run, is_followed = waiting.pop()
        if is_followed:
            yield run
        elif run not in seen:
            seen.add(run)
            waiting.append((run, True))
            waiting += [(step.run, False) for step in topology.steps[run]]
