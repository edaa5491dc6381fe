"""Which agent gets a task that needs several capabilities, excludes agents or names a target."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agentd.errors import TaskError
from agentd.nats import jetstream
from agentd.nats.streams import LOG, ROUTES
from agentd.protocol.destination import Destination, Requirement
from agentd.protocol.message import AgentIdentity, AgentMessage, Routing, new
from agentd.protocol.server_subjects import bucket
from agentd.routing import routes
from agentd.routing.ask import ask, send
from agentd.routing.eligibility import address
from tests.waiting import until

if TYPE_CHECKING:
    from tests.integration.conftest import Team

AGENTS = {
    "both": "capabilities: [analysis, research]\n",
    "analyst": "capabilities: [analysis]\n",
    "researcher": "capabilities: [research]\n",
}


def task(content: str = "hello", target: str | None = None, **routing: Any) -> AgentMessage:
    source = AgentIdentity(id="test")
    return new("task", content, source=source, routing=Routing(**routing), target=target)


async def answer(team: Team, to: str, message: AgentMessage) -> AgentMessage:
    async for part in ask(team.bus, team.subjects, Destination.parse(to), message, timeout=20):
        if isinstance(part, AgentMessage):
            return part
    raise AssertionError("no result")


async def test_all_capabilities_are_needed(team: Team) -> None:
    await team.run(**AGENTS)
    results = await asyncio.gather(
        *(answer(team, "analysis", task(capabilities=("research",))) for _ in range(20))
    )
    assert {result.source.id for result in results} == {"both"}
    await team.at_rest()


async def test_excluded_agents_do_not_get_it(team: Team) -> None:
    await team.run(**AGENTS)
    results = await asyncio.gather(
        *(answer(team, "analysis", task(exclusions=("both",))) for _ in range(20))
    )
    assert {result.source.id for result in results} == {"analyst"}
    await team.at_rest()


async def test_the_target_gets_it(team: Team) -> None:
    await team.run(**AGENTS)
    assert (await answer(team, "analysis", task(target="both"))).source.id == "both"
    assert (await answer(team, "@researcher", task())).source.id == "researcher"
    await team.at_rest()


async def test_a_task_that_no_agent_may_take_is_refused_before_it_is_stored(team: Team) -> None:
    await team.run(**AGENTS)
    for to, message in (
        ("coding", task()),
        ("@nobody", task()),
        ("analysis", task(target="nobody")),
        ("analysis", task(capabilities=("research",), exclusions=("both",))),
    ):
        with pytest.raises(TaskError, match=r"no agent online .*: analyst \(analysis\), both"):
            await send(team.bus, team.subjects, Destination.parse(to), message)
    await team.at_rest()


async def test_a_message_of_another_client_is_forwarded_once(team: Team) -> None:
    """It is published to a plain subject, and only its body has the requirement."""
    await team.run(**AGENTS)
    requirement = Requirement(("analysis", "research"), ("analyst",))
    for number in range(10):
        await team.send(
            team.subjects.task("analysis", "x"),
            {
                "id": f"t{number}",
                "payload": {"content": "hello"},
                "routing": {"capabilities": ["research"], "exclusions": ["analyst"]},
            },
        )
    await team.at_rest()
    sources = set[str]()
    for number in range(10):
        for domain, one in (("analysis", "x"), ("_route", requirement.signature)):
            subject = team.subjects.result(domain, one, f"t{number}")
            try:
                sources.add((await team.result(subject, timeout=0.3)).source.id)
            except TimeoutError:
                continue
    assert sources == {"both"}


async def test_a_message_of_another_client_that_no_agent_takes_gets_an_error(team: Team) -> None:
    await team.run(**AGENTS)
    content = await team.ask("analysis", "hello", target="nobody")
    assert content["error"]["code"] == "no_taker"
    await team.at_rest()


async def test_a_new_agent_pulls_from_existing_routes(team: Team) -> None:
    await team.run(both=AGENTS["both"])
    message = task(capabilities=("research",), exclusions=("someone",))
    to = await address(team.bus, team.subjects, Destination.parse("analysis"), message)
    await team.run(late="capabilities: [analysis, research]\n")
    (team.folder / "manifests" / "both.yaml").unlink()
    await team.run()
    result = await answer(team, "analysis", message)
    assert (to.domain, result.source.id) == ("_route", "late")


async def test_the_priority_of_the_subject_counts_for_all_that_follows(team: Team) -> None:
    """The task itself names none: it is forwarded, and emits, with that of its subject."""
    emits = "capabilities: [analysis]\nemit: [{task: report.x, content: message.id}]\n"
    await team.run(analyst=emits, reporter="capabilities: [report]\n")
    subject = team.subjects.task("analysis", "x", 9)
    await team.send(subject, {"id": "named", "target": "reporter", "payload": {"content": "hi"}})
    await team.send(subject, {"id": "plain", "payload": {"content": "hi"}})
    await team.at_rest()

    pattern = team.subjects.pattern("task.>")
    stored = [
        (msg.headers or {})["Nats-Subject"]
        async for msg in jetstream.stored(team.bus, LOG, pattern)
    ]
    own = f"agents.{team.subjects.env}.task."
    assert sorted(each.removeprefix(own) for each in stored) == [
        "_agent.reporter.9",
        "analysis.x.9",
        "analysis.x.9",
        "report.x.9",
    ]


async def test_only_the_routes_that_were_announced_last_are_known(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """600 tasks with an exclusion each left 559 routes with their consumers for good."""
    monkeypatch.setattr(routes, "MOST_ROUTES", 3)
    changes: list[str] = []
    env = team.subjects.env
    table = routes.RouteTable(team.bus, env, lambda: changes.append("changed"))
    await table.open()
    wanted = [Requirement(("analysis",), (f"nobody-{number}",)) for number in range(6)]
    names = [f"_route.{requirement.signature}" for requirement in wanted]

    def known() -> list[str]:
        return table.routes_for("analyst", ["analysis"])

    for requirement in wanted:
        await routes.announce(team.bus, env, requirement)
    await until(lambda: known() == names[3:])
    changes.clear()
    again = bucket(ROUTES, env, wanted[3].signature)
    await jetstream.store(team.bus, again, wanted[3].canonical(), message_id="again, later")
    await until(lambda: known() == [names[4], names[5], names[3]])
    assert changes == []


async def test_a_route_expires_when_nothing_is_sent_to_it_any_more(team: Team) -> None:
    requirement = Requirement(("analysis",), ("nobody",))
    await routes.announce(team.bus, team.subjects.env, requirement)
    key = bucket(ROUTES, team.subjects.env, requirement.signature)
    stored = await jetstream.last(team.bus, ROUTES, key)
    assert stored
    assert stored.headers
    assert stored.headers["Nats-TTL"] == f"{90 * 86_400}s"
