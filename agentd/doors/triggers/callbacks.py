"""Posts the results of tasks to the callbacks of their triggers, also after a restart.

The log has a record of each callback that is due, stored before the task. All replicas of an agent
share a durable consumer of these records, and acknowledge one when its result is posted. The
consumer is the only state.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.doors.triggers.consumer import Consumer
from agentd.doors.triggers.draft import TriggerError
from agentd.doors.triggers.intake import CALLBACK, DOMAIN, Intake
from agentd.doors.triggers.outcome import Work
from agentd.errors import AgentdError, DecodeError, PromptError
from agentd.manifest.triggers.callback import Callback
from agentd.manifest.triggers.trigger import Trigger
from agentd.metrics import Metrics
from agentd.nats.bus import Msg
from agentd.nats.records import skipping
from agentd.nats.streams import LOG
from agentd.protocol import trace
from agentd.protocol.message import AgentMessage, decode, short_id
from agentd.protocol.result import data_of, error_of, is_success
from agentd.protocol.server_subjects import Acknowledgement
from agentd.protocol.trace import TraceContext, entered
from agentd.queue.delivery import MARK
from agentd.telemetry import active
from agentd.templates.requests.request import HttpRequest
from agentd.tools.web.addresses import Reach
from agentd.tools.web.fetch import FetchError, Web

log = logging.getLogger(__name__)

# Seconds after which a callback is given up. Less than the server keeps a consumer that nobody
# uses: one that is created again begins so far back, and must not repeat what was posted before.
LONGEST = 3 * 86400.0
_HELD = 64  # callbacks for which one process waits at a time
_HOLD = 10.0  # seconds that it waits for one before another gets its place
_TIMEOUT = 15.0  # seconds for one request; with `_HOLD` less than the consumer's ACK_WAIT
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 600.0
_MOST_READ = 64 * 1024  # bytes of an answer
_GONE = 410  # the receiver wants no more


@dataclass(frozen=True, kw_only=True)
class Due:
    """A callback that is due when the work on a task ends.

    Attributes:
        url: None if the manifest has it.
        start: a sequence in the log before the end of the work.
        since: when the task was stored, in seconds since the epoch.
    """

    kind: str
    name: str
    task: str
    url: str | None
    start: int
    since: float


class Callbacks:
    """The callbacks of one agent, in this process. `spec` returns the agent as it is now."""

    def __init__(
        self, intake: Intake, web: Web, metrics: Metrics, spec: Callable[[], AgentSpec]
    ) -> None:
        self._intake = intake
        self._web = web
        self._metrics = metrics
        self._spec = spec
        self._agent = spec().name
        subjects = intake.subjects
        start = datetime.fromtimestamp(time.time() - LONGEST, UTC).isoformat()
        self._consumer = Consumer(
            intake.bus,
            LOG,
            f"{subjects.env}+_callbacks+{self._agent}",
            subject=subjects.event(DOMAIN, self._agent),
            begin={"deliver_policy": "by_start_time", "opt_start_time": start},
        )
        self._held: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Posts what is due, until it is cancelled.

        Raises:
            BusError: the server does not answer.
        """
        await self._consumer.make()
        try:
            while True:
                async for msg in self._consumer.messages(_HELD - len(self._held)):
                    self._hold(msg)
                if len(self._held) >= _HELD:
                    await asyncio.wait(self._held, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in self._held:
                each.cancel()
            await asyncio.gather(*self._held, return_exceptions=True)

    def _hold(self, msg: Msg) -> None:
        task = asyncio.create_task(self._serve(msg))
        self._held.add(task)
        task.add_done_callback(self._held.discard)

    async def _serve(self, msg: Msg) -> None:
        """Posts one result, and settles its record."""
        pause: float | None = 0.0
        try:
            with entered(TraceContext.of(msg.headers or {})):
                pause = await self._once(msg)
        except AgentdError as error:
            log.warning("a callback waits: %s", error, extra={"agent": self._agent})
            pause = _SHORTEST_PAUSE
        except Exception:
            log.exception("a callback waits", extra={"agent": self._agent})
            pause = _LONGEST_PAUSE
        finally:
            # Also when this process ends: another replica then has the record at once.
            if pause is None:
                await self._consumer.ack(msg)
            else:
                await self._consumer.nak(msg, pause)

    async def _once(self, msg: Msg) -> float | None:
        """Waits for the end of the work and posts it; returns the pause until the next try, and
        None if there is nothing left to do."""
        due = self._due(msg)
        if due is None:
            return None
        trigger = self._trigger(due)
        if trigger is None or trigger.callback is None:
            self._give_up(due, "the manifest has this callback no more")
            return None
        age = time.time() - due.since
        if age > LONGEST:
            self._give_up(due, "its time is over")
            return None
        bus, subjects = self._intake.bus, self._intake.subjects
        work = Work(bus, subjects, due.task, until=trigger.until, start=due.start)
        end = await work.end(_HOLD)
        if end is None:
            return min(_HOLD, age / 10)
        return await self._post(due, trigger.callback, end)

    def _due(self, msg: Msg) -> Due | None:
        """The callback in a record, if a process of this environment has written it."""
        with skipping(LOG, msg):
            if (msg.headers or {}).get(MARK) == self._intake.mark(msg.data):
                return due_in(msg.data, Acknowledgement.parse(msg.reply))
            if self._is_callback(msg):
                raise DecodeError("a callback that was not written by agentd")
        return None

    def _is_callback(self, msg: Msg) -> bool:
        content = decode(msg.data).payload.content
        return isinstance(content, dict) and content.get("event") == CALLBACK

    def _trigger(self, due: Due) -> Trigger | None:
        triggers = self._spec().manifest.triggers
        wanted = (due.kind, due.name)
        return next((each for each in triggers if (each.kind, each.name) == wanted), None)

    async def _post(self, due: Due, callback: Callback, end: AgentMessage) -> float | None:
        """Posts the end of the work; returns as `_once`."""
        try:
            await self._traced(due, callback, end)
        except _Gone:
            self._give_up(due, "the receiver wants no more (410)")
            return None
        except (FetchError, PromptError, TriggerError) as error:
            self._metrics.callback(self._agent, "failed")
            # As long again as it has failed already: the pauses double.
            pause = min(max(time.time() - end.sent_at, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            text = "the callback of %s failed, next try in %.0f s: %s"
            log.warning(text, short_id(due.task), pause, error, extra={"agent": self._agent})
            return pause
        self._metrics.callback(self._agent, "posted")
        return None

    async def _traced(self, due: Due, callback: Callback, end: AgentMessage) -> None:
        """Posts the end of the work once, in a span of its own where there are spans."""
        if active.tracer is None:
            return await self._request(due, callback, end)
        with active.tracer.post(due.url or callback.url or ""):
            return await self._request(due, callback, end)

    async def _request(self, due: Due, callback: Callback, end: AgentMessage) -> None:
        """Posts the end of the work once.

        Raises:
            FetchError: there is no answer, or it is not a success.
            PromptError, TriggerError: the body cannot be made.
        """
        url = due.url or callback.url
        # A receiver can tell by the id that a result comes a second time.
        own = {"Content-Type": "application/json", "Webhook-Id": due.task, **trace.headers()}
        request = HttpRequest(
            "POST", url, {**own, **callback.headers}, self._body(callback, end, due)
        )
        try:
            async with asyncio.timeout(_TIMEOUT):
                reach = Reach.of(callback.allow_private)
                reply = await self._web.fetch(request, reach, most=_MOST_READ)
        except TimeoutError:
            raise FetchError(f"no answer within {_TIMEOUT:g} s") from None
        except ValueError:
            raise FetchError("the URL of the callback is not valid") from None
        if reply.status == _GONE:
            raise _Gone
        # After a redirect the request may have been another one, without the result.
        if reply.url != url:
            raise FetchError(f"{reply.host} was reached by a redirect: give the last URL")
        if not 200 <= reply.status < 300:
            raise FetchError(f"{reply.host} answered {reply.status} {reply.reason}")

    def _body(self, callback: Callback, end: AgentMessage, due: Due) -> bytes:
        """The body of the request.

        Raises:
            PromptError, TriggerError: its expression fails, or gives a value that is not JSON.
        """
        values = values_of(end, due.task)
        if callback.body:
            given = self._spec().expressions[callback.body].evaluate(values)
            return _json(given)
        return _json({name: value for name, value in values.items() if value is not None})

    def _give_up(self, due: Due, why: str) -> None:
        self._metrics.callback(self._agent, "given_up")
        text = "the callback of %s is given up: %s"
        log.error(text, short_id(due.task), why, extra={"agent": self._agent})


class _Gone(AgentdError):
    """The receiver answered that it wants no more."""


def due_in(data: bytes, stored: Acknowledgement) -> Due:
    """The callback in a record that `Intake` wrote."""
    content: dict[str, Any] = decode(data).payload.content
    return Due(
        kind=content["kind"],
        name=content["name"],
        task=content["task"],
        url=content.get("url"),
        start=stored.sequence,
        since=stored.stored_at,
    )


def values_of(end: AgentMessage, task: str) -> Mapping[str, Any]:
    """What the body of a callback says: `task`, `success`, and `data` or `error`."""
    if is_success(end):
        return {"task": task, "success": True, "data": data_of(end), "error": None}
    code, text = error_of(end)
    error = {"code": code, "message": text}
    return {"task": task, "success": False, "data": None, "error": error}


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise TriggerError(f"the body of the callback is not JSON: {error}") from None
