"""Warnings for joins whose `count` does not fit the facts that can arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from math import inf

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import AgentRun, FlowStep, intersection
from agentd.manifest.flow import Join
from agentd.problems import Problem

_MOST_RUNS = 2_000  # counting takes too long for an edit in a larger topology


def check_joins(topology: Topology, name: str) -> Iterator[Problem]:
    """A warning if the join of this agent waits for more facts than one request can lead to."""
    member = topology.agents[name]
    join = member.manifest.join
    if join is None or not topology.steps:
        return
    if not any(topology.publishers(each) - {name} for each in join.wait_for):
        return  # check_facts has reported it
    if join.count == "all" and not _has_siblings(topology, name, join):
        yield member.warning(
            *("join", "count"),
            text="`count: all` waits for all that one answer emits, but no agent here emits what "
            "leads to these facts, so one fact of each pattern completes the join",
            hint="emit the tasks in one answer, or give a number",
        )
    elif _is_counted(topology, join) and isinstance(join.count, int):
        most = _MostFacts(topology, name, join).of_a_request()
        if most < join.count:
            yield member.warning(
                *("join", "count"),
                text=f"the join waits for {join.count} facts, but one request leads to at most "
                f"{most:g} of them here",
                hint="lower `count`, or fan out with `for_each`",
            )


def _is_counted(topology: Topology, join: Join) -> bool:
    """Whether the facts come from one request, and the topology is small enough to count them."""
    return join.by != "conversation" and len(topology.steps) <= _MOST_RUNS


def _has_siblings(topology: Topology, name: str, join: Join) -> bool:
    """Whether a fact of the join may follow from what an answer emits."""
    return any(
        publishers - {name} and any(intersection(pattern, fact) for pattern in join.wait_for)
        for fact, publishers in topology.sibling_publishers.items()
    )


class _MostFacts:
    """Counts how many facts of one join can follow a run at most; `inf` if there is no limit."""

    def __init__(self, topology: Topology, name: str, join: Join) -> None:
        self._topology = topology
        self._name = name
        self._join = join
        self._known: dict[AgentRun, float] = {}

    def of_a_request(self) -> float:
        """The most facts that can follow one task from outside."""
        for run in _last_first(self._topology):
            self._known[run] = self._published_by(run) + self._following(self._topology.steps[run])
        return max(self._known[run] for run in self._topology.first_runs)

    def _published_by(self, run: AgentRun) -> float:
        """The facts that a run publishes itself: its result, and its events."""
        events = [each for each in self._topology.emissions[run.agent] if not each.is_task]
        joined = [each for each in events if self._joins(each.subject, run)]
        return sum(inf if each.any_number else 1 for each in joined) + self._joins(run.fact, run)

    def _joins(self, fact: str, run: AgentRun) -> bool:
        return run.agent != self._name and any(intersection(p, fact) for p in self._join.wait_for)

    def _following(self, steps: Iterable[FlowStep]) -> float:
        """The facts of the runs that follow: one agent takes a task, all subscribers get a fact."""
        total = 0.0
        for _, group in groupby(steps, key=lambda step: id(step.emission)):
            following = list(group)  # the runs for one message
            counts = map(self._of, following)
            emission = following[0].emission
            total += max(counts) if emission and emission.is_task else sum(counts)
        return total

    def _of(self, step: FlowStep) -> float:
        # Every run is counted after those that follow it. One that has not been counted is in a
        # cycle, which has no end.
        count = self._known.get(step.run, inf)
        return inf if count and step.any_number else count


def _last_first(topology: Topology) -> Iterator[AgentRun]:
    """Every run after the runs that follow it, except inside cycles."""
    # Without recursion, as a chain of agents may be longer than the stack is deep.
    seen: set[AgentRun] = set()
    waiting = [(run, False) for run in topology.first_runs]
    while waiting:
        run, is_followed = waiting.pop()
        if is_followed:
            yield run
        elif run not in seen:
            seen.add(run)
            waiting.append((run, True))
            waiting += [(step.run, False) for step in topology.steps[run]]
