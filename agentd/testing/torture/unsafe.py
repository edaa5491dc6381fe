"""Takes one safeguard out of a replica, to show that a scenario fails without it.

This is done from outside, in the forked process, by replacing what keeps the promise: agentd itself
has no switch that makes it unsafe.
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

# A task whose content says so does this to the process that runs it.
KILLS, BLOCKS = "kills its process", "blocks the event loop"


def remove(names: Iterable[str]) -> None:
    """Takes out the safeguards of these names (keys of `SAFEGUARDS`)."""
    for name in names:
        SAFEGUARDS[name]()


def quicken(ack_wait: float) -> None:
    """Lets the server deliver again what nobody beats for after `ack_wait` seconds, not 15."""
    _replace("agentd.queue.queue", "ACK_WAIT", ack_wait)
    _replace("agentd.queue.queue", "_BEAT", ack_wait / 4)


def obey_content() -> None:
    """Lets a task's content kill the process, or keep its event loop busy for so many seconds."""
    run = _find("agentd.agent.attempt", "run")

    async def wounded(revision: Any, message: Any, context: Any) -> Any:
        content = str(message.payload.content)
        if KILLS in content:
            os.kill(os.getpid(), signal.SIGKILL)
        if BLOCKS in content:
            time.sleep(float(content.rpartition(" ")[2]))  # noqa: ASYNC251 (this is the injury)
        return await run(revision, message, context)

    _replace("agentd.agent.attempt", "run", wounded)


def _create_only() -> None:
    """A second outcome of a task is stored beside the first."""
    _change_headers(lambda headers: headers.pop("Nats-Expected-Last-Subject-Sequence", None))


def _lookup() -> None:
    """Nobody looks whether a task has its result before the model is called."""

    async def never(*_: Any) -> bool:
        return False

    _replace("agentd.agent.outcome", "on_record", never)


def _heartbeat() -> None:
    """The server hears nothing of a task until it is settled."""
    _replace("agentd.queue.in_progress.Beats", "hold", lambda *_: None)


def _beat_thread() -> None:
    """Beats come from the event loop, and stop when it is busy."""

    def start(beats: Any) -> None:
        beats.job = asyncio.create_task(beats._beat())

    _replace("agentd.queue.in_progress.Beats", "start", start)


def _ack_last() -> None:
    """A task is acknowledged before its outcome is on record."""
    perform = _find("agentd.agent.handler.Handler", "_perform")

    async def done_already() -> None:
        return

    async def careless(handler: Any, delivery: Any, live: Any) -> None:
        await delivery.ack()
        delivery.ack = done_already
        await perform(handler, delivery, live)

    _replace("agentd.agent.handler.Handler", "_perform", careless)


def _message_id() -> None:
    """A publish that is repeated has another id each time."""
    _change_headers(lambda headers: headers.update({"Nats-Msg-Id": secrets.token_hex(8)}))


def _batch() -> None:
    """What goes on record together is stored message by message."""
    send_one = _find("agentd.nats.jetstream", "_send_one")
    crash = importlib.import_module("agentd.crash_points")

    async def one_by_one(bus: Any, records: Any) -> int:
        sequence: int = await send_one(bus, records[0])
        for record in records[1:]:
            crash.here("mid-batch")
            await send_one(bus, record)
        return sequence

    _replace("agentd.nats.jetstream", "_send_batch", one_by_one)


def _joined_once() -> None:
    """The record that a join has been started can be made twice, and its task gets another id."""
    told = _find("agentd.agent.joins.Joins", "_told")

    async def forgetful(joins: Any, *arguments: Any) -> Any:
        record = await told(joins, *arguments)
        return replace(record, create=False, message_id=secrets.token_hex(8))

    _replace("agentd.agent.joins.Joins", "_told", forgetful)
    run = _find("agentd.agent.joins.Joins", "_run")

    async def anew(joins: Any, *arguments: Any) -> Any:
        return replace(await run(joins, *arguments), message_id=secrets.token_hex(8))

    _replace("agentd.agent.joins.Joins", "_run", anew)


def _change_headers(change: Callable[[dict[str, str]], object]) -> None:
    all_headers = _find("agentd.nats.jetstream.Record", "all_headers")

    def changed(record: Any) -> dict[str, str]:
        headers: dict[str, str] = all_headers(record)
        change(headers)
        return headers

    _replace("agentd.nats.jetstream.Record", "all_headers", changed)


def _stream_end() -> None:
    """A stream that broke off passes for a whole answer."""
    completion = _find("agentd.models.answer.AnswerParser", "completion")

    def credulous(answer: Any, price: Any) -> Any:
        answer.finish_reason = answer.finish_reason or "stop"
        return completion(answer, price)

    _replace("agentd.models.answer.AnswerParser", "completion", credulous)


def _hops() -> None:
    """Nobody looks how often, and by whom, a task was handed on."""
    _replace("agentd.agent.admission", "_check_path", lambda *_: None)


def _budget() -> None:
    """Nobody looks whether there is enough money left before a call."""
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
    getattr(owner, attribute)  # a safeguard that moved must not seem to be gone
    setattr(owner, attribute, new)


def _owner(path: str) -> Any:
    module, _, name = path.rpartition(".")
    if name[:1].isupper():
        return getattr(importlib.import_module(module), name)
    return importlib.import_module(path)
