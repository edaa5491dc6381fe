"""The result of a task, found by the id of the task alone."""

from __future__ import annotations

from agentd.errors import DecodeError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.records import skipping
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage, decode
from agentd.protocol.subjects import Subjects, token


def pattern(subjects: Subjects, task: str) -> str:
    """The subjects that the result of a task may have.

    Raises:
        SubjectError: `task` cannot be the id of a task.
    """
    return subjects.pattern(f"result.*.*.{token(task, 'task id')}")


async def find(bus: Bus, subjects: Subjects, task: str) -> AgentMessage | None:
    """The result that the log has; None if there is none yet. A large answer in it is not fetched.

    Raises:
        BusError: the server does not answer.
    """
    on_record = pattern(subjects, task)
    newest = await jetstream.last(bus, LOG, on_record)
    if newest is None:
        return None
    if result := parsed(newest):
        return result
    # Anyone may have written the newest one.
    async for msg in jetstream.stored(bus, LOG, on_record):
        if result := parsed(msg):
            return result
    return None


def parsed(msg: Msg) -> AgentMessage | None:
    """The result in a message; None if it is none."""
    with skipping(LOG, msg):
        result = decode(msg.data, type="result")
        if isinstance(result.payload.content, dict) and "success" in result.payload.content:
            return result
        raise DecodeError("it does not say whether the task succeeded")
    return None
