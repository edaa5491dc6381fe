"""The outcome of a task: a success or an error, as its result, stored once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentd.errors import BusError, Conflict, DecodeError, TaskError, TooLarge
from agentd.models.port import CUT_IN_WORDS, Usage
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.jetstream import HOLD, Record
from agentd.nats.objects import fit, room
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentIdentity, AgentMessage, new_id, short_id
from agentd.protocol.result import decode_result
from agentd.protocol.subjects import Subject, Subjects, environment_of
from agentd.queue.journal import CALLS, MODEL_CALLED
from agentd.routing import results
from agentd.run.loop import RunResult
from agentd.run.model_call import as_payload
from agentd.run.spending import Spending, Spent, tokens_of

log = logging.getLogger(__name__)

_PAUSE = 0.5  # seconds between two tries to store a large answer
_LONGEST_ERROR = 4_000  # characters of an error in a result
_LONGEST_HEADER = 12 * 1024  # bytes; readers take 32 kB of headers, and a message has room for 16
# Made once: `json.dumps` would make an encoder for each task.
_compact = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_TRIES = 5  # if somebody else publishes on the subject of a result meanwhile


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task ended: with a result or with an error.

    `latency` is in milliseconds from the delivery; `model` is the one that answered, or would have,
    or "" for an agent without a model.
    `emitted` is how many messages of each topic follow. `spending` is what the task has used, also
    if it failed. `called` has the model calls that are not on record yet (`CallLog`).
    """

    revision: str
    model: str
    latency: float
    result: RunResult | None = None
    error: TaskError | None = None
    emitted: Mapping[str, int] = field(default_factory=dict[str, int])
    spending: Spending = field(default_factory=Spending)
    called: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def success(self) -> bool:
        return self.result is not None

    def in_words(self) -> str:
        """The outcome as a log line."""
        if self.result is None:
            return (
                f"failed in {self.latency:,.0f} ms: {self.error and self.error.code}: {self.error}"
            )
        parts = [f"answered in {self.latency:,.0f} ms"]
        completion = self.result.completion
        if self.result.calls:
            several = "" if self.result.calls == 1 else "s"
            parts.append(f"{self.result.calls} tool call{several}")
        if completion.usage and completion.usage.total:
            parts.append(f"{completion.usage.total:,} tokens")
        if completion.cut:
            parts.append(CUT_IN_WORDS[completion.cut])
        if completion.cost:
            parts.append(f"${completion.cost:.{4 if completion.cost >= 0.01 else 6}f}")
        return " · ".join(parts)

    def content(self) -> dict[str, Any]:
        """The `payload.content` of the result. Unknown values are null, never 0."""
        content: dict[str, Any] = {
            "success": self.success,
            "data": None,
            "error": None,
            "model": self.model or None,
            "tokens": None,
            "cost": None,
            "latency": round(self.latency, 1),
            "revision": self.revision,
        }
        if self.error is not None:
            content |= _used(self.spending.total)
            content["error"] = {
                "code": self.error.code,
                "message": _shortened(str(self.error)),
                "retryable": self.error.retryable,
            }
        if self.result is not None:
            content |= _answer(self.result)
        return content


def _shortened(text: str) -> str:
    """An error as a result has it: it must fit into the message, and cannot become an object."""
    return text if len(text) <= _LONGEST_ERROR else f"{text[: _LONGEST_ERROR - 1]}…"


def _answer(result: RunResult) -> dict[str, Any]:
    completion, data = result.completion, result.data
    content: dict[str, Any] = {
        "data": data,
        "model": completion.model or None,
        "cost": completion.cost and round(completion.cost, 12),
        "finishReason": completion.finish_reason,
        "turns": result.turns,
        "toolCalls": result.calls,
    }
    if result.given_back:
        calls = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in result.given_back]
        content["calls"] = calls
    if completion.cut:
        content["cut"] = completion.cut
    if completion.cached:
        content["cached"] = True
    if completion.attempts:
        content["attempts"] = [as_payload(attempt) for attempt in completion.attempts]
    if completion.reasoning:
        content["reasoning"] = completion.reasoning
    if isinstance(data, dict):
        # A structured answer may state these itself; readers look for them here.
        content |= {name: data[name] for name in ("confidence", "reasoning") if name in data}
    return content | _tokens(completion.usage)


def _used(spent: Spent) -> dict[str, Any]:
    """What a failed task has used; nothing if no model was called."""
    if not spent.calls:
        return {}
    return {"cost": spent.cost and round(spent.cost, 12), **_tokens(spent.usage)}


def _tokens(usage: Usage | None) -> dict[str, Any]:
    return {} if usage is None else {"tokens": usage.total, "usage": tokens_of(usage)}


def result_subject(subjects: Subjects, topic: Subject, task_id: str) -> str:
    """The subject of the result of a task: named after its topic (`queue.topic`)."""
    return subjects.result(topic.domain, topic.specificity, task_id)


async def on_record(bus: Bus, subject: str) -> bool:
    """Whether the log holds a result on this subject. What is none does not count: any client may
    publish there, and the task would end with nothing."""
    newest = await jetstream.last(bus, LOG, subject)
    return newest is not None and (
        results.parsed(newest) is not None or await results.first(bus, subject) is not None
    )


async def store(
    bus: Bus,
    subject: str,
    outcome: Outcome,
    *,
    task: AgentMessage,
    source: AgentIdentity,
    headers: Mapping[str, str],
    also: Sequence[Record] = (),
) -> None:
    """Stores the outcome, once, and sends a copy to the task's `replyTo`.

    The other records (`also`: emitted work, a dead letter) are stored together with the result, or
    not at all; so are the model calls of the run that are not on record yet. An answer has been
    paid for: while the server is away, full, or without its log, the answer is held, and stored as
    soon as possible.

    Raises:
        Conflict: another replica's outcome is on record; this one is dropped.
        TooLarge: the answer does not fit into a message.
        BusError: it could not be stored for `HOLD` seconds; the task is to be delivered again.
    """
    message = task.reply("result", outcome.content(), source=source)
    if outcome.emitted:
        context = message.context.model_copy(update={"emitted": outcome.emitted})
        message = message.model_copy(update={"context": context})
    data = await _fit(bus, message)
    called = outcome.called
    header = _as_header(called, room(bus) - len(data)) if called else ""
    if called and not header:
        also = [*also, *await _called(bus, subject, task, source, called)]
    result = Record(
        subject=subject,
        data=data,
        # A random id: with the task's id, the server would take a second writer for our own retry
        # and confirm its answer, which is not stored.
        message_id=new_id(),
        headers={**headers, CALLS: header} if header else headers,
        after=0,
    )
    await _store_once(bus, result, also)
    if task.reply_to and task.reply_to != subject:
        await bus.publish(task.reply_to, result.data, headers=headers)


def _as_header(called: Mapping[str, Any], most: int) -> str:
    """The calls as a header of the result: that costs no message, and no write to the disk. "" if
    they are too large for one, or not valid text."""
    try:
        header = _compact(called)
        return header if len(header.encode()) <= min(most, _LONGEST_HEADER) else ""
    except ValueError:
        return ""


async def _called(
    bus: Bus, result: str, task: AgentMessage, source: AgentIdentity, called: Mapping[str, Any]
) -> list[Record]:
    """The calls as an entry of the journal, to be stored with the result."""
    subjects = Subjects(environment_of(result) or "")
    event = task.reply("event", {"event": MODEL_CALLED, "task": task.id, **called}, source=source)
    try:
        return [Record(subject=subjects.event("run", task.id), data=await fit(bus, event))]
    except (BusError, TaskError) as error:
        # Better an incomplete record than a lost answer.
        log.warning("the model call of %s is not on record: %s", short_id(task.id), error)
        return []


async def _store_once(bus: Bus, result: Record, also: Sequence[Record]) -> None:
    """Stores the records. A conflict is one only if there is a result: without one, the task would
    end with nothing."""
    newest = 0
    for _ in range(_TRIES):
        try:
            first = replace(result, after=newest) if newest else result
            await jetstream.store_all(bus, [first, *also])
        except Conflict:
            newest, is_one = await _recorded(bus, result.subject)
            if is_one:
                raise
        else:
            return
    raise BusError(f"{result.subject}: refused, but there is no result")


async def _recorded(bus: Bus, subject: str) -> tuple[int, bool]:
    """The sequence of the newest message on a subject, and whether one of them is a result. From
    the leader: another server may not have the newest one yet."""
    newest = 0
    while True:
        sequence, data = await jetstream.next_after(bus, LOG, subject, newest)
        if not sequence:
            return newest, False
        newest = sequence
        with contextlib.suppress(DecodeError):
            decode_result(data)
            return newest, True


async def _fit(bus: Bus, result: AgentMessage) -> bytes:
    """The result as bytes that the server accepts. A large one waits for the object store."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + HOLD
    while True:
        try:
            return await fit(bus, result)
        except TooLarge:
            raise
        except BusError:
            if loop.time() >= deadline:
                raise
        await asyncio.sleep(_PAUSE)
        await bus.until_connected(deadline)
