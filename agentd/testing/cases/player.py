"""Plays a case: runs the agent with test doubles in place of its model and tools."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.errors import DecodeError, ModelError, TaskError, UsageError
from agentd.manifest.model import ModelRef
from agentd.metrics import Metrics
from agentd.models.choose import Models
from agentd.models.port import Model, ToolCall
from agentd.models.unavailable import NO_MODEL
from agentd.nats.bus import Bus
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, new_id
from agentd.protocol.subjects import Subjects
from agentd.queue.journal import TURN, Step
from agentd.run.budget import Budgets
from agentd.run.context import RunContext
from agentd.run.deadline import Deadline
from agentd.run.loop import RunResult, run
from agentd.run.memory import Memory
from agentd.run.revision import Revision
from agentd.testing.cases.case import Case, Suite
from agentd.testing.cases.cassette import Recording, digests, recorded
from agentd.testing.cases.judgement import Played, judged, mismatches
from agentd.testing.cases.stand_in import RecordingModel, Tape, as_turn, replaced
from agentd.tools.open import Tools

_JUDGING = 60.0  # seconds for a judge


@dataclass(frozen=True, kw_only=True)
class CaseRun:
    """One run of a case.

    Attributes:
        mismatches: a sentence for each condition that the run does not meet.
        recording: the answers of the models, and what they were asked.
        changes: the parts of the first call that differ from the recording that was replayed.
    """

    mismatches: tuple[str, ...]
    seconds: float
    turns: int
    recording: Recording
    changes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.mismatches


@dataclass(frozen=True, kw_only=True)
class CasePlayer:
    """Plays cases. With `live`, it calls the models that the manifests name."""

    bus: Bus
    subjects: Subjects
    models: Models
    tools: Tools
    default: ModelRef
    live: bool = False

    async def play(self, spec: AgentSpec, suite: Suite, case: Case) -> CaseRun:
        """Plays the case once.

        Raises:
            UsageError: it cannot be played: its message is none, or it has no model.
        """
        tape, started = Tape(), time.monotonic()
        replayed = self._replayed(suite, case)
        message = _message(suite, case, replayed)
        await self.tools.check(spec)  # the functions of `tools/` are known only after it
        revision = self._revision(spec, suite, case, replayed, tape)
        played = await self._run(revision, message, message.sent_at)
        wrong = list(mismatches(case.expect, played))
        # A judge costs a call; it is asked only about an answer that meets all other conditions.
        if case.expect.judge and not wrong and played.result:
            wrong += await self._judge(suite, case.expect.judge, played)
        return CaseRun(
            mismatches=tuple(wrong),
            seconds=time.monotonic() - started,
            turns=played.result.turns if played.result else len(tape.answers),
            recording=Recording(
                turns=tuple(map(as_turn, tape.answers)),
                task=message.id,
                at=message.sent_at,
                asked=digests(tape.asked) if tape.asked else {},
            ),
            changes=replayed.changes(tape.asked) if replayed else (),
        )

    def _revision(
        self, spec: AgentSpec, suite: Suite, case: Case, replayed: Recording | None, tape: Tape
    ) -> Revision:
        # No person decides about calls in a test. `replaced` refuses the calls that need approval.
        tools = tuple(tool.model_copy(update={"approval": False}) for tool in spec.manifest.tools)
        spec = replace(spec, manifest=spec.manifest.model_copy(update={"tools": tools}))
        toolbox = replaced(self.tools.open(spec), case.tools)
        # A prompt may show the name of the model: in a replay it is that of the real one.
        name = self._refs(spec)[0].name if replayed else ""
        models = [
            RecordingModel(model, tape, name=name)
            for model in self._models(spec, suite, case, replayed)
        ]
        return Revision(spec, tuple(models), toolbox)

    def _refs(self, spec: AgentSpec) -> Sequence[ModelRef]:
        return spec.manifest.model or (self.default,)

    def _replayed(self, suite: Suite, case: Case) -> Recording | None:
        """The recording that the models' answers come from, if they do."""
        return None if self.live or case.stand_in else recorded(suite).get(case.name)

    def _models(
        self, spec: AgentSpec, suite: Suite, case: Case, replayed: Recording | None
    ) -> Sequence[Model]:
        refs = self._refs(spec)
        if spec.manifest.call:
            if case.stand_in:
                text = "has a `model`, and the agent has none: it calls a tool"
                raise UsageError(f"{suite.file}: {case.name!r} {text}")
            return (NO_MODEL,)
        if self.live:
            return self._opened(suite, refs)
        if case.stand_in:
            return self._opened(suite, (case.stand_in,))
        if replayed and replayed.turns:
            return self._opened(suite, (ModelRef(name="mock/script", script=replayed.turns),))
        if all(ref.name.startswith("mock/") for ref in refs):
            return self._opened(suite, refs)
        raise UsageError(
            f"{suite.file}: {case.name!r} has no `model:` turns, and nothing is recorded of "
            f"{refs[0].name}; record it with --record, or play it with --live"
        )

    def _opened(self, suite: Suite, refs: Sequence[ModelRef]) -> Sequence[Model]:
        try:
            return self.models.open_all(refs)
        except ModelError as error:
            raise UsageError(f"{suite.file}: {error}") from None

    async def _run(self, revision: Revision, message: AgentMessage, now: float) -> Played:
        steps, limits = _Steps(), revision.spec.manifest.limits
        deadline = Deadline.of(message, limit=limits.timeout, now=now)
        # The parts of a real run, but for the queue, the journal and the result: nothing is stored.
        source = AgentIdentity(id=revision.spec.name, type="agent")
        budgets = Budgets(self.bus, self.subjects.env)
        context = RunContext(
            deadline=deadline,
            budget=lambda: budgets.of_task(message, limits, deadline),
            metrics=Metrics(),
            now=now,
            journal=lambda: steps,
            memory=lambda: Memory(self.bus, self.subjects, message, agent=source),
            bus=self.bus,
        )
        wire = message.model_dump(mode="json", by_alias=True)
        content = message.payload.content
        result: RunResult | None = None
        error: TaskError | None = None
        try:
            result = await run(revision, message, context)
        except TaskError as failed:
            error = failed
        return Played(content=content, message=wire, result=result, error=error, calls=steps.calls)

    async def _judge(self, suite: Suite, criterion: str, played: Played) -> list[str]:
        """The judge's reasons against the answer. A real model judges only live runs."""
        if suite.judge is None:
            return ["`judge` needs a `judge:` model at the head of the file"]
        if not self.live and not suite.judge.name.startswith("mock/"):
            return []
        [judge] = self._opened(suite, (suite.judge,))
        try:
            why = await judged(criterion, played, judge, timeout=_JUDGING)
        except TaskError as error:
            why = f"the judge failed: {error}"
        return [why] if why else []


@dataclass
class _Steps:
    """Keeps the steps of a run in memory, where a real run writes them to its journal."""

    steps: dict[Step, Mapping[str, Any]] = field(default_factory=dict[Step, Mapping[str, Any]])

    async def step(self, kind: str, turn: int, index: int = 0, **details: Any) -> None:
        """Keeps a step."""
        self.steps[kind, turn, index] = details

    async def note(self, kind: str, *, mark: str = "", **details: Any) -> None:
        """Ignores a note: no condition of a test is about notes."""

    @property
    def calls(self) -> list[ToolCall]:
        """The tool calls that the model has made, in order."""
        turns = [
            step["completion"] for (kind, _, _), step in sorted(self.steps.items()) if kind == TURN
        ]
        return [ToolCall(**call) for turn in turns for call in turn["tool_calls"]]


def _message(suite: Suite, case: Case, replayed: Recording | None) -> AgentMessage:
    """The task of a case, with the id and the time of its recording.

    Raises:
        UsageError: it is not a valid message.
    """
    payload = {"content": case.input, **case.message.get("payload", {})}
    wire = {**case.message, "payload": payload}
    try:
        return decode(
            json.dumps(wire).encode(),
            type="task",
            id=(replayed and replayed.task) or new_id(),
            timestamp=(replayed and replayed.at) or time.time(),
        )
    except DecodeError as error:
        raise UsageError(f"{suite.file}: {case.name!r} is not a valid message: {error}") from None
