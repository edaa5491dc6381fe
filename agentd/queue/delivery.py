"""A delivery: a task or a fact in the hands of this process, to be settled exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agentd.errors import BusError, DecodeError, Unheard
from agentd.nats.bus import Bus, Msg, wire_size
from agentd.nats.streams import WORK
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.server_subjects import Acknowledgement
from agentd.protocol.subjects import TOKEN, Subject, published_from

# Our headers: the id of a task whose bytes contain none, and when a dead letter was sent again.
TASK, SENT_AGAIN = "Agentd-Task", "Agentd-Sent-Again"
# In the tasks of a schedule: what makes their ids impossible to guess.
MARK = "Agentd-Mark"
# For a suspended task that is delivered again: the sequence under which its run began (its journal
# continues), and the turn whose calls needed approval.
LIFE, RESUMES = "Agentd-Life", "Agentd-Resumes"

# Headers that belong to one publish. Another publish of the same task must not repeat them.
_TRANSPORT = ("Nats-", SENT_AGAIN, LIFE, RESUMES)
# Bytes of a sender's headers that another publish repeats: what is published then has others too.
_LONGEST_HEADERS = 8 * 1024


@dataclass(eq=False, kw_only=True)
class Parcel:
    """A task as it is stored in WORK.

    Attributes:
        data: the message's bytes.
        headers: those of the sender, and those that the server added.
        subject: the public subject that it was published to.
        attempt: 1 for the first delivery, counted by the server.
        stored_at: when WORK stored it, in seconds since the epoch.
        sequence: its sequence in LOG, where it stays on record.
        foreign: where it was published to, if that is no subject of agentd. `subject` is then the
            nearest one, and the task is not run.
    """

    data: bytes
    headers: Mapping[str, str]
    subject: Subject
    attempt: int
    stored_at: float
    sequence: int
    foreign: str = ""

    @property
    def published_to(self) -> str:
        """The subject that the sender published it to."""
        return self.foreign or str(self.subject)

    @property
    def default_id(self) -> str:
        """The id of a message whose sender gave none: the same at every delivery."""
        for header in (TASK, "Nats-Msg-Id"):
            given = self.headers.get(header, "")
            if re.fullmatch(TOKEN, given):
                return given
        place = f"{self.sequence} {self.stored_at}"
        if self.overtaken_at:  # from a schedule: published twice, it is still the same task
            mark = self.headers.get(MARK, "")
            place = f"{self.headers.get('Nats-Scheduler')} {self.overtaken_at}{mark}"
        return hashlib.sha256(place.encode()).hexdigest()[:32]

    @property
    def task_id(self) -> str:
        """The id of its message, as far as it can be read."""
        try:
            return self.task().id
        except DecodeError as error:
            return error.message_id or self.default_id

    def task(self) -> AgentMessage:
        """The task: its message, with what only its subject and its delivery say filled in.

        Raises:
            DecodeError: the bytes are not a task of protocol 1.0.
        """
        message = decode(
            self.data,
            type="task",
            id=lambda: self.default_id,
            timestamp=self.stored_at,
            priority=self.subject.priority,
        )
        if again := self.sent_again_at:
            return message.model_copy(update={"timestamp": again})
        return message

    @property
    def sent_again_at(self) -> float | None:
        """When it was sent again from the dead letters, in seconds since the epoch."""
        if SENT_AGAIN not in self.headers:
            return None
        try:
            again = float(self.headers[SENT_AGAIN])
        except ValueError:
            return None
        return again if 0 <= again < 1e11 else None  # any sender may set it: no `nan`, no `inf`

    @property
    def overtaken_at(self) -> float | None:
        """When the next task of the same schedule is due, in seconds since the epoch."""
        if "Nats-Schedule-Next" not in self.headers:
            return None
        try:
            return datetime.fromisoformat(self.headers["Nats-Schedule-Next"]).timestamp()
        except (ValueError, OverflowError):
            return None

    @property
    def life(self) -> int:
        """The sequence in LOG under which its run began. Each life has a journal of its own."""
        return _number(self._of_a_copy(LIFE)) or self.sequence

    @property
    def resumes(self) -> int:
        """The turn at which its run resumes; 0 if it was not suspended."""
        return _number(self._of_a_copy(RESUMES))

    def _of_a_copy(self, header: str) -> str:
        """A header of the copy that resumes a suspended task. A sender could set it too, and resume
        the task of another before anybody has decided; but `Nats-Scheduler` it cannot set: the
        server refuses that on LOG."""
        return self.headers.get(header, "") if "Nats-Scheduler" in self.headers else ""

    @property
    def is_first(self) -> bool:
        """Whether no process can have begun the task before."""
        return self.attempt == 1 and self.life == self.sequence

    def headers_for(self, task_id: str) -> dict[str, str]:
        """The headers for another publish of the same bytes: the sender's, and the task's id. Too
        many headers of a sender are left out, all of them."""
        own = {k: v for k, v in self.headers.items() if not k.startswith(_TRANSPORT)}
        if wire_size(b"", own) > _LONGEST_HEADERS:
            own = {}
        return {**own, TASK: task_id}


def _number(text: str) -> int:
    """The whole number in a header, as the server counts; 0 if it has none."""
    return int(text) if text and re.fullmatch("[0-9]{1,18}", text) else 0


_PATIENCE = 5.0  # seconds that settling waits for a server


@dataclass(eq=False, kw_only=True)
class Delivery(Parcel):
    """A parcel that this process has pulled from a `route`, and must settle. A fact is delivered as
    it is: its subject is that of a result or an event."""

    settled: bool = field(default=False, init=False)
    route: str = ""
    bus: Bus = field(repr=False)
    reply: str = field(repr=False)
    on_settled: Callable[[str], None] = field(repr=False)

    async def ack(self) -> None:
        """Acknowledges it: waits until the server has removed it, also through a short outage.

        Raises:
            BusError: the server did not confirm; it may deliver the task again.
        """
        self._settle()
        if not await self._tell(b"+ACK"):
            raise BusError(f"{self.reply}: not confirmed within {_PATIENCE:g} s")

    async def nak(self, delay: float = 0.0) -> None:
        """Hands it back, to be delivered again after `delay` seconds, to any replica."""
        self._settle()
        wait = json.dumps({"delay": int(delay * 1e9)}) if delay else ""
        nak = f"-NAK {wait}".strip().encode()
        await self._tell(nak)

    async def _tell(self, answer: bytes) -> bool:
        """Sends the acknowledgement until the server confirms it; whether it did in time.

        A server that shuts down drops acknowledgements silently. An unconfirmed one would leave the
        task to wait for its ACK_WAIT, as it does when no server is there in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE
        with contextlib.suppress(BusError):
            while not await self._confirmed(answer):
                await asyncio.sleep(0.1)
                await self.bus.until_connected(deadline)
                if loop.time() >= deadline:
                    break
            else:
                return True
        return False

    async def _confirmed(self, answer: bytes) -> bool:
        """Sends the acknowledgement once.

        Raises:
            Unheard: the consumer was deleted; no answer will ever come.
        """
        try:
            await self.bus.request(self.reply, answer, timeout=1.0)
        except Unheard:
            raise
        except BusError:
            return False
        return True

    def _settle(self) -> None:
        if self.settled:
            raise RuntimeError(f"{self.subject} is settled already")
        self.settled = True
        self.on_settled(self.reply)


def delivery(msg: Msg, bus: Bus, on_settled: Callable[[str], None], *, route: str = "") -> Delivery:
    """The delivery of a message pulled from this route; settling it calls `on_settled` with its
    reply subject."""
    acknowledgement = Acknowledgement.parse(msg.reply)
    headers: Mapping[str, str] = msg.headers or {}
    published, sequence = msg.subject, acknowledgement.sequence
    if acknowledgement.stream == WORK:
        published, sequence = _source(headers, msg.subject, sequence)
    subject = Subject.nearest(published)
    return Delivery(
        route=route,
        data=msg.data,
        headers=headers,
        subject=subject,
        foreign="" if published == str(subject) else published,
        attempt=acknowledgement.deliveries,
        stored_at=acknowledgement.stored_at,
        sequence=sequence,
        bus=bus,
        reply=msg.reply,
        on_settled=on_settled,
    )


async def settle_foreign(msg: Msg, bus: Bus) -> None:
    """Acknowledges a pulled message that cannot be a delivery: its subject is none of agentd's."""
    await bus.publish(msg.reply, b"+ACK")


def parcel(data: bytes, headers: Mapping[str, str], *, attempt: int, stored_at: float) -> Parcel:
    """A message of WORK that was read, not pulled: it cannot be settled.

    Raises:
        SubjectError: it is not a task.
    """
    work, number = headers.get("Nats-Subject", ""), headers.get("Nats-Sequence", "")
    published, sequence = _source(headers, work, _number(number))
    subject = Subject.nearest(published)
    return Parcel(
        data=data,
        headers=headers,
        subject=subject,
        foreign="" if published == str(subject) else published,
        attempt=attempt,
        stored_at=stored_at,
        sequence=sequence,
    )


def _source(headers: Mapping[str, str], work: str, sequence: int) -> tuple[str, int]:
    """The public subject of a message of WORK, and its sequence in LOG.

    `Nats-Stream-Source` is `{stream} {seq} {filters} {transforms} {original subject} {id}`. The
    server appends it to the sender's headers. If these were no headers, it can be lost: then the
    place in WORK has to do.
    """
    source = headers.get("Nats-Stream-Source", "").split(" ")
    if len(source) > 4 and (number := _number(source[1])):
        return source[4], number
    return published_from(work), sequence
