"""How a puller asks for tasks: from which band, how often, and what a handed-back task rings."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from agentd.errors import BusError
from agentd.nats.bus import Bus, Msg
from agentd.protocol.subjects import Subjects
from agentd.queue.bands import ConsumerSource, Route
from agentd.queue.delivery import Delivery
from agentd.queue.queue import Puller, Queue
from agentd.testing import virtual_time
from agentd.testing.virtual_time import VirtualLoop, in_virtual_time

NEXT = "$JS.API.CONSUMER.MSG.NEXT."


class Subscribed:
    """A subscription of `ScriptedServer`."""

    def __init__(self, server: ScriptedServer, subject: str) -> None:
        self.subject = subject
        self._server = server

    async def close(self) -> None:
        del self._server.handlers[self.subject]


class ScriptedServer:
    """The bus's port, with a server behind it that answers pulls from a script.

    Attributes:
        waiting: what STREAM.INFO of WORK says: the number of tasks by subject.
        answers: by consumer, what each of its next pulls gets: messages, or a status. A pull
            without an answer in the script finds nothing (404); of None, no answer comes at all.
        pulled: the consumers that were pulled, in order.
        made: the configurations of the consumers that were made, in order.
    """

    options: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.waiting: dict[str, int] = {}
        self.answers: defaultdict[str, deque[list[Msg] | str | None]] = defaultdict(deque)
        self.latency = 0.0  # seconds until a pull is answered
        self.blocked = self.blocked_after = 0.0  # seconds, before and after a message arrives
        self.pulled: list[str] = []
        self.batches: list[int] = []
        self.made: list[Mapping[str, Any]] = []
        self.published: list[tuple[str, bytes]] = []
        self.handlers: dict[str, Callable[[Msg], None]] = {}
        self.page = 1000
        self.down = False
        self._inboxes = 0

    def new_inbox(self) -> str:
        self._inboxes += 1
        return f"_INBOX.{self._inboxes}"

    async def listen(self, subject: str, handler: Callable[[Msg], None]) -> Subscribed:
        self.handlers[subject] = handler
        return Subscribed(self, subject)

    async def publish(self, subject: str, data: bytes, *, reply: str = "") -> None:
        if not subject.startswith(NEXT):
            self.published.append((subject, data))
            return
        consumer = subject.removeprefix(NEXT).partition(".")[2]
        self.pulled.append(consumer)
        request = json.loads(data)
        assert request["no_wait"] is True
        self.batches.append(request["batch"])
        script = self.answers[consumer]
        answer = script.popleft() if script else "404"
        if answer is None:
            return
        await asyncio.sleep(self.latency)
        for msg in [] if isinstance(answer, str) else answer:
            loop = cast("VirtualLoop", asyncio.get_running_loop())
            loop.block(self.blocked)
            self.handlers[reply](msg)
            loop.block(self.blocked_after)
        if isinstance(answer, str) or len(answer) < request["batch"]:
            status = answer if isinstance(answer, str) else "408"
            self.handlers[reply](message(headers={"Status": status}))

    async def request(
        self, subject: str, data: bytes = b"", *, headers: object = None, **_: object
    ) -> Msg:
        if self.down:
            raise BusError("no server")
        request = json.loads(data) if data else {}
        if subject.startswith("$JS.API.STREAM.INFO.AGENTD_WORK"):
            first = request["offset"]
            page = dict([*self.waiting.items()][first : first + self.page])
            return message({"state": {"subjects": page}, "total": len(self.waiting)})
        assert subject == f"$JS.API.CONSUMER.DURABLE.CREATE.AGENTD_WORK.{request['config']['name']}"
        self.made.append(request["config"])
        return message({})

    async def until_connected(self, deadline: float | None = None) -> None:
        self.down = False


def message(body: object = None, headers: dict[str, str] | None = None) -> Msg:
    data = b"" if body is None else json.dumps(body).encode()
    return Msg(_client=cast("Any", None), data=data, headers=headers)


def task(name: str = "x", *, attempt: int = 1, pending: int = 0, domain: str = "analysis") -> Msg:
    """A message of WORK, as its consumer delivers it."""
    return Msg(
        _client=cast("Any", None),
        subject=f"work.dev.{domain}.{name}.5",
        reply=f"$JS.ACK.AGENTD_WORK.dev+{domain}+5.{attempt}.10.20.1700000000000000000.{pending}",
        headers={"Nats-Stream-Source": f"AGENTD_LOG 7 > > agents.dev.task.{domain}.{name}"},
        data=b"{}",
    )


def queue_on(server: ScriptedServer) -> Queue:
    return Queue(cast("Bus", server), Subjects("dev"))


async def listening(server: ScriptedServer, *domains: str) -> tuple[Queue, Puller]:
    queue = queue_on(server)
    puller = queue.puller()
    await puller.listen(domains or ("analysis",))
    return queue, puller


async def rest(puller: Puller, seconds: float = 3.0) -> list[Delivery]:
    """One pull that is given up after so many seconds; what it got."""
    pulling = asyncio.create_task(puller.pull(1))
    await asyncio.wait([pulling], timeout=seconds)
    if not pulling.done():
        await puller.close()
    return await pulling


@pytest.mark.parametrize(("blocked", "after", "taken"), [(7.4, 0, 1), (7.6, 0, 0), (0, 60, 1)])
def test_a_delivery_that_another_replica_may_have_by_now_is_not_taken(
    blocked: float, after: float, taken: int
) -> None:
    """The event loop was blocked before the delivery was reported as in progress."""

    async def test() -> None:
        server = ScriptedServer()
        server.blocked, server.blocked_after = blocked, after
        server.answers["dev+analysis+5"].append([task()])
        queue, puller = await listening(server)
        queue.routes(["analysis"])[0].ring(5)
        assert len(await rest(puller)) == taken
        assert server.published == []  # nor is it settled: the server delivers it again

    virtual_time.run(test)


@pytest.mark.parametrize(
    ("attempt", "pending", "pulls"),
    [(1, 0, 1), (1, 3, 2), (2, 0, 2), (2, 1, 2)],
    ids=["first delivery", "first, more pending", "second delivery", "second, more pending"],
)
def test_a_band_is_asked_again_unless_its_last_task_was_new_and_none_is_pending(
    attempt: int, pending: int, pulls: int
) -> None:
    """The server does not count redeliveries as pending, so a redelivery may not be the last."""

    async def test() -> None:
        server = ScriptedServer()
        server.waiting = {"work.dev.analysis.x.5": 1}
        server.answers["dev+analysis+5"].append([task(attempt=attempt, pending=pending)])
        _, puller = await listening(server)
        [taken] = await puller.pull(1)
        assert taken.attempt == attempt
        assert await rest(puller, 0.01) == []
        assert server.pulled == ["dev+analysis+5"] * pulls

    virtual_time.run(test)


@in_virtual_time
async def test_an_empty_band_that_rang_is_asked_again_three_times() -> None:
    server = ScriptedServer()
    server.waiting = {"work.dev.analysis.x.5": 1}
    _, puller = await listening(server)
    assert await rest(puller) == []
    assert server.pulled == ["dev+analysis+5"] * 4


@in_virtual_time
async def test_a_ring_during_a_pull_is_not_lost() -> None:
    server = ScriptedServer()
    server.waiting = {"work.dev.analysis.x.5": 1}
    queue, puller = await listening(server)
    server.latency = 1.0
    pulling = asyncio.create_task(puller.pull(1))
    await asyncio.sleep(0.5)
    server.answers["dev+analysis+5"].append([task("y")])
    queue.routes(["analysis"])[0].ring(5)
    [taken] = await pulling
    assert str(taken.subject) == "agents.dev.task.analysis.y"
    # The second pull follows immediately, not after a look at a band that seemed empty.
    assert asyncio.get_running_loop().time() == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("delay", [0.0, 2.0])
def test_a_task_that_was_handed_back_rings_its_band_just_after_its_delay(delay: float) -> None:
    async def test() -> None:
        server = ScriptedServer()
        server.answers["dev+analysis+5"].append([task()])
        queue, puller = await listening(server)
        server.waiting = {"work.dev.analysis.x.5": 1}
        await queue.sweep()
        [taken] = await puller.pull(1)
        [route] = queue.routes(["analysis"])
        rung = [band.rung for band in route.bands]
        queue.expect(taken, delay)
        await asyncio.sleep(delay + 0.04)
        assert [band.rung for band in route.bands] == rung
        await asyncio.sleep(0.02)
        assert [band.rung for band in route.bands] == [
            count + (priority == 5) for priority, count in enumerate(rung)
        ]

    virtual_time.run(test)


@in_virtual_time
async def test_the_most_urgent_band_is_pulled_first() -> None:
    server = ScriptedServer()
    server.waiting = {f"work.dev.analysis.x.{priority}": 1 for priority in (0, 9, 4)}
    _, puller = await listening(server)
    await rest(puller, 0.01)
    assert server.pulled == [f"dev+analysis+{priority}" for priority in (9, 4, 0)]


@in_virtual_time
async def test_one_pull_in_128_begins_with_the_least_urgent_band() -> None:
    server = ScriptedServer()
    server.waiting = {f"work.dev.analysis.x.{priority}": 1 for priority in (0, 9)}
    for priority in (0, 9):
        more = [[task(pending=1)] for _ in range(300)]
        server.answers[f"dev+analysis+{priority}"].extend(more)
    _, puller = await listening(server)
    for _ in range(256):
        await puller.pull(1)
    least = [number for number, name in enumerate(server.pulled, 1) if name[-1] == "0"]
    assert least == [128, 256]


@in_virtual_time
async def test_routes_of_one_urgency_take_turns() -> None:
    server = ScriptedServer()
    server.waiting = {f"work.dev.{domain}.x.5": 1 for domain in ("a", "b")}
    for domain in ("a", "b"):
        more = [[task(pending=1, domain=domain)] for _ in range(4)]
        server.answers[f"dev+{domain}+5"].extend(more)
    _, puller = await listening(server, "a", "b")
    for _ in range(4):
        await puller.pull(1)
    assert server.pulled[:4] in (["dev+a+5", "dev+b+5"] * 2, ["dev+b+5", "dev+a+5"] * 2)


@in_virtual_time
async def test_a_pull_asks_for_as_many_tasks_as_may_run_and_may_get_fewer() -> None:
    server = ScriptedServer()
    server.waiting = {"work.dev.analysis.x.5": 9}
    server.answers["dev+analysis+5"].extend(
        [[task("a"), task("b"), task("c")], [task("d", pending=1)]]
    )
    queue, puller = await listening(server)
    names = [taken.subject.specificity for taken in await puller.pull(3)]
    queue.routes(["analysis"])[0].ring(5)
    names += [taken.subject.specificity for taken in await puller.pull(2)]
    assert names == ["a", "b", "c", "d"]
    assert server.batches == [3, 2]


@in_virtual_time
async def test_the_consumer_of_a_band_is_made_once_before_its_first_pull() -> None:
    server = ScriptedServer()
    server.waiting = {"work.dev._agent.analyst.7": 1}
    _, puller = await listening(server, "analysis", "_agent.analyst")
    await rest(puller)
    assert server.pulled == ["dev+_agent+analyst+7"] * 4
    [config] = server.made
    assert config["name"] == config["durable_name"] == "dev+_agent+analyst+7"
    assert config["filter_subject"] == "work.dev._agent.analyst.7"
    assert config["inactive_threshold"] == 24 * 3600 * 1_000_000_000


@in_virtual_time
async def test_a_consumer_that_no_longer_exists_is_made_again() -> None:
    server = ScriptedServer()
    server.waiting = {"work.dev.analysis.x.5": 1}
    server.answers["dev+analysis+5"].extend(["503", [task()]])
    _, puller = await listening(server)
    assert len(await puller.pull(1)) == 1
    assert len(server.made) == 2


@in_virtual_time
async def test_a_pull_outlives_a_server_that_is_away() -> None:
    server = ScriptedServer()
    server.waiting = {"work.dev.analysis.x.5": 1}
    server.answers["dev+analysis+5"].append([task()])
    _, puller = await listening(server)
    server.down = True
    assert len(await puller.pull(1)) == 1


@in_virtual_time
async def test_a_pull_that_gets_no_answer_is_made_again_with_a_new_inbox() -> None:
    server = ScriptedServer()
    server.waiting = {"work.dev.analysis.x.5": 1}
    server.answers["dev+analysis+5"].extend([None, [task()]])
    _, puller = await listening(server)
    loop = asyncio.get_running_loop()
    assert len(await puller.pull(1)) == 1
    assert loop.time() == pytest.approx(2.0)
    assert [*server.handlers] == ["_INBOX.2"]
    await puller.close_inbox()
    await puller.close_inbox()
    assert server.handlers == {}


@in_virtual_time
async def test_a_task_whose_subject_is_outside_the_grammar_is_taken_to_be_refused() -> None:
    server = ScriptedServer()
    server.waiting = {"work.dev.analysis.x.5": 2}
    foreign = task()
    assert foreign.headers
    foreign.headers["Nats-Stream-Source"] = "AGENTD_LOG 7 > > agents.dev.task.analysis.ö"
    server.answers["dev+analysis+5"].append([foreign, task("good")])
    _, puller = await listening(server)
    refused, taken = await puller.pull(2)
    assert (refused.subject.specificity, refused.published_to) == (
        "_malformed",
        "agents.dev.task.analysis.ö",
    )
    assert (taken.subject.specificity, taken.foreign) == ("good", "")


@in_virtual_time
async def test_a_task_with_a_header_status_is_no_control_frame() -> None:
    """Many programs copy the headers of an HTTP answer. A control frame has no reply subject."""
    server = ScriptedServer()
    server.waiting = {"work.dev.analysis.x.5": 3}
    odd = task("odd")
    assert odd.headers
    odd.headers["Status"] = "404"
    stray = Msg(_client=cast("Any", None), data=b"{}", reply="orders.new")
    server.answers["dev+analysis+5"].append([odd, stray, task("good")])
    _, puller = await listening(server)
    taken = await puller.pull(3)
    assert [each.subject.specificity for each in taken] == ["odd", "good"]


@in_virtual_time
async def test_a_sweep_reads_every_page_and_rings_only_routes_with_a_puller() -> None:
    server = ScriptedServer()
    server.page = 2
    odd, long = "work.dev.ü.x.5", f"work.dev.{'x' * 65}.x.5"
    subjects = ["work.dev.analysis.x.1", odd, "work.dev.b.x.2", long, "work.dev.analysis.y.3"]
    server.waiting = dict.fromkeys(subjects, 1)
    queue, puller = await listening(server)
    await rest(puller, 0.01)
    assert sorted(set(server.pulled)) == ["dev+analysis+1", "dev+analysis+3"]
    [route] = queue.routes(["analysis"])
    rung = [band.rung for band in route.bands]
    await puller.close()
    assert await queue.sweep() == [odd, long]
    assert [band.rung for band in route.bands] == rung


@in_virtual_time
async def test_a_puller_may_listen_before_the_server_is_there() -> None:
    server = ScriptedServer()
    server.down = True
    queue, puller = await listening(server)
    assert queue.routes(["analysis"])[0].pullers == {puller}


@in_virtual_time
async def test_a_puller_listens_to_exactly_the_routes_it_was_told_last() -> None:
    server = ScriptedServer()
    queue, puller = await listening(server, "a", "b")
    await puller.listen(["b", "c"])
    routes = queue.routes(["a", "b", "c"])
    assert [route.pullers == {puller} for route in routes] == [False, True, True]
    assert queue.routes(["a"]) == routes[:1]


class FactConsumers:
    """The consumer of an agent's facts."""

    stream = "AGENTD_LOG"

    def consumer(self, priority: int) -> str:
        return "facts"

    async def make(self, priority: int) -> None: ...


@in_virtual_time
async def test_a_sweep_rings_for_facts_whatever_waits_in_work() -> None:
    server = ScriptedServer()
    queue = queue_on(server)
    route: Route = queue.facts("me", cast("ConsumerSource", FactConsumers()))
    assert (route.bands[5].rung, route.name) == (1, "me")
    await queue.sweep()
    assert route.bands[5].rung == 1
    await queue.puller().listen((), route)
    assert route.bands[5].rung == 2
    assert queue.facts("me", FactConsumers()) is route


@in_virtual_time
async def test_a_closed_puller_returns_nothing_even_with_a_hint() -> None:
    server = ScriptedServer()
    server.waiting = {"work.dev.analysis.x.5": 1}
    _, puller = await listening(server)
    await puller.close()
    assert await puller.pull(1) == []
    assert server.pulled == []
