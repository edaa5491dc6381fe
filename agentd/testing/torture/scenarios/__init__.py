"""The scenarios, a file for each kind of thing that goes wrong, and the list of them all.

A module imports only from what stands below it.

    flow      work that makes work: fan-outs and joins whose replicas die at every named point
    turns     runs of several turns that die between their steps
    bounds    work that would never end, and more work than can be done
    disk      a store that is full
    drain     processes that are asked to end while they work
    model     model servers that refuse, hang, drip, break off, or answer nonsense
    money     models that cost money, and conversations that may spend only so much of it
    network   a network that is slow, broken or gone between agentd, its senders and NATS
    order     many tasks at once: which come first, and what a long queue costs
    poison    tasks that cannot be done, and that must not hurt those that can
    race      replicas that could take the same task: slow models, busy event loops, and the undead
    reload    edits, many of them broken, while tasks run
    schedule  tasks that fall due while processes die
    soak      a long time in which nothing goes wrong, but something might grow
    storage   a server that forgets: streams, consumers and buckets that somebody deletes
    kills     processes that die: agentd, at random and at every named point, and its nats-server
"""

from __future__ import annotations

from agentd.testing.torture.scenario import Scenario, Size
from agentd.testing.torture.scenarios.bounds import loops, overload
from agentd.testing.torture.scenarios.disk import disk
from agentd.testing.torture.scenarios.drain import drain
from agentd.testing.torture.scenarios.flow import fanout, join
from agentd.testing.torture.scenarios.kills import broker, crashpoints, kill9
from agentd.testing.torture.scenarios.model import llm
from agentd.testing.torture.scenarios.money import spend
from agentd.testing.torture.scenarios.network import network
from agentd.testing.torture.scenarios.order import backlog, priority
from agentd.testing.torture.scenarios.poison import poison
from agentd.testing.torture.scenarios.race import race, zombie
from agentd.testing.torture.scenarios.reload import reload
from agentd.testing.torture.scenarios.schedule import schedule
from agentd.testing.torture.scenarios.soak import soak
from agentd.testing.torture.scenarios.storage import amnesia
from agentd.testing.torture.scenarios.turns import turns

SCENARIOS = (
    Scenario("kill9", kill9, full=Size(10_000, 50, seconds=60), short=Size(400, 6)),
    Scenario("crashpoints", crashpoints, full=Size(1_000, 20), short=Size(60, 3)),
    Scenario("turns", turns, full=Size(300, 20), short=Size(30, 2)),
    Scenario("fanout", fanout, full=Size(300, 5), short=Size(8, 1)),
    Scenario("join", join, full=Size(300, 5), short=Size(8, 1)),
    Scenario("broker", broker, full=Size(10_000, 10), short=Size(300, 2)),
    Scenario("network", network, full=Size(5_000, 5), short=Size(300, 1)),
    Scenario("drain", drain, full=Size(10_000, 20), short=Size(400, 4)),
    Scenario("reload", reload, full=Size(10_000, 600), short=Size(300, 30)),
    Scenario("llm", llm, full=Size(3), short=Size(1)),
    Scenario("poison", poison, full=Size(10_000, 10), short=Size(300, 1)),
    Scenario("loops", loops, full=Size(5), short=Size(1)),
    Scenario("overload", overload, full=Size(10_000, 10), short=Size(100, 2)),
    Scenario("backlog", backlog, full=Size(10_000), short=Size(1_000)),
    Scenario("race", race, full=Size(100), short=Size(20)),
    Scenario("zombie", zombie, full=Size(1_000, 5), short=Size(100, 1)),
    Scenario("amnesia", amnesia, full=Size(2_000, 10), short=Size(200, 1)),
    Scenario("disk", disk, full=Size(2_000, 40), short=Size(200, 3)),
    Scenario("priority", priority, full=Size(1_000), short=Size(300)),
    Scenario("schedule", schedule, full=Size(2_000, 20), short=Size(90, 3)),
    Scenario("spend", spend, full=Size(5_000, 20), short=Size(400, 2)),
    Scenario("soak", soak, full=Size(200_000), short=Size(3_000)),
)
