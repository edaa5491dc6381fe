"""The journal of a task: what happened before its outcome, as events on its own subject.

`event.run.{taskId}` holds an event for each attempt that failed or was handed back, each turn of
the model that called tools, and each answer of a tool. The server counts deliveries; the journal
says which of them were attempts, and where an interrupted run resumes.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentd.errors import TaskError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import fit, whole
from agentd.nats.records import Room, skipping
from agentd.nats.schedules import is_from_schedule
from agentd.nats.shared_value import Secret
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, encode
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
MODEL_AWAITED = "model_awaited"  # a server that is not there, or that asked for a wait
# The last calls of a run: a header of its result, or an event where they are too large for that.
CALLS = "Agentd-Calls"
MODEL_CALLED = "model_called"

ENTRY = "Agentd-Entry"  # a header: the text from which the id of the message was derived

_ATTEMPTS = (FAILED, STARTED, HANDED_BACK)

_SHOWN = 1_000  # characters of the reason of a delay

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
        used: the seconds of its time that the task has used, in failed attempts and steps.
    """

    attempt: int = 1
    suspect: bool = False
    steps: Mapping[Step, Content] = field(default_factory=dict[Step, Content])
    used: float = 0.0


class Journal:
    """The journal of one delivery of a task: an `agentd.run.context.StepLog`.

    `started` is when the work on this delivery began, in seconds of the monotonic clock.
    """

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        task: AgentMessage,
        delivery: Delivery,
        *,
        source: AgentIdentity,
        secret: Secret,
        started: float,
    ) -> None:
        self._bus = bus
        self._secret = secret
        self._subject = subjects.event("run", task.id)
        self._task = task
        self._delivery = delivery
        self._source = source
        self._started = started
        self._used_before = 0.0

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
        details = {"turn": turn, "index": index, "used": self._used, **details}
        await self._store(kind, f"{turn}.{index}", details, patience=jetstream.HOLD)

    async def begin(self) -> None:
        """Records that a suspect's turn has come. What it waited is not the task's time.

        Raises:
            BusError: it could not be recorded.
        """
        self._started = time.monotonic()
        await self.note(STARTED)

    async def ended(
        self, error: TaskError, delay: float, *, counted: float | None, **details: Any
    ) -> None:
        """Records that the task goes back to the queue for `delay` seconds, because of `error`.

        `counted` has the seconds of the delay that are the task's own time. None: nothing was
        called, so this delivery is no attempt, and its time is not counted either.

        Raises:
            BusError: it could not be recorded.
        """
        details |= {
            "error": {"code": error.code, "message": str(error)},
            "delay": round(delay, 3),
        }
        if counted is None:
            await self.note(HANDED_BACK, **details)
        else:
            await self.note(FAILED, **details, used=self._used + counted)

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
            self._used_before = max(self._used_before, _seconds(content.get("used")))
            if step := _step(content):
                # The first entry counts: a second one is from a replica that was thought dead.
                steps.setdefault(step, content)
            elif number := _delivery(content, delivery.sequence):
                (excused if content["event"] == HANDED_BACK else counted).add(number)
        counted -= excused
        silent = len(set(range(1, delivery.attempt)) - counted - excused) > 0
        return Standing(
            1 + len(counted) + silent, suspect=silent, steps=steps, used=self._used_before
        )

    @property
    def _used(self) -> float:
        """The seconds of its time that the task has used until now.

        Only failed attempts and steps record it: the time of a delivery that was handed back, or
        lost with its process, is not the task's.
        """
        return round(self._used_before + time.monotonic() - self._started, 3)

    async def _events(self) -> AsyncIterator[Mapping[str, Any]]:
        """The entries of this life of the task; a task that was sent again from the dead letters
        begins another life, with an empty journal."""
        room = Room()
        async for msg in jetstream.stored(self._bus, LOG, self._subject):
            if is_from_schedule(msg):
                continue
            content = None
            with skipping(LOG, msg):
                content = await self._content(msg, room)
            if isinstance(content, dict) and content.get("life") == self._delivery.life:
                yield content

    async def _content(self, msg: Msg, room: Room) -> Any:
        """The content of an entry. Those that may be of others are read as long as there is room:
        however many they are, an own one is found, so no step is repeated because of them."""
        message = decode(msg.data)
        if self._is_own(msg):
            return (await whole(self._bus, message)).payload.content
        room.take(len(msg.data))
        full = await whole(self._bus, message)
        if full is not message:
            room.take(len(encode(full)), records=0)
        return full.payload.content

    def _is_own(self, msg: Msg) -> bool:
        """Whether agentd wrote this entry: nobody else can derive its id."""
        headers = msg.headers or {}
        entry = headers.get(ENTRY, "")
        own = jetstream.Record(
            subject=self._subject, data=b"", message_id=self._secret.digest(entry)
        )
        is_of_task = entry.startswith(f"{self._task.id}.")
        return is_of_task and headers.get("Nats-Msg-Id") == own.wire_id

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
        entry = f"{self._task.id}.{kind}.{delivery.life}.{delivery.sequence}.{mark}"
        await jetstream.store(
            self._bus,
            self._subject,
            await fit(self._bus, event),
            # Under an id that somebody else has used, the server would store nothing.
            message_id=self._secret.digest(entry),
            headers={ENTRY: entry},
            patience=patience,
        )


def delay_in(content: Any) -> str | None:
    """Why the answer takes longer, by this entry of a journal; None if it is about something else.

    Any client may write entries.
    """
    match content:
        case {"event": "model_awaited", "reason": str(reason)}:
            return f"waiting: {reason}"[:_SHOWN]
        case {
            "event": "attempt_failed" | "handed_back" as event,
            "error": {"code": str(code), "message": str(message)},
            "delay": int() | float() as delay,
        }:
            what = "no attempt was possible" if event == HANDED_BACK else "an attempt failed"
            return f"{what}, the next one begins in {delay:.1f} s: {code}: {message}"[:_SHOWN]
        case _:
            return None


def _seconds(value: Any) -> float:
    """A number of seconds in an entry; 0 if there is none. Any client may write entries."""
    return float(value) if isinstance(value, int | float) and 0 <= value < math.inf else 0.0


def _step(content: Content) -> Step | None:
    """The step that an entry records; None for another entry, and for one that no run wrote."""
    match content:
        case (
            {"event": "turn" as kind, "turn": int(turn), "index": int(index), "completion": dict()}
            | {"event": "tool_called" as kind, "turn": int(turn), "index": int(index)}
            | {
                "event": "tool_answered" as kind,
                "turn": int(turn),
                "index": int(index),
                "text": str(),
                "error": bool(),
            }
        ):
            return str(kind), turn, index
        case _:
            return None


def _delivery(content: Content, sequence: int) -> int:
    """The number of the delivery, from 1, whose beginning or end an entry records; 0 for another
    entry. `sequence` is that of the task."""
    kind, number = content.get("event"), content.get("delivery")
    of_task = kind in _ATTEMPTS and content.get("taskSequence") == sequence
    return number if of_task and isinstance(number, int) else 0
