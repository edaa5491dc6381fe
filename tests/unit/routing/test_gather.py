"""Votes: which answers are equal, and when more than half of the agents agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from agentd.nats.bus import Bus, Msg
from agentd.nats.objects import fit
from agentd.protocol.message import AgentIdentity, decode, new
from agentd.protocol.subjects import AGENT_DOMAIN, Subjects
from agentd.routing import gather as module
from agentd.routing import registry
from agentd.routing.gather import MOST_ASKED, Gathered, Vote, gather, majority
from tests.memory_bus import MemoryBus
from tests.unit.routing.test_registry import REPLICA


def vote(data: Any, agent: str = "a") -> Vote:
    return Vote(agent, {"success": True, "data": data, "error": None})


def failure(agent: str = "a") -> Vote:
    return Vote(agent, {"success": False, "data": None, "error": {"code": "timeout"}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes.", "yes"),
        ("YES!", "yes"),
        ("a  quick\nanswer", " A quick answer. "),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        (1, 1),
    ],
)
def test_these_answers_are_equal(one: Any, other: Any) -> None:
    assert vote(one).ballot == vote(other).ballot


@pytest.mark.parametrize(
    ("one", "other"), [("yes", "yes?"), ("yes", "no"), ([1, 2], [2, 1]), ({"a": 1}, {"a": 2})]
)
def test_these_answers_differ(one: Any, other: Any) -> None:
    assert vote(one).ballot != vote(other).ballot


def test_more_than_half_of_the_agents_are_a_majority() -> None:
    votes = [vote("no", "a"), vote("Yes", "b"), vote("yes.", "c")]

    assert majority(votes, 3) == votes[1]
    assert majority(votes, 4) is None


def test_agents_that_failed_do_not_agree_but_count_as_asked() -> None:
    assert majority([failure("a"), failure("b"), vote("yes", "c")], 3) is None
    assert majority([vote("yes", "a"), vote("yes", "b"), failure("c")], 3) is not None
    assert majority([], 1) is None


class Crowd:
    """Agents that a stranger has registered, each of which answers with `size` letters."""

    def __init__(self, size: int) -> None:
        self.bus = cast("Bus", MemoryBus())
        self.subjects = Subjects("dev")
        self.asked = 0
        self._size = size

    async def register(self, number: int) -> None:
        await self.bus.subscribe("agents.dev.task.>", self._answer)
        for each in range(number):
            entry = replace(REPLICA, agent=f"a{each:03}", capabilities=["checking"])
            await registry.announce(self.bus, "dev", entry, heartbeat=60, wait=True)

    async def _answer(self, msg: Msg) -> None:
        self.asked += 1
        task = decode(msg.data)
        content = {"success": True, "data": "x" * self._size}
        result = task.reply("result", content, source=AgentIdentity(id="stranger"))
        subject = self.subjects.result(AGENT_DOMAIN, str(task.target), task.id)
        await self.bus.request(subject, await fit(self.bus, result))

    async def gather(self) -> Gathered:
        message = new("task", "?", source=AgentIdentity(id="me"))
        return await gather(self.bus, self.subjects, "checking", message, timeout=60)


async def test_a_bounded_number_of_agents_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    crowd = Crowd(size=1)
    await crowd.register(MOST_ASKED + 20)
    found = await crowd.gather()
    assert (crowd.asked, len(found.votes)) == (MOST_ASKED, MOST_ASKED)
    assert "120 agents could answer; the first 100 by name are asked" in caplog.text


async def test_each_answer_has_its_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 6_000_000)
    crowd = Crowd(size=2_000_000)
    await crowd.register(2)
    assert [vote.success for vote in (await crowd.gather()).votes] == [True, True]
    await crowd.register(4)
    answers = [vote.content for vote in (await crowd.gather()).votes]
    assert {each["error"]["code"] for each in answers} == {"object_too_large"}
