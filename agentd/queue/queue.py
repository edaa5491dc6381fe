"""Pulls tasks: never more than can run, the most urgent first, woken by a doorbell.

A route (a domain, or one agent) has ten priority bands. Each band is a durable consumer on WORK,
shared by all replicas and created when its first task rings. The facts that an agent subscribes to
are a route as well (`queue.fact_consumer`), with one band on a consumer of LOG. A band is pulled
only while there is a hint that it holds something: the doorbell, the count that came with the last
task, or a sweep. The sweep also finds tasks that were handed back, and those whose ring was lost.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from agentd.errors import BusError, SubjectError
from agentd.nats.bus import Bus, Msg, Subscription, status_of
from agentd.nats.records import skipped
from agentd.nats.streams import WORK
from agentd.protocol.server_subjects import Acknowledgement, is_acknowledgement, next_message
from agentd.protocol.subjects import DEFAULT_PRIORITY, Subjects, is_token, parse_work
from agentd.queue import bands, held
from agentd.queue.bands import ConsumerSource, Route, WorkConsumers, route_of
from agentd.queue.delivery import Delivery, delivery, settle_foreign
from agentd.queue.in_progress import Beats

log = logging.getLogger(__name__)

_BEAT = bands.ACK_WAIT / 4
_PULL_TIMEOUT = 2.0
_AGEING = 128  # one pull in so many starts at the least urgent band, so that none is starved


class Queue:
    """All routes of one process, and the deliveries that it holds."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self.bus = bus
        self.subjects = subjects
        self._routes: dict[str, Route] = {}
        self._pullers: set[Puller] = set()
        self._beats = Beats(bus.options, _BEAT)

    async def open(self) -> None:
        """Listens to the doorbell, and starts to report held deliveries as in progress."""
        await self.bus.listen(self.subjects.ring, self._on_ring)
        self.bus.on_reconnect("pulls", self._after_reconnect)
        self._beats.start()

    async def close(self) -> None:
        """Ends the progress reports; to be called when nothing is held any more."""
        self._beats.stop()

    def puller(self) -> Puller:
        """A new puller, which listens to no route yet."""
        puller = Puller(self)
        self._pullers.add(puller)
        return puller

    async def sweep(self) -> list[str]:
        """Hints at each of our bands that holds something in WORK. Returns the subjects there that
        no agent can pull: their domain is outside the grammar.
        Fact routes are always hinted at: a redelivered fact does not ring, and the server deletes a
        consumer that is never pulled.

        Raises:
            BusError: the server does not answer, or WORK was deleted.
        """
        for route in self._routes.values():
            if route.source.stream != WORK and route.pullers:
                route.ring(DEFAULT_PRIORITY)
        waiting = await held.counts(self.bus, WORK, self.subjects.all_work)
        for subject in waiting:
            self._ring(subject)
        return [each for each in waiting if not is_token(each.split(".")[2])]

    def expect(self, delivery: Delivery, delay: float) -> None:
        """Rings for a task that was handed back, when its `delay` is over: the server does not."""
        # A little late rather than early: an early pull finds nothing and clears the hint.
        route, priority = self._routes.get(delivery.route), delivery.subject.priority
        if route:
            loop = asyncio.get_running_loop()
            loop.call_later(delay + 0.05, lambda: route.ring(priority))

    def routes(self, names: Iterable[str]) -> list[Route]:
        """The routes of these names; new ones are created."""
        made = ((name, Route(name, WorkConsumers(self.bus, self.subjects, name))) for name in names)
        return [self._routes.setdefault(name, route) for name, route in made]

    @property
    def open_routes(self) -> tuple[Route, ...]:
        """All routes that this process has opened."""
        return tuple(self._routes.values())

    def facts(self, name: str, source: ConsumerSource) -> Route:
        """The route of an agent's facts, pulled from `source` from now on."""
        route = self._routes.setdefault(name, Route(name, source))
        route.source = source
        route.ring(DEFAULT_PRIORITY)
        return route

    def hold(self, msg: Msg) -> None:
        """Reports a pulled message as in progress from now on."""
        self._beats.held.add(msg.reply)

    def release(self, msg: Msg) -> None:
        """Stops reporting a pulled message as in progress."""
        self._beats.held.discard(msg.reply)

    def take(self, msg: Msg, route: Route) -> Delivery:
        """A held message as a delivery.

        Raises:
            SubjectError: its subject is not one of agentd's.
        """
        return delivery(msg, self.bus, self._beats.held.discard, route=route.name)

    def forget(self, puller: Puller) -> None:
        """Forgets a closed puller."""
        self._pullers.discard(puller)

    def _on_ring(self, msg: Msg) -> None:
        self._ring(msg.subject)

    def _ring(self, subject: str) -> None:
        try:
            task = parse_work(subject)
        except SubjectError:
            return  # a stranger rings
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


@dataclass(eq=False)
class _Pull:
    """One pull request that has not been answered completely."""

    wanted: int
    asked: float  # when, by the clock of the event loop
    done: asyncio.Future[str]
    messages: list[Msg] = field(default_factory=lambda: list[Msg]())

    def finish(self, status: str) -> None:
        if not self.done.done():
            self.done.set_result(status)


class Puller:
    """The pulls of one agent: one at a time, from the most urgent band that may hold something."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._routes: list[Route] = []
        self._bell = asyncio.Event()
        self._closed = False
        self._inbox: Subscription | None = None
        self._pull: _Pull | None = None
        self._pulls = 0

    async def listen(self, names: Iterable[str], *others: Route) -> None:
        """Listens to exactly these routes from now on, for example `analysis`, `_agent.analyst`."""
        for route in self._routes:
            route.pullers.discard(self)
        self._routes = [*self._queue.routes(names), *others]
        for route in self._routes:
            route.pullers.add(self)
        try:
            await self._queue.sweep()
        except BusError as error:
            log.debug("the sweep waits until the server is back: %s", error)

    async def pull(self, most: int) -> list[Delivery]:
        """Waits for tasks and returns 1 to `most` of them, all of one band; none once closed.
        Must not be cancelled: tasks that the server has sent would wait for their ACK_WAIT. Use
        `close` instead.
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
        except (SubjectError, ValueError) as error:
            skipped(route.source.stream, msg.subject, error)
            self._queue.release(msg)
            await settle_foreign(msg, self._queue.bus)
            return None

    async def close(self) -> None:
        """Ends a waiting pull. A pull that has asked the server still returns what it gets."""
        self._closed = True
        for route in self._routes:
            route.pullers.discard(self)
        self._queue.forget(self)
        self.wake()

    async def close_inbox(self) -> None:
        """Ends the subscription for answers; to be called when no pull is under way."""
        inbox, self._inbox = self._inbox, None
        if inbox:
            await inbox.close()

    def wake(self) -> None:
        """Looks at the bands again: one may hold something."""
        self._bell.set()

    def restart(self) -> None:
        """Gives up the pull under way: after a reconnect, its answer will not come."""
        if self._pull:
            self._pull.finish("restart")
        self.wake()

    def _hinted(self) -> Iterator[tuple[Route, int]]:
        self._pulls += 1
        urgent_first = range(9, -1, -1)
        order = urgent_first if self._pulls % _AGEING else reversed(urgent_first)
        # Round robin, so that no route starves another one of the same priority.
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
            band.made = False  # the consumer was deleted; the next pull creates it again
        elif self._is_empty(pull) and band.rung == rung:
            band.hint = False
            route.look_again(priority)
        self.wake()
        return pull.messages

    @staticmethod
    def _is_empty(pull: _Pull) -> bool:
        if pull.messages:
            last = Acknowledgement.parse(pull.messages[-1].reply)
            # Redelivered messages are not counted as pending: there may be more of them.
            return last.pending == 0 and last.deliveries == 1
        return pull.done.result() == "404"

    async def _ask(self, source: ConsumerSource, priority: int, most: int) -> _Pull:
        """Asks for up to `most` tasks, and waits until the server has sent all it has now."""
        if self._inbox is None:
            bus = self._queue.bus
            self._inbox = await bus.listen(bus.new_inbox(), self._on_message)
        loop = asyncio.get_running_loop()
        self._pull = _Pull(most, loop.time(), loop.create_future())
        request = json.dumps({"batch": most, "no_wait": True}).encode()
        try:
            async with asyncio.timeout(_PULL_TIMEOUT):
                consumer = source.consumer(priority)
                subject = next_message(source.stream, consumer)
                await self._queue.bus.publish(subject, request, reply=self._inbox.subject)
                # Shielded: otherwise a timeout cancels the future, and its result() cancels us.
                await asyncio.shield(self._pull.done)
        except TimeoutError:
            self._pull.finish("timeout")
        if self._pull.done.result() in ("timeout", "restart"):
            # Late answers to this pull must not count as answers to the next one.
            await self.close_inbox()
        return self._pull

    def _on_message(self, msg: Msg) -> None:
        pull = self._pull
        if pull is None:
            return
        if not is_acknowledgement(msg.reply):  # a task may have a header `Status` too
            if status := status_of(msg):
                pull.finish(status)
            return
        # Until it is held, nothing reports a delivery as in progress. If the event loop was blocked
        # meanwhile, another replica may have it by now, and call the model.
        if asyncio.get_running_loop().time() - pull.asked > bands.ACK_WAIT / 2:
            log.warning("the event loop was blocked: %s will be delivered again", msg.subject)
            return
        self._queue.hold(msg)
        pull.messages.append(msg)
        if len(pull.messages) == pull.wanted:
            pull.finish("full")
