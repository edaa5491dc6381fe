"""The facts that an agent subscribes to: its consumer on LOG, and their doorbell."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from agentd.errors import BusError
from agentd.manifest.agent import Manifest
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg, Subscription
from agentd.nats.jetstream import ApiError
from agentd.nats.streams import LOG
from agentd.protocol.subjects import DEFAULT_PRIORITY, RUNTIME_EVENTS, Subject, Subjects, matches
from agentd.queue.bands import Route, consumer_config
from agentd.queue.queue import Queue

log = logging.getLogger(__name__)

DUE = "join_due"

_IDLE = 7 * 86400.0  # seconds that an agent's place in the log is kept without a replica
# A consumer that was deleted is created again this far back. A fact that has been handled has an
# outcome on record, so it is not run twice.
_LOOK_BACK = 3600.0
_NO_CONSUMER, _THERE_ALREADY = (10014, 10149), (10148, 10105)


def patterns(manifest: Manifest) -> tuple[str, ...]:
    """The patterns of the facts that an agent subscribes to, for example `result.research.*`."""
    found = [*manifest.subscribe.to] if manifest.subscribe else []
    if manifest.join:
        found += [*manifest.join.wait_for, f"event.{DUE}.{manifest.name}"]
    return tuple(found)


def wanted(facts: Iterable[str], subject: Subject) -> str | None:
    """The pattern that a fact matches. The events of agentd itself match only a pattern that names
    their domain: `event.*.*` would make an agent run for its own run events."""
    topic = f"{subject.type}.{subject.domain}.{subject.specificity}"
    for pattern in facts:
        by_wildcard = pattern.startswith("event.*") and subject.domain in RUNTIME_EVENTS
        if matches(pattern, topic) and not by_wildcard:
            return pattern
    return None


def asked(facts: Iterable[str], subject: Subject) -> bool:
    """Whether the consumer delivers this fact: one of the patterns matches, wanted or not."""
    topic = f"{subject.type}.{subject.domain}.{subject.specificity}"
    return any(matches(pattern, topic) for pattern in facts)


def filters(facts: Iterable[str]) -> list[str]:
    """The filter subjects of the consumer, below `agents.{env}.`. The server refuses a filter that
    another one covers, so those are left out."""
    found = {f"{fact}.*" if fact.startswith("result.") else fact for fact in facts}
    return sorted(
        each for each in found if not any(matches(other, each) for other in found - {each})
    )


async def heard_by(bus: Bus, env: str, agent: str) -> tuple[str, ...]:
    """The facts that an agent subscribes to, as its consumer on the server says.

    Raises:
        BusError: the server does not answer.
    """
    try:
        info = await jetstream.api(bus, f"CONSUMER.INFO.{LOG}.{_name(env, agent)}")
    except ApiError as error:
        if error.code in _NO_CONSUMER:
            return ()
        raise
    subjects = Subjects(env)
    # Anyone may have made a consumer of this name, with any filters.
    filtered = info["config"].get("filter_subjects", ())
    ours = (each for each in filtered if matches(subjects.everything, each))
    found = (subjects.relative(each).split(".")[:3] for each in ours)
    return tuple(".".join(parts) for parts in found if DUE not in parts)


def _name(env: str, agent: str) -> str:
    return f"{env}+_facts+{agent}"


class FactConsumer:
    """The subscription of one agent to facts, in this process. All replicas share one durable
    consumer, so that each fact is handled once."""

    def __init__(self, queue: Queue, agent: str) -> None:
        self._queue = queue
        self._agent = agent
        self._heard: tuple[str, ...] = ()
        self._doorbells: list[Subscription] = []
        self._routes: list[Route] = []

    async def listen(self, manifest: Manifest) -> list[Route]:
        """Subscribes to the facts of this manifest; returns their route, if there are any."""
        facts = patterns(manifest)
        if facts == self._heard:
            return self._routes
        await self.close()
        self._heard = facts
        if facts:
            since = manifest.subscribe.since if manifest.subscribe else None
            source = _Facts(self._queue.bus, self._queue.subjects, self._agent, facts, since)
            route = self._queue.facts(f"_facts.{self._agent}", source)
            await self._subscribe_doorbells(facts, route)
            await self._make(route)
            self._routes = [route]
        return self._routes

    async def close(self) -> None:
        """Ends the subscription here. The durable consumer stays, for the next replica."""
        self._heard, self._routes = (), []
        bells, self._doorbells = self._doorbells, []
        for bell in bells:
            await bell.close()

    async def _subscribe_doorbells(self, facts: Iterable[str], route: Route) -> None:
        def ring(_: Msg) -> None:
            route.ring(DEFAULT_PRIORITY)

        bus, subjects = self._queue.bus, self._queue.subjects
        for each in filters(facts):
            self._doorbells.append(await bus.listen(subjects.stored(each), ring))

    async def _make(self, route: Route) -> None:
        """Creates the consumer now: it delivers what is stored from here on, not from the first
        ring on."""
        band = route.bands[DEFAULT_PRIORITY]
        band.made = False
        try:
            await route.source.make(DEFAULT_PRIORITY)
            band.made = True
        except BusError as error:
            log.warning(
                "the subscription to facts starts later: %s", error, extra={"agent": self._agent}
            )


class _Facts:
    """The consumer of the facts of one agent: a `bands.ConsumerSource`."""

    stream = LOG

    def __init__(
        self, bus: Bus, subjects: Subjects, agent: str, facts: Iterable[str], since: float | None
    ) -> None:
        self._bus = bus
        self._name = _name(subjects.env, agent)
        self._filters = [subjects.pattern(each) for each in filters(facts)]
        self._since = since
        self._made = False

    def consumer(self, priority: int) -> str:
        """The one consumer, whatever the priority."""
        return self._name

    async def make(self, priority: int) -> None:
        """Creates the consumer, or gives an existing one our filters; it keeps its position."""
        while not (await self._update() or await self._create()):
            continue
        self._made = True

    async def _update(self) -> bool:
        try:
            info = await jetstream.api(self._bus, f"CONSUMER.INFO.{LOG}.{self._name}")
            if info["config"].get("filter_subjects") != self._filters:
                await self._configure(
                    {**info["config"], "filter_subjects": self._filters}, "update"
                )
        except ApiError as error:
            if error.code in _NO_CONSUMER:
                return False
            raise
        return True

    async def _create(self) -> bool:
        since = max(self._since or 0.0, _LOOK_BACK) if self._made else self._since
        begin = {"deliver_policy": "new"}
        if since:
            start = datetime.fromtimestamp(time.time() - since, UTC).isoformat()
            begin = {"deliver_policy": "by_start_time", "opt_start_time": start}
        config = {
            **consumer_config(self._name, idle=_IDLE),
            **begin,
            "filter_subjects": self._filters,
        }
        try:
            await self._configure(config, "create")
        except ApiError as error:
            if error.code in _THERE_ALREADY:
                return False  # another replica has created it meanwhile
            raise
        return True

    async def _configure(self, config: Mapping[str, object], action: str) -> None:
        # Always `filter_subjects`, even for a single filter, so that `_update` can compare them.
        request = {"stream_name": LOG, "config": config, "action": action}
        await jetstream.api(self._bus, f"CONSUMER.CREATE.{LOG}.{self._name}", request)
