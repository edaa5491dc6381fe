"""The memory of a conversation: its exchanges on record, and summaries of the older ones.

`event.conversation.{digest of its id}` has an event for each exchange, whichever agent answered;
`event.summary.{digest of its id and the agent}` has an agent's summaries of the older exchanges.
The log cannot be searched by a field of its messages, hence these subjects. Nothing is deleted.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from agentd.errors import BusError, TaskError
from agentd.manifest.limits import History
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.jetstream import Record
from agentd.nats.objects import fit, whole
from agentd.nats.records import skipping
from agentd.nats.schedules import is_from_schedule
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentIdentity, AgentMessage, decode
from agentd.protocol.subjects import Subjects, digest
from agentd.run.history import Exchange, Past, divided, shortened, trimmed

log = logging.getLogger(__name__)

EXCHANGE, SUMMARY = "conversation_exchange", "conversation_summary"

# The most tokens to read of a conversation that was never summarised; the newest are kept.
_MOST_READ = 50_000
# So many exchanges that no longer fit are noted, so that they are not read again every time.
_MANY = 100
_PATIENCE = 5.0  # seconds to store a summary: the sender is waiting for the answer

Summarize = Callable[[Past], Awaitable[str]]


class Memory:
    """The memory that one agent has of the conversation of a message."""

    def __init__(
        self, bus: Bus, subjects: Subjects, message: AgentMessage, *, agent: AgentIdentity
    ) -> None:
        conversation = message.context.conversation_id
        self._bus = bus
        self._message = message
        self._agent = agent
        self._conversation = digest(conversation)
        self._exchanges = subjects.event("conversation", self._conversation)
        self._mine = digest(f"{conversation}\n{agent.id}")
        self._summaries = subjects.event("summary", self._mine)

    async def exchange(self, user: str, answer: str) -> Record:
        """The record of this exchange, to be stored in one batch with the result.

        Raises:
            BusError: the exchange is large, and the object store does not take it.
        """
        message = self._message
        content = {
            "event": EXCHANGE,
            "task": message.id,
            "parent": message.context.parent_message_id,
            "from": {"id": message.source.id, "type": message.source.type},
            "agent": self._agent.id,
            "user": user,
            "assistant": answer,
            "at": message.sent_at,
        }
        event = message.reply("event", content, source=self._agent)
        return Record(
            subject=self._exchanges,
            data=await fit(self._bus, event),
        )

    async def recall(self, limits: History, summarize: Summarize) -> Past:
        """The earlier exchanges, within the limits.

        If there are more, `summarize` is called once to condense the older ones, and the summary is
        stored for the next task. If that fails, the run continues without a summary.

        Raises:
            BusError: the log does not answer.
        """
        past = await self._read(limits)
        older, newer = divided(past, limits)
        if older.exchanges and limits.compact == "summarize":
            try:
                summary = shortened(await summarize(older), limits)
            except TaskError as error:
                log.warning(
                    "%s continues without a summary: %s: %s", self._message.id, error.code, error
                )
            else:
                await self._keep(summary, older.exchanges[-1].sequence)
                return trimmed(replace(newer, summary=summary), limits)
        shown = trimmed(past, limits)
        passed_over = len(past.exchanges) - len(shown.exchanges)
        if limits.compact == "trim" and passed_over >= _MANY:
            await self._keep(past.summary, past.exchanges[passed_over - 1].sequence)
        return shown

    async def _read(self, limits: History) -> Past:
        """The last summary, and the exchanges that it does not cover."""
        summary, covers = await self._summary()
        exchanges, tokens = deque[Exchange](), 0
        start = max(0, covers) + 1
        async for msg in jetstream.stored(self._bus, LOG, self._exchanges, start=start):
            exchange = await self._exchange_in(msg)
            if exchange is None:
                continue
            exchanges.append(exchange)
            tokens += exchange.tokens
            while tokens > max(_MOST_READ, 2 * limits.max_tokens) and len(exchanges) > 1:
                tokens -= exchanges.popleft().tokens
        return Past(shortened(summary, limits), tuple(exchanges))

    async def _summary(self) -> tuple[str, int]:
        """The newest summary, and the sequence in the log of the last exchange that it covers."""
        msg = await jetstream.last(self._bus, LOG, self._summaries)
        match msg and await self._content(msg):
            case {"event": "conversation_summary", "summary": str(summary), "covers": int(covers)}:
                return summary, covers
            case _:
                return "", 0

    async def _exchange_in(self, msg: Msg) -> Exchange | None:
        """The exchange in an event. Exchanges of tasks that this task has sent itself are left out,
        so that a repeated run begins with the same chat."""
        content = await self._content(msg)
        match content:
            case {
                "event": "conversation_exchange",
                "agent": str(agent),
                "user": str(user),
                "assistant": str(answer),
            } if content.get("parent") != self._message.id:
                sequence = int((msg.headers or {})["Nats-Sequence"])
                return Exchange(self._turns(content.get("from"), user, agent, answer), sequence)
            case _:
                return None

    def _turns(self, asker: Any, user: str, agent: str, answer: str) -> tuple[dict[str, Any], ...]:
        """An exchange as this agent's model sees it: the words of other agents are user turns, each
        with the agent's name in front."""
        if isinstance(asker, dict) and asker.get("type") == "agent":
            user = f"[{asker.get('id')}] {user}"
        own = agent == self._agent.id
        turns = (
            {"role": "user", "content": user},
            {
                "role": "assistant" if own else "user",
                "content": answer if own else f"[{agent}] {answer}",
            },
        )
        return tuple(turn for turn in turns if turn["content"])

    async def _content(self, msg: Msg) -> Any:
        """The content of an event; None if it is not valid, or its object was lost."""
        if is_from_schedule(msg):
            return None
        with skipping(LOG, msg):
            return (await whole(self._bus, decode(msg.data))).payload.content
        return None

    async def _keep(self, summary: str, covers: int) -> None:
        """Stores a summary: exchanges up to `covers` are not read again. A failure is logged."""
        content = {
            "event": SUMMARY,
            "agent": self._agent.id,
            "summary": summary,
            "covers": covers,
        }
        event = self._message.reply("event", content, source=self._agent)
        try:
            await jetstream.store(
                self._bus,
                self._summaries,
                await fit(self._bus, event),
                message_id=event.id,
                patience=_PATIENCE,
            )
        except BusError as error:
            log.warning("a summary was not stored: %s", error)
