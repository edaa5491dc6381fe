"""The journal of a task: what happened before its outcome, as events on its own subject.

`event.run.{taskId}` holds an event for each attempt that failed or was handed back, each turn of
the model that called tools, and each answer of a tool. The server counts deliveries; the journal
says which of them were attempts, and where an interrupted run resumes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentd.errors import DecodeError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.objects import fit, whole
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentIdentity, AgentMessage, decode
from agentd.protocol.subjects import Subjects
from agentd.queue.delivery import Delivery

FAILED = "attempt_failed"
STARTED = "attempt_started"  # recorded for suspects only
HANDED_BACK = "handed_back"

# The steps of a run: a turn of the model, a tool with effects about to be called, a tool answer.
TURN = "turn"
CALLED = "tool_called"
ANSWERED = "tool_answered"

MODEL_FAILED = "model_failed"  # one model of several; another one answered, or all failed

_ATTEMPTS, _STEPS = (FAILED, STARTED, HANDED_BACK), (TURN, CALLED, ANSWERED)

Content = Mapping[str, Any]
Step = tuple[str, int, int]  # the event, the turn from 1, the index of the call from 0


@dataclass(frozen=True)
class Standing:
    """How far a task has come when it is delivered.

    Attributes:
        attempt: the number of this attempt, from 1.
        suspect: an earlier delivery ended without a word, as when this task, or one that ran
            beside it, killed the process.
        steps: the steps of the run that are on record: (event, turn, index of the call) to content.
    """

    attempt: int = 1
    suspect: bool = False
    steps: Mapping[Step, Content] = field(default_factory=dict[Step, Content])


class Journal:
    """The journal of one delivery of a task: an `agentd.run.context.StepLog`."""

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        task: AgentMessage,
        delivery: Delivery,
        *,
        source: AgentIdentity,
    ) -> None:
        self._bus = bus
        self._subject = subjects.event("run", task.id)
        self._task = task
        self._delivery = delivery
        self._source = source

    async def note(
        self, kind: str, *, patience: float = 5.0, mark: str = "", **details: Any
    ) -> None:
        """Records that this delivery began, or how it ended. A kind that may occur more than once
        in a delivery needs a different `mark` each time.

        Raises:
            BusError: it could not be recorded within `patience` seconds.
        """
        mark = f"{self._delivery.attempt}{mark}"
        await self._store(kind, mark, details, patience=patience)

    async def step(self, kind: str, turn: int, index: int = 0, **details: Any) -> None:
        """Records a step of the run, so that it is not repeated: `turn` counts from 1, `index` the
        calls of a turn from 0.

        Raises:
            BusError: it could not be recorded.
        """
        details = {"turn": turn, "index": index, **details}
        await self._store(kind, f"{turn}.{index}", details, patience=jetstream.HOLD)

    async def read(self) -> Standing:
        """How far the task has come, from the server's count of deliveries and the journal.

        A delivery counts as an attempt if it failed, or was started as a suspect's. One that was
        handed back (a drain, a lost connection) does not. All deliveries that ended without any
        entry count as one attempt together: most of them were only beside a task that killed the
        process.

        Raises:
            BusError: the log does not answer.
        """
        delivery = self._delivery
        if delivery.is_first:
            return Standing()
        counted, excused, steps = set[int](), set[int](), dict[Step, Content]()
        async for content in self._events():
            kind = content["event"]
            if kind in _STEPS:
                # The first entry counts: a second one is from a replica that was thought dead.
                steps.setdefault((kind, content["turn"], content["index"]), content)
            elif kind in _ATTEMPTS and content["taskSequence"] == delivery.sequence:
                (excused if kind == HANDED_BACK else counted).add(content["delivery"])
        counted -= excused
        silent = len(set(range(1, delivery.attempt)) - counted - excused) > 0
        return Standing(1 + len(counted) + silent, suspect=silent, steps=steps)

    async def _events(self) -> AsyncIterator[Mapping[str, Any]]:
        """The entries of this life of the task; a task that was sent again from the dead letters
        begins another life, with an empty journal."""
        async for msg in jetstream.stored(self._bus, LOG, self._subject):
            try:
                event = decode(msg.data)
            except DecodeError:
                continue  # any client may publish on the subject
            content = (await whole(self._bus, event)).payload.content
            if isinstance(content, dict) and content.get("life") == self._delivery.life:
                yield content

    async def _store(self, kind: str, mark: str, details: Content, *, patience: float) -> None:
        delivery = self._delivery
        content = {
            "event": kind,
            "task": self._task.id,
            "life": delivery.life,
            "taskSequence": delivery.sequence,
            "delivery": delivery.attempt,
            **details,
        }
        event = self._task.reply("event", content, source=self._source)
        await jetstream.store(
            self._bus,
            self._subject,
            await fit(self._bus, event),
            message_id=f"{self._task.id}.{kind}.{delivery.life}.{delivery.sequence}.{mark}",
            patience=patience,
        )
