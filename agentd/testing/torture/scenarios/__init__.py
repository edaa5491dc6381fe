"""The scenarios: one file for each kind of fault, and the list of all.

A module imports only from what stands below it.

    flow      fan-outs and joins whose replicas die at every named crash point
    turns     runs with tools whose replicas die between two steps
    bounds    loops of agents, and more tasks than the agents can run
    disk      a store that is full
    doors     clients over HTTP whose servers are killed
    drain     SIGTERM to replicas that are running tasks
    model     model servers that refuse, hang, drip, break off, or answer nonsense
    money     models that cost money, and conversations with a budget
    network   a slow, broken or missing network between agentd, its senders and NATS
    order     priorities, and the cost of a long queue
    poison    tasks that always fail, are malformed, or kill their process
    race      two replicas that could run the same task: slow models, blocked event loops, pauses
    reload    edits, many of them broken, while tasks run
    schedule  scheduled tasks that become due while processes are killed
    soak      many tasks without faults: memory and descriptors must not grow
    storage   streams, consumers and buckets that are deleted
    kills     replicas and nats-servers that are killed, at random or at a named crash point
"""

from __future__ import annotations

from agentd.testing.torture.scenario import Scenario, Size
from agentd.testing.torture.scenarios.bounds import loops, overload
from agentd.testing.torture.scenarios.disk import disk
from agentd.testing.torture.scenarios.doors import doors
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
    Scenario("crashpoints", crashpoints, full=Size(1_000, 20), short=Size(30, 2)),
    Scenario("turns", turns, full=Size(300, 20), short=Size(20, 1)),
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
    Scenario("doors", doors, full=Size(1_000, 10), short=Size(16, 2)),
    Scenario("soak", soak, full=Size(200_000), short=Size(3_000)),
)
