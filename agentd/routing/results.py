"""The result of a task, found by the id of the task alone."""

from __future__ import annotations

from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.records import skipping
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage
from agentd.protocol.result import decode_result
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
    # Anyone may have written the newest one.
    return parsed(newest) or await first(bus, on_record)


async def first(bus: Bus, on_record: str) -> AgentMessage | None:
    """The first result on these subjects, if there is one among what the log has there.

    Raises:
        BusError: the server does not answer.
    """
    async for msg in jetstream.stored(bus, LOG, on_record):
        if result := parsed(msg):
            return result
    return None


def parsed(msg: Msg) -> AgentMessage | None:
    """The result in a message; None if it is none."""
    with skipping(LOG, msg):
        return decode_result(msg.data)
    return None
