"""Pulls tasks: never more than can run, the most urgent first, woken by a doorbell.

A route (a domain, or one agent) has ten priority bands, each a durable consumer on WORK that every
capable replica shares, made when its first task rings. The facts that an agent hears of are a route
as well (`queue.fact_consumer`), with a consumer on LOG and one band. A band is pulled only while
there is a hint that it holds something: the bell, the count that came with the last task, or a
sweep, which also finds what does not ring (tasks handed back, a bell that was lost).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agentd.errors import BusError, SubjectError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg, Subscription
from agentd.nats.streams import SECOND, WORK
from agentd.protocol.server_subjects import Acknowledgement, next_message
from agentd.protocol.subjects import DEFAULT_PRIORITY, Subjects, parse_work
from agentd.queue.bands import ConsumerSource, Route, route_of
from agentd.queue.delivery import Delivery, delivery, settle_foreign
from agentd.queue.in_progress import Beats

log = logging.getLogger(__name__)

ACK_WAIT = 15.0  # seconds without a beat until the server delivers a task again
_BEAT = ACK_WAIT / 4
_PULL_TIMEOUT = 2.0
_IDLE_CONSUMER = 24 * 3600.0
# One pull in so many starts at the least urgent band, so that priority 0 is never starved.
_AGEING = 128


class Queue:
    """All routes of one process, and the tasks it holds."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self.bus = bus
        self.subjects = subjects
        self._routes: dict[str, Route] = {}
        self._pullers: set[Puller] = set()
        self._beats = Beats(bus.options, _BEAT)

    async def open(self) -> None:
        """Listens to the doorbell, and keeps telling the server which tasks are worked on."""
        await self.bus.subscribe(self.subjects.ring, self._on_ring)
        self.bus.on_reconnect(self._after_reconnect)
        self._beats.start()

    async def close(self) -> None:
        """Stops beating; to be called when nothing is held any more."""
        self._beats.stop()

    def puller(self) -> Puller:
        """A new worker's view of the queue; it listens to nothing yet."""
        puller = Puller(self)
        self._pullers.add(puller)
        return puller

    async def sweep(self) -> None:
        """Looks at what waits in WORK, and hints at every band of ours that holds something; of
        facts, at all: what comes again does not ring, and a consumer that nobody pulls is dropped.

        Raises:
            BusError: the server does not answer, or WORK is gone.
        """
        for route in self._routes.values():
            if route.source.stream != WORK and route.pullers:
                route.ring(DEFAULT_PRIORITY)
        pattern = self.subjects.all_work
        offset = 0
        while True:
            request = {"subjects_filter": pattern, "offset": offset}
            info = await jetstream.api(self.bus, f"STREAM.INFO.{WORK}", request)
            waiting = info["state"].get("subjects") or {}
            for subject in waiting:
                self._ring(subject)
            offset += len(waiting)
            if not waiting or offset >= int(info.get("total", 0)):
                return

    def expect(self, delivery: Delivery, delay: float) -> None:
        """Rings for a task that was handed back for `delay` seconds: the server does not."""
        # A little late rather than early: an early pull finds nothing and forgets the hint.
        route, priority = self._routes.get(delivery.route), delivery.subject.priority
        if route:
            loop = asyncio.get_running_loop()
            loop.call_later(delay + 0.05, lambda: route.ring(priority))

    def routes(self, names: Iterable[str]) -> list[Route]:
        """The routes of these names; made where they are new."""
        return [self._routes.setdefault(name, self._route(name)) for name in names]

    def facts(self, name: str, source: ConsumerSource) -> Route:
        """The route of an agent's facts, from `source` from now on."""
        route = self._routes.setdefault(name, Route(name, source))
        route.source = source
        route.ring(DEFAULT_PRIORITY)
        return route

    def take(self, msg: Msg, route: Route) -> Delivery:
        """A pulled message as a delivery, which the server hears of until it is settled.

        Raises:
            SubjectError: its subject is none of agentd's.
        """
        taken = delivery(msg, self.bus, self._beats.release, route=route.name)
        self._beats.hold(msg.reply)
        return taken

    def forget(self, puller: Puller) -> None:
        """Drops a puller that is closed."""
        self._pullers.discard(puller)

    def _route(self, name: str) -> Route:
        return Route(name, _Work(self.bus, self.subjects, name))

    async def _on_ring(self, msg: Msg) -> None:
        self._ring(msg.subject)

    def _ring(self, subject: str) -> None:
        try:
            task = parse_work(subject)
        except SubjectError:
            return  # it is pulled, and left alone, with the next one that is ours
        route = self._routes.get(route_of(task))
        if route and route.pullers:
            route.ring(task.priority)

    async def _after_reconnect(self) -> None:
        for route in self._routes.values():
            for band in route.bands:
                band.made = False
        for puller in self._pullers:
            puller.restart()
        await self.sweep()


def consumer_config(name: str, *, idle: float) -> dict[str, Any]:
    """What all consumers of agents have in common; they go when nobody pulls for `idle` seconds."""
    return {
        "durable_name": name,
        "name": name,
        "ack_policy": "explicit",
        "ack_wait": int(ACK_WAIT * SECOND),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "inactive_threshold": int(idle * SECOND),
    }


@dataclass(frozen=True)
class _Work:
    """A route's consumers on WORK."""

    bus: Bus
    subjects: Subjects
    route: str
    stream: str = WORK

    def consumer(self, priority: int) -> str:
        """`+` stands in no token, so no two routes share one."""
        return f"{self.subjects.env}+{self.route.replace('.', '+')}+{priority}"

    async def make(self, priority: int) -> None:
        name = self.consumer(priority)
        domain, _, one = self.route.partition(".")
        pattern = self.subjects.work(domain, one or None, priority=priority)
        config = {**consumer_config(name, idle=_IDLE_CONSUMER), "filter_subject": pattern}
        request = {"stream_name": WORK, "config": config}
        await jetstream.api(self.bus, f"CONSUMER.DURABLE.CREATE.{WORK}.{name}", request)


@dataclass(eq=False)
class _Pull:
    """One request for tasks under way."""

    wanted: int
    done: asyncio.Future[str]
    messages: list[Msg] = field(default_factory=lambda: list[Msg]())

    def finish(self, status: str) -> None:
        if not self.done.done():
            self.done.set_result(status)


class Puller:
    """One agent's pulls: one at a time, from the most urgent band that may hold something."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._routes: list[Route] = []
        self._bell = asyncio.Event()
        self._closed = False
        self._inbox: Subscription | None = None
        self._pull: _Pull | None = None
        self._pulls = 0

    async def listen(self, names: Iterable[str], *others: Route) -> None:
        """Listens to exactly these routes from now on (`analysis`, `_agent.analyst`)."""
        for route in self._routes:
            route.pullers.discard(self)
        self._routes = [*self._queue.routes(names), *others]
        for route in self._routes:
            route.pullers.add(self)
        try:
            await self._queue.sweep()
        except BusError as error:
            log.debug("swept once the server is back: %s", error)

    async def pull(self, most: int) -> list[Delivery]:
        """Waits for tasks and returns 1 to `most` of them, all of one band; none once closed.

        Not to be cancelled: what the server has sent would wait out its ACK_WAIT. Use `close`.
        """
        while not self._closed:
            self._bell.clear()
            for route, priority in self._hinted():
                messages = await self._try(route, priority, most)
                if taken := [each for msg in messages if (each := await self._take(msg, route))]:
                    return taken
            await self._bell.wait()
        return []

    async def _take(self, msg: Msg, route: Route) -> Delivery | None:
        try:
            return self._queue.take(msg, route)
        except SubjectError as error:
            # NATS allows more in a subject than agentd does; no result subject could be made of it.
            log.warning("ignored: %s", error)
            await settle_foreign(msg, self._queue.bus)
            return None

    async def close(self) -> None:
        """Ends a waiting pull; one that has asked the server still returns what it got."""
        self._closed = True
        for route in self._routes:
            route.pullers.discard(self)
        self._queue.forget(self)
        self.wake()

    async def close_inbox(self) -> None:
        """Takes no more answers; to be called when no pull is under way."""
        inbox, self._inbox = self._inbox, None
        if inbox:
            await inbox.close()

    def wake(self) -> None:
        """Something may be there."""
        self._bell.set()

    def restart(self) -> None:
        """The connection was made anew: what was asked for will not come."""
        if self._pull:
            self._pull.finish("restart")
        self.wake()

    def _hinted(self) -> Iterator[tuple[Route, int]]:
        self._pulls += 1
        urgent_first = range(9, -1, -1)
        order = urgent_first if self._pulls % _AGEING else reversed(urgent_first)
        # By turns, so that no route holds up another of the same urgency.
        turn = self._pulls % max(1, len(self._routes))
        routes = self._routes[turn:] + self._routes[:turn]
        for priority in order:
            for route in routes:
                if route.bands[priority].hint:
                    yield route, priority

    async def _try(self, route: Route, priority: int, most: int) -> list[Msg]:
        band = route.bands[priority]
        rung = band.rung
        try:
            if not band.made:
                await route.source.make(priority)
                band.made = True
            pull = await self._ask(route.source, priority, most)
        except BusError as error:
            log.warning("cannot pull %s: %s", route.name, error)
            await self._queue.bus.until_connected()
            await asyncio.sleep(0.1)
            self.wake()
            return []
        band.due = max(0, band.due - len(pull.messages))
        status = pull.done.result()
        if status == "503":
            band.made = False  # the consumer is gone; the next pull makes it again
        elif self._is_empty(pull) and band.rung == rung:
            band.hint = False
            route.look_again(priority)
        self.wake()
        return pull.messages

    @staticmethod
    def _is_empty(pull: _Pull) -> bool:
        if pull.messages:
            last = Acknowledgement.parse(pull.messages[-1].reply)
            # What comes a second time is not counted as pending: there may be more of it.
            return last.pending == 0 and last.deliveries == 1
        return pull.done.result() == "404"

    async def _ask(self, source: ConsumerSource, priority: int, most: int) -> _Pull:
        """Asks for up to `most` tasks and waits until the server has given all it has now."""
        if self._inbox is None:
            bus = self._queue.bus
            self._inbox = await bus.subscribe(bus.new_inbox(), self._on_message)
        self._pull = _Pull(most, asyncio.get_running_loop().create_future())
        request = json.dumps({"batch": most, "no_wait": True}).encode()
        try:
            async with asyncio.timeout(_PULL_TIMEOUT):
                consumer = source.consumer(priority)
                subject = next_message(source.stream, consumer)
                await self._queue.bus.publish(subject, request, reply=self._inbox.subject)
                # Shielded: a timeout would else cancel the future, and its result() cancel us.
                await asyncio.shield(self._pull.done)
        except TimeoutError:
            self._pull.finish("timeout")
        if self._pull.done.result() in ("timeout", "restart"):
            # Late answers to this pull must not be taken for answers to the next.
            await self.close_inbox()
        return self._pull

    async def _on_message(self, msg: Msg) -> None:
        pull = self._pull
        if pull is None:
            return
        status = msg.headers.get("Status") if msg.headers else None
        if status:
            pull.finish(status)
            return
        pull.messages.append(msg)
        if len(pull.messages) == pull.wanted:
            pull.finish("full")
