"""Makes the task of a closed join from its facts in the log, or the reason why it fails."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentd.agent.fan_out import Fact, common, places_of
from agentd.agent.join_state import Gathering
from agentd.errors import DecodeError, SubjectError, TaskError
from agentd.manifest.flow import Join
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.jetstream import ApiError
from agentd.nats.objects import whole
from agentd.nats.records import headers_in, skipped
from agentd.nats.streams import LOG
from agentd.protocol.message import (
    AgentIdentity,
    AgentMessage,
    Context,
    Routing,
    decode,
    encode,
    new,
)
from agentd.protocol.subjects import Subject
from agentd.protocol.trace import TraceContext

log = logging.getLogger(__name__)

_LARGEST = 32 * 1024**2  # bytes of all facts of a join together
_AT_ONCE = 16  # facts that are read at the same time

_WHY: Mapping[str, str] = {
    "timeout": "not all facts arrived within {timeout:g} s (join.timeout); missing: {missing}",
    "too_many": "{count:,} facts arrived, and the join is not complete; missing: {missing}",
    "too_large": "the facts have more than {limit:,} bytes together",
}


@dataclass(frozen=True)
class Found:
    """A fact with its message from LOG, and the span that it was sent from."""

    subject: Subject
    message: AgentMessage
    size: int
    trace: TraceContext | None = None


async def read(bus: Bus, facts: Sequence[Fact]) -> list[Found]:
    """The facts from the log. Those that the log no longer has are left out.

    Raises:
        BusError: the log does not answer.
    """
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(fact: Fact) -> Found | None:
        async with room:
            return await _find(bus, fact.sequence)

    found = await asyncio.gather(*map(one, facts))
    return [each for each in found if each is not None]


async def _find(bus: Bus, sequence: int) -> Found | None:
    try:
        answer = await jetstream.api(bus, f"STREAM.MSG.GET.{LOG}", {"seq": sequence})
    except ApiError as error:
        log.warning("fact %d is no longer in the log: %s", sequence, error)
        return None
    stored = answer["message"]
    try:
        subject = Subject.parse(stored["subject"])
        kind = "result" if subject.type == "result" else "event"
        data = base64.b64decode(stored.get("data", ""))
        message = await whole(bus, decode(data, type=kind, id=str(sequence)))
    except (DecodeError, SubjectError, TaskError) as error:
        skipped(LOG, stored["subject"], error, sequence)
        return None
    headers = headers_in(stored.get("hdrs", ""))
    return Found(subject, message, len(encode(message)), TraceContext.of(headers))


def task_of(
    name: str,
    gathering: Gathering,
    facts: Sequence[Found],
    join: Join,
    *,
    agent: str,
    source: AgentIdentity,
) -> AgentMessage:
    """The task of a join. Where its facts differ, it takes the strictest value: the most hops, the
    highest priority."""
    content = {
        "complete": gathering.closed == "complete",
        "missing": list(gathering.missing),
        "facts": [_shown(each) for each in facts],
    }
    if not facts:
        return new("task", content, source=source, id=name)
    last = max(facts, key=lambda each: each.message.context.hops).message
    inner = len(gathering.in_order(join)[0].branch) if join.count == "all" else 0
    shared = common([places_of(each.message) for each in facts])
    outer = min(shared, len(facts[0].message.context.siblings) - inner)
    context = Context(
        conversation_id=last.context.conversation_id,
        parent_message_id=last.id,
        metadata=last.context.metadata,
        hops=last.context.hops,
        path=last.context.path,
        siblings=facts[0].message.context.siblings[: max(0, outer)],
    )
    most_urgent = max(each.message.routing.priority for each in facts)
    return new(
        "task",
        content,
        source=source,
        id=name,
        target=agent,
        correlation_id=last.correlation_id or last.id,
        context=context,
        routing=Routing(priority=most_urgent),
    )


def failure_of(gathering: Gathering, facts: Sequence[Found], join: Join) -> TaskError | None:
    """Why the join fails; None if it is run."""
    why = "" if gathering.closed == "complete" else gathering.closed
    if why == "timeout" and join.on_timeout == "run":
        why = ""
    if sum(each.size for each in facts) > _LARGEST:
        why = "too_large"
    if not why:
        return None
    text = _WHY[why].format(
        timeout=join.timeout,
        missing=", ".join(gathering.missing),
        count=len(gathering.facts),
        limit=_LARGEST,
    )
    return TaskError(text, code=f"join_{why}")


def _shown(fact: Found) -> dict[str, Any]:
    """A fact as the prompt of a join sees it."""
    subject, message = fact.subject, fact.message
    shown: dict[str, Any] = {
        "subject": f"{subject.type}.{subject.domain}.{subject.specificity}",
        "agent": message.source.id,
    }
    content = message.payload.content
    if subject.type == "result" and isinstance(content, dict) and "success" in content:
        shown |= {"success": content["success"], "data": content.get("data")}
        return shown if content["success"] else {**shown, "error": content.get("error")}
    return {**shown, "success": True, "data": content}
