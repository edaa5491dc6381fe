"""People in the loop over HTTP: real keys, real agents, real NATS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agentd.doors.app import every_door
from agentd.doors.backend import Backend
from agentd.doors.ending import Ending
from agentd.doors.key_file import KeyFile
from agentd.queue import decisions
from agentd.settings import Settings
from agentd.tools.ask_tool import AskTools
from tests.integration.conftest import Team
from tests.integration.serving import serving
from tests.integration.test_approvals import (
    Purse,
    answer,
    asked,
    begin,
    curious,
    payer,
    told,
    turn,
)
from tests.waiting import PATIENCE

KEYS: Mapping[str, tuple[list[str], list[str] | None]] = {
    "eve": (["approve"], None),
    "bob": (["approve"], None),
    "viewer": (["read"], None),
    "sender": (["ask"], None),
    "other": (["approve"], ["other"]),
}


class People:
    """People with keys, who ask one server."""

    def __init__(self, url: str, session: aiohttp.ClientSession, keys: Mapping[str, str]) -> None:
        self.url = url
        self.session = session
        self.keys = keys

    async def get(self, who: str, task: str = "") -> tuple[int, Any]:
        url = f"{self.url}/api/approvals" + (f"/{task}" if task else "")
        async with self.session.get(url, headers=self._key(who)) as response:
            return response.status, await response.json(content_type=None)

    async def decide(self, who: str, task: str, **body: Any) -> tuple[int, Any]:
        url, data = f"{self.url}/api/approvals/{task}", json.dumps(body)
        async with self.session.post(url, data=data, headers=self._key(who)) as response:
            return response.status, await response.json(content_type=None)

    async def refused(self, who: str, task: str, **body: Any) -> tuple[int, str, str]:
        """The status, the code and the text of a decision that is not taken."""
        status, problem = await self.decide(who, task, **body)
        return status, problem["code"], problem["detail"]

    def _key(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[who]}"}


@pytest.fixture
async def people(team: Team, tmp_path: Path) -> AsyncIterator[People]:
    file = KeyFile(tmp_path / "keys.json")
    keys = {name: file.add(name, may, agents=agents) for name, (may, agents) in KEYS.items()}
    backend = Backend(
        bus=team.bus,
        subjects=team.subjects,
        settings=Settings(),
        metrics=team.metrics,
        specs=dict,
        draining=Ending(),
    )
    patience = aiohttp.ClientTimeout(total=PATIENCE)
    async with (
        serving(doors=every_door()[0], backend=backend, keys=tmp_path / "keys.json") as server,
        aiohttp.ClientSession(timeout=patience) as session,
    ):
        assert server.url
        yield People(server.url, session, keys)


@pytest.fixture
def purse(team: Team) -> Purse:
    team.openers["agent"] = made = Purse()
    team.openers["ask"] = AskTools()
    return made


async def test_a_call_is_listed_edited_and_made_in_the_name_of_the_key(
    team: Team, purse: Purse, people: People
) -> None:
    await team.run(me=payer(turn(50)))
    task = await begin(team)
    await asked(team, task)
    status, listed = await people.get("viewer")
    assert status == 200
    [approval] = listed["approvals"]
    assert (approval["task"], approval["agent"], approval["turn"]) == (task, "me", 1)
    assert approval["calls"] == [{"index": 0, "name": "pay", "arguments": {"usd": 50}}]
    assert approval["schemas"] == {"pay": Purse.parameters}
    wrong = await people.refused("eve", task, decision="edit", arguments={"usd": "much"})
    assert wrong[:2] == (422, "invalid_input")
    assert "arguments['usd']: 'much' is not of type 'number'" in wrong[2]
    status, decided = await people.decide(
        "eve", task, decision="edit", arguments={"usd": 30}, reason="half"
    )
    assert status == 200
    call = {"index": 0, "name": "pay", "decision": "edited", "by": "eve", "reason": "half"}
    assert decided == {"task": task, "calls": [{**call, "arguments": {"usd": 30}}], "undecided": 0}
    assert (await answer(team, task))["data"] == "Done."
    assert purse.paid == [30]
    status, found = await people.get("eve", task)
    assert (status, found["decisions"][0]["by"]) == (200, "eve")
    assert found["calls"][0]["arguments"] == {"usd": 50}
    assert await people.get("viewer") == (200, {"approvals": []})
    late = await people.refused("bob", task, decision="deny")
    assert late[:2] == (409, "already_decided")
    assert "edited by eve" in late[2]


async def test_two_calls_are_decided_by_two_people(
    team: Team, purse: Purse, people: People
) -> None:
    await team.run(me=payer(turn(5, 6)))
    task = await begin(team)
    await asked(team, task)
    status, first = await people.decide("eve", task, decision="deny", calls=[0], reason="no")
    assert (status, first["undecided"]) == (200, 1)
    assert [each["decision"] for each in first["calls"]] == ["denied", None]
    again = await people.refused("bob", task, decision="approve", calls=[9])
    assert again[:2] == (400, "malformed")
    status, second = await people.decide("bob", task, decision="approve")
    assert (status, second["undecided"]) == (200, 0)
    assert [each["by"] for each in second["calls"]] == ["eve", "bob"]
    assert (await answer(team, task))["data"] == "Done."
    assert purse.paid == [6]
    assert (await told(team, task))[0] == "this call was denied by eve: no"


@pytest.mark.usefixtures("purse")
async def test_a_question_is_answered(team: Team, people: People) -> None:
    await team.run(me=curious())
    task = await begin(team)
    await asked(team, task)
    _, listed = await people.get("eve")
    [call] = listed["approvals"][0]["calls"]
    assert (call["question"], call["choices"]) == ("Which?", ["red", "blue"])
    wrong = await people.refused("eve", task, decision="answer", answer="green")
    assert wrong[:2] == (422, "invalid_input")
    assert (await people.refused("eve", task, decision="approve"))[:2] == (400, "malformed")
    status, decided = await people.decide("eve", task, decision="answer", answer="blue")
    assert (status, decided["calls"][0]["answer"]) == (200, "blue")
    assert (await answer(team, task))["data"] == "Done."
    assert await told(team, task) == ["blue"]


async def test_only_a_key_that_may_approve_this_agent_decides(
    team: Team, purse: Purse, people: People
) -> None:
    await team.run(me=payer(turn(5)))
    task = await begin(team)
    await asked(team, task)
    for who in ("viewer", "sender", "other"):
        assert (await people.refused(who, task, decision="approve"))[:2] == (403, "forbidden")
    assert (await people.get("sender"))[0] == 403
    assert await people.get("other") == (200, {"approvals": []})
    assert (await people.get("other", task))[0] == 404
    for unknown in ("nobody", "a%20b", "%2e%2e", "x" * 300):
        found = await people.refused("eve", unknown, decision="approve")
        assert found[0] == 404
    record = await decisions.read(team.bus, team.subjects, task)
    assert record.decisions == []
    assert purse.paid == []


@pytest.mark.usefixtures("purse")
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "decision"),
        ({"decision": "maybe"}, "decision"),
        ({"decision": "approve", "by": "the boss"}, "by"),
        ({"decision": "approve", "calls": []}, "calls"),
        ({"decision": "edit", "arguments": [1]}, "arguments"),
        ({"decision": "edit"}, "arguments"),
        ({"decision": "answer"}, "answer"),
    ],
)
async def test_a_body_that_is_no_decision_is_refused(
    team: Team, people: People, body: dict[str, Any], text: str
) -> None:
    await team.run(me=payer(turn(5)))
    task = await begin(team)
    await asked(team, task)
    status, code, detail = await people.refused("eve", task, **body)
    assert (status, code) == (400, "malformed")
    assert text in detail
    record = await decisions.read(team.bus, team.subjects, task)
    assert record.decisions == []


async def test_of_two_people_at_the_same_time_one_decides(
    team: Team, purse: Purse, people: People
) -> None:
    await team.run(me=payer(turn(5)))
    task = await begin(team)
    await asked(team, task)
    both = await asyncio.gather(
        people.decide("eve", task, decision="approve"), people.decide("bob", task, decision="deny")
    )
    assert sorted(status for status, _ in both) == [200, 409]
    [winner] = [body for status, body in both if status == 200]
    assert (await answer(team, task))["data"] == "Done."
    assert purse.paid == ([5] if winner["calls"][0]["decision"] == "approved" else [])


@pytest.mark.usefixtures("purse")
async def test_an_expired_request_takes_no_decision(team: Team, people: People) -> None:
    await team.run(me=payer(turn(5), more=", approval_timeout: 1s"))
    task = await begin(team)
    assert (await answer(team, task))["data"] == "Done."
    assert (await people.refused("eve", task, decision="approve"))[:2] == (409, "expired")
