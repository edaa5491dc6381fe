"""Starts tasks for messages on a subject of other programs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.doors.triggers.consumer import Consumer
from agentd.doors.triggers.delivery import Delivery, of_message
from agentd.doors.triggers.draft import TriggerError, draft
from agentd.doors.triggers.intake import Intake, may_pass
from agentd.errors import BusError, DecodeError, TaskError
from agentd.manifest.triggers.trigger import Trigger
from agentd.metrics import Metrics
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.protocol.message import new_id
from agentd.protocol.server_subjects import Acknowledgement
from agentd.protocol.subjects import matches
from agentd.protocol.trace import TraceContext, entered

log = logging.getLogger(__name__)

_BATCH = 64  # messages that one pull asks for
_LOOK = 30.0  # seconds between two looks whether a stream holds the subject
_PAUSE = 5.0  # seconds until a message that could not be stored is delivered again


class NatsSource:
    """One trigger on a subject, in this process. `spec` returns the agent as it is now."""

    def __init__(
        self, intake: Intake, metrics: Metrics, trigger: Trigger, spec: Callable[[], AgentSpec]
    ) -> None:
        self._intake = intake
        self._metrics = metrics
        self._trigger = trigger
        self._spec = spec
        self._subject = trigger.name
        self._agent = spec().name
        # Subjects may have wildcards and be long; names of consumers and groups may not.
        self._key = hashlib.sha256(self._subject.encode()).hexdigest()[:16]
        self._pulled: dict[str, float] = {}  # since when, by the name of the stream
        self._warned = ""

    async def run(self) -> None:
        """Starts tasks until it is cancelled. Streams may come and go meanwhile.

        Raises:
            BusError: the server does not answer.
        """
        while True:
            streams = await streams_of(self._intake.bus, self._subject)
            self._warn_of_gaps(streams)
            if not streams:
                await self._listen()
                continue
            pulls = [asyncio.create_task(self._pull(*each)) for each in streams.items()]
            try:
                await asyncio.gather(*pulls)
            finally:
                for each in pulls:
                    each.cancel()
                await asyncio.gather(*pulls, return_exceptions=True)

    async def _listen(self) -> None:
        """Takes messages that no stream holds: one process gets each, and none gets it again."""
        bus, group = self._intake.bus, f"{self._intake.subjects.group}.{self._agent}.{self._key}"

        async def receive(msg: Msg) -> None:
            await self._take(msg, (msg.headers or {}).get("Nats-Msg-Id") or new_id())

        listening = await bus.subscribe(self._subject, receive, group)
        try:
            held = False
            while not held:
                await asyncio.sleep(_LOOK)
                with contextlib.suppress(BusError):  # the subscription outlives the connection
                    held = bool(await streams_of(bus, self._subject))
        finally:
            await listening.close()

    async def _pull(self, stream: str, config: Mapping[str, Any]) -> None:
        """Takes the messages of a stream for a while."""
        name = f"{self._intake.subjects.env}+_trigger+{self._agent}+{self._key}"
        begin = self._begin(stream, config)
        consumer = Consumer(self._intake.bus, stream, name, subject=self._subject, begin=begin)
        await consumer.make()
        self._pulled.setdefault(stream, time.time())
        until = asyncio.get_running_loop().time() + _LOOK
        while asyncio.get_running_loop().time() < until:
            async for msg in consumer.messages(_BATCH):
                stored = Acknowledgement.parse(msg.reply)
                # With the time: a stream that was deleted and made again counts from 1.
                identity = f"{stream} {stored.sequence} {stored.stored_at}"
                if await self._take(msg, identity):
                    await consumer.ack(msg)
                else:
                    await consumer.nak(msg, _PAUSE)

    def _begin(self, stream: str, config: Mapping[str, Any]) -> Mapping[str, str]:
        """Where a new consumer begins: with what is new, or with what is new since this process
        has pulled from the stream: somebody may have deleted the consumer, or the stream."""
        if config.get("retention") == "workqueue":
            return {"deliver_policy": "all"}  # the server accepts no other on a work queue
        if stream not in self._pulled:
            return {"deliver_policy": "new"}
        start = datetime.fromtimestamp(self._pulled[stream], UTC).isoformat()
        return {"deliver_policy": "by_start_time", "opt_start_time": start}

    async def _take(self, msg: Msg, delivery_id: str) -> bool:
        """Starts the task of a message; False if that may work later."""
        try:
            delivery = of_message(msg.subject, msg.headers or {}, msg.data, delivery_id)
            with entered(TraceContext.of(msg.headers or {})):
                outcome = await self._start(delivery)
        except (BusError, DecodeError, TaskError, TriggerError) as error:
            subject = msg.subject[:200]
            if may_pass(error):
                log.warning("no task for a message on %s yet: %s", subject, error)
                self._count("failed")
                return False
            log.error("no task for a message on %s: %s", subject, error)
            outcome = "refused"
        self._count(outcome)
        return True

    async def _start(self, delivery: Delivery) -> str:
        planned = draft(self._spec(), self._trigger, delivery)
        if planned is None:
            return "ignored"
        return "repeated" if (await self._intake.accept(planned)).repeated else "accepted"

    def _count(self, outcome: str) -> None:
        self._metrics.trigger("nats", self._trigger.name, outcome)

    def _warn_of_gaps(self, streams: Mapping[str, Mapping[str, Any]]) -> None:
        """Says, once, what a trigger with wildcards does not get: what no stream holds."""
        covered = any(
            matches(held, self._subject)
            for config in streams.values()
            for held in config.get("subjects") or ()
        )
        text = "" if covered or not streams else ", ".join(sorted(streams))
        if text and text != self._warned:
            log.warning(
                "%s hold only a part of %s: other messages are not seen", text, self._subject
            )
        self._warned = text


async def streams_of(bus: Bus, subject: str) -> dict[str, Mapping[str, Any]]:
    """The streams that hold messages on this subject, with their configurations.

    Raises:
        BusError: the server does not answer.
    """
    found = await jetstream.api(bus, "STREAM.LIST", {"subject": subject})
    streams = (each["config"] for each in found.get("streams") or ())
    return {
        config["name"]: config for config in streams if re.fullmatch(r"[^\s.*>]+", config["name"])
    }
