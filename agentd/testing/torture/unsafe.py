"""Removes one safeguard from a replica, to show that a scenario then fails.

The forked process replaces the function that keeps the promise. agentd itself has no switch that
makes it unsafe. A unit test checks that every name in this module still exists.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

# A task with this text in its content does so to the process that runs it.
KILLS, BLOCKS = "kills its process", "blocks the event loop"


def remove(names: Iterable[str]) -> None:
    """Removes the safeguards of these names (keys of `SAFEGUARDS`) from this process."""
    for name in names:
        SAFEGUARDS[name]()


def quicken(ack_wait: float) -> None:
    """Makes the server deliver an unfinished task again after `ack_wait` seconds instead of 15."""
    _replace("agentd.queue.bands", "ACK_WAIT", ack_wait)
    _replace("agentd.queue.queue", "_BEAT", ack_wait / 4)


def obey_content() -> None:
    """Lets the content of a task kill the process, or block its event loop for some seconds."""
    run = _find("agentd.agent.attempt", "run")

    async def run_or_die(revision: Any, message: Any, context: Any) -> Any:
        content = str(message.payload.content)
        if KILLS in content:
            os.kill(os.getpid(), signal.SIGKILL)
        if BLOCKS in content:
            time.sleep(float(content.rpartition(" ")[2]))  # noqa: ASYNC251 (blocking is the fault)
        return await run(revision, message, context)

    _replace("agentd.agent.attempt", "run", run_or_die)


def _create_only() -> None:
    """The log accepts a second outcome of a task."""
    _change_headers(lambda headers: headers.pop("Nats-Expected-Last-Subject-Sequence", None))


def _lookup() -> None:
    """A replica calls the model without looking whether the task has its result."""

    async def never(*_: Any) -> bool:
        return False

    _replace("agentd.agent.outcome", "on_record", never)


def _heartbeat() -> None:
    """The server is not informed that a task is still running."""
    _replace("agentd.queue.queue.Queue", "hold", lambda *_: None)


def _beat_thread() -> None:
    """The event loop, not a thread, sends the heartbeats: they stop while it is blocked."""

    beat = _find("agentd.queue.in_progress.Beats", "_beat")

    def start(beats: Any) -> None:
        beats.job = asyncio.create_task(beat(beats))

    _replace("agentd.queue.in_progress.Beats", "start", start)


def _ack_last() -> None:
    """A task is acknowledged before its outcome is stored."""
    perform = _find("agentd.agent.handler.Handler", "_perform")

    async def acknowledged_before() -> None:
        return

    async def ack_first(handler: Any, delivery: Any, live: Any) -> None:
        await delivery.ack()
        delivery.ack = acknowledged_before
        await perform(handler, delivery, live)

    _replace("agentd.agent.handler.Handler", "_perform", ack_first)


def _message_id() -> None:
    """A repeated publish has another message id each time."""
    _change_headers(lambda headers: headers.update({"Nats-Msg-Id": secrets.token_hex(8)}))


def _batch() -> None:
    """The messages of one commit are stored one by one, not in an atomic batch."""
    send_one = _find("agentd.nats.jetstream", "_send_one")
    crash = importlib.import_module("agentd.crash_points")

    async def one_by_one(bus: Any, records: Any) -> int:
        sequence: int = await send_one(bus, records[0])
        for record in records[1:]:
            crash.here("mid-batch")
            await send_one(bus, record)
        return sequence

    _replace("agentd.nats.jetstream", "_send_all", one_by_one)


def _joined_once() -> None:
    """The start of a join can be recorded twice, and each start makes another task."""
    event = _find("agentd.agent.joins.Joins", "_joined_event")

    def not_create_only(joins: Any, *arguments: Any) -> Any:
        return replace(event(joins, *arguments), after=None)

    _replace("agentd.agent.joins.Joins", "_joined_event", not_create_only)


def _change_headers(change: Callable[[dict[str, str]], object]) -> None:
    all_headers = _find("agentd.nats.jetstream.Record", "all_headers")

    def changed(record: Any) -> dict[str, str]:
        headers: dict[str, str] = all_headers(record)
        change(headers)
        return headers

    _replace("agentd.nats.jetstream.Record", "all_headers", changed)


def _stream_end() -> None:
    """A stream that broke off counts as a complete answer."""
    completion = _find("agentd.models.wire.answer.AnswerParser", "completion")

    def with_an_end(answer: Any, *arguments: Any) -> Any:
        answer.finish_reason = answer.finish_reason or "stop"
        return completion(answer, *arguments)

    _replace("agentd.models.wire.answer.AnswerParser", "completion", with_an_end)


def _hops() -> None:
    """The hops and the path of a task are not checked."""
    _replace("agentd.agent.admission", "_check_path", lambda *_: None)


def _budget() -> None:
    """A call is made without checking whether enough money is left."""
    _replace("agentd.run.budget.TaskBudget", "_has_room", lambda *_: True)


SAFEGUARDS: dict[str, Callable[[], None]] = {
    "create-only": _create_only,
    "lookup": _lookup,
    "heartbeat": _heartbeat,
    "beat-thread": _beat_thread,
    "ack-last": _ack_last,
    "message-id": _message_id,
    "stream-end": _stream_end,
    "hops": _hops,
    "budget": _budget,
    "batch": _batch,
    "joined-once": _joined_once,
}


def _find(path: str, attribute: str) -> Any:
    """`attribute` of a module, or of a class in one (`agentd.queue.in_progress.Beats`)."""
    return getattr(_owner(path), attribute)


def _replace(path: str, attribute: str, new: Any) -> None:
    owner = _owner(path)
    getattr(owner, attribute)  # after a rename this raises: otherwise nothing would be removed
    setattr(owner, attribute, new)


def _owner(path: str) -> Any:
    module, _, name = path.rpartition(".")
    if name[:1].isupper():
        return getattr(importlib.import_module(module), name)
    return importlib.import_module(path)
