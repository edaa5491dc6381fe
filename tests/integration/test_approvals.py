"""Calls that a person must agree to: asked for, decided by anybody, gone on with once."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from agentd.errors import TaskError, UsageError
from agentd.nats import jetstream, schedules
from agentd.nats.bus import Msg
from agentd.nats.streams import LOG
from agentd.protocol.actor import Actor
from agentd.protocol.message import decode, new_id
from agentd.queue import approvals, cancellations, decisions
from agentd.queue.decisions import ApprovalRequest
from agentd.runtime.resume import Resumer
from agentd.tools.ask_tool import AskTools
from agentd.tools.port import Call

if TYPE_CHECKING:
    from agentd.catalog.spec import AgentSpec
    from agentd.manifest.tools import ToolEntry as Declared
    from tests.integration.conftest import Team


class Purse:
    """A tool, its source and its opener in one."""

    name, description, trouble, takes_key = "pay", "Pays.", "", False
    parameters = {"type": "object", "properties": {"usd": {"type": "number"}}}  # noqa: RUF012

    def __init__(self) -> None:
        self.paid: list[float] = []

    @property
    def tools(self) -> Sequence[Purse]:
        return (self,)

    def open(self, entry: Declared, spec: AgentSpec) -> Purse:
        """Itself."""
        del entry, spec
        return self

    async def close(self) -> None: ...

    async def call(self, call: Call) -> Any:
        self.paid.append(call.arguments["usd"])
        return "paid"


@pytest.fixture
def purse(team: Team) -> Purse:
    team.openers["agent"] = made = Purse()
    return made


def turn(*amounts: Any) -> dict[str, Any]:
    return {"tool_calls": [{"name": "pay", "arguments": {"usd": usd}} for usd in amounts]}


def payer(*turns: Any, approval: str = "true", more: str = "") -> str:
    script = json.dumps([*turns, "Done."])
    tool = f"{{agent: pay, effects: true, approval: {approval}{more}}}"
    model = f"{{name: mock/script, script: {script}}}"
    return f"capabilities: [payer]\ntools: [{tool}]\nmodel: {model}\n"


async def begin(team: Team, **fields: Any) -> str:
    """Sends a task; its id."""
    task = new_id()
    message = {"id": task, "payload": {"content": "Pay."}, **fields}
    await team.send(team.subjects.task("payer", "x"), message)
    return task


async def asked(team: Team, task: str, nth: int = 1) -> ApprovalRequest:
    """The nth request of a task, once it is on record."""
    async with asyncio.timeout(20):
        while True:
            requests = (await decisions.read(team.bus, team.subjects, task)).requests
            if len(requests) >= nth:
                return requests[nth - 1]
            await asyncio.sleep(0.02)


async def told(team: Team, task: str) -> list[str]:
    """What the model was told of each call, in order."""
    run = jetstream.stored(team.bus, LOG, team.subjects.event("run", task))
    contents = [decode(msg.data).payload.content async for msg in run]
    found = {(c["turn"], c["index"]): c["text"] for c in contents if c["event"] == "tool_answered"}
    return [found[key] for key in sorted(found)]


async def sent(team: Team) -> list[Msg]:
    """The tasks on record, copies included."""
    log = jetstream.stored(team.bus, LOG, team.subjects.pattern("task.payer.>"))
    return [msg async for msg in log]


async def decided(team: Team, request: ApprovalRequest, **decision: Any) -> None:
    by = Actor("cli", decision.pop("by", "somebody"))
    await approvals.decide(team.bus, team.subjects, request, decision, by=by)


async def answer(team: Team, task: str) -> dict[str, Any]:
    result = await team.result(team.subjects.result("payer", "x", task))
    return result.payload.content


async def test_a_call_is_made_once_it_is_approved(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5)))
    task = await begin(team)
    request = await asked(team, task)
    assert [*request.calls] == [{"index": 0, "name": "pay", "arguments": {"usd": 5}}]
    assert await approvals.waiting(team.bus, team.subjects) == [request]
    await team.at_rest()  # nobody holds it
    assert purse.paid == []
    await decided(team, request, decision="approve", by="eve")
    result = await answer(team, task)
    assert (result["data"], result["turns"], purse.paid) == ("Done.", 2, [5])
    assert await approvals.waiting(team.bus, team.subjects) == []


async def test_a_denied_call_is_not_made_and_the_model_told_why(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5)))
    task = await begin(team)
    await decided(team, await asked(team, task), decision="deny", by="eve", reason="too dear")
    assert (await answer(team, task))["data"] == "Done."
    assert (purse.paid, await told(team, task)) == (
        [],
        ["this call was denied by eve: too dear"],
    )


async def test_a_foreign_client_decides_by_a_plain_message(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5)))
    task = await begin(team)
    await asked(team, task)
    decision = b'{"payload": {"content": {"decision": "approve"}}}'
    await team.send(team.subjects.event("approval", task), decision)
    assert (await answer(team, task))["success"]
    assert purse.paid == [5]


async def test_only_what_the_expression_holds_for_is_asked_about(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5), turn(50, 6, "much"), approval='"arguments.usd > 10"'))
    task = await begin(team)
    request = await asked(team, task)
    assert [call["arguments"] for call in request.calls] == [{"usd": 50}]
    assert (request.turn, request.indexes) == (2, {0})
    await decided(team, request, decision="approve")
    assert (await answer(team, task))["turns"] == 3
    assert sorted(purse.paid) == [5, 6, 50]


async def test_each_call_of_a_turn_has_its_own_verdict(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(1, 2, 3)))
    task = await begin(team)
    request = await asked(team, task)
    await decided(team, request, decision="approve", calls=[1])
    await decided(team, request, decision="deny", calls=[0])
    assert [each.task for each in await approvals.waiting(team.bus, team.subjects)] == [task]
    await decided(team, request, decision="approve")
    assert (await answer(team, task))["success"]
    assert sorted(purse.paid) == [2, 3]  # of call 0 the first decision counts


async def test_a_run_may_wait_more_than_once(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(1), turn(2)))
    task = await begin(team)
    first = await asked(team, task)
    await decided(team, first, decision="approve")
    second = await asked(team, task, 2)
    await decided(team, first, decision="approve")  # again, and late: it is about the first turn
    assert [each.turn for each in await approvals.waiting(team.bus, team.subjects)] == [2]
    await decided(team, second, decision="deny")
    assert (await answer(team, task))["turns"] == 3
    assert purse.paid == [1]


async def test_what_nobody_decides_is_denied(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5), more=", approval_timeout: 1s"))
    task = await begin(team)
    request = await asked(team, task)
    assert (await answer(team, task))["data"] == "Done."
    await decided(team, request, decision="approve")
    assert (purse.paid, await told(team, task)) == (
        [],
        ["this call was denied: it was not approved in time"],
    )


async def test_nobody_is_asked_for_longer_than_the_task_lives(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5)))
    task = await begin(team, routing={"timeout": 1000})
    result = await answer(team, task)
    assert (result["error"]["code"], purse.paid) == ("expired", [])


async def test_the_limit_of_the_agent_does_not_count_the_wait(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5)) + "limits: {timeout: 1s}\n")
    task = await begin(team)
    request = await asked(team, task)
    await team.at_rest()
    await asyncio.sleep(1.2)  # the wait itself is what is tested
    await decided(team, request, decision="approve")
    assert (await answer(team, task))["success"]
    assert purse.paid == [5]


async def test_a_stopped_conversation_does_not_go_on(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5)))
    conversation = new_id()
    task = await begin(team, context={"conversationId": conversation})
    request = await asked(team, task)
    await cancellations.cancel(
        team.bus, team.subjects, cancellations.Scope("conversation", conversation)
    )
    await decided(team, request, decision="approve")
    assert ((await answer(team, task))["error"]["code"], purse.paid) == ("cancelled", [])


async def test_a_decision_is_found_that_nobody_heard(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5)))
    task = await begin(team)
    request = await asked(team, task)
    team.runtime.resumer.close()
    content = {"decision": "approve", "turn": request.turn}
    silent = json.dumps({"type": "event", "payload": {"content": content}}).encode()
    subject = team.subjects.event("approval", task)
    await jetstream.store(team.bus, subject, silent, message_id=new_id())
    await Resumer(team.bus, team.subjects).resume_decided()
    assert (await answer(team, task))["success"]
    assert purse.paid == [5]


async def test_many_who_hear_it_have_it_go_on_once(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5)))
    others = [Resumer(team.bus, team.subjects) for _ in range(5)]
    for other in others:
        await other.open()
    task = await begin(team)
    await decided(team, await asked(team, task), decision="approve")
    assert (await answer(team, task))["success"]
    await team.at_rest()
    assert (len(await sent(team)), purse.paid) == (2, [5])


async def test_a_delivery_that_laid_its_task_by_only_goes(team: Team, purse: Purse) -> None:
    """As when the process died after the request, before the acknowledgement."""
    await team.run(me=payer(turn(5)))
    task = await begin(team)
    request = await asked(team, task)
    await team.at_rest()
    entry = await schedules.find(team.bus, team.subjects.schedule("approval", task))
    assert entry is not None
    again = dataclasses.replace(
        entry,
        subject=team.subjects.schedule("message", "again"),
        headers={**entry.headers, "Agentd-Resumes": "0"},
    )
    await schedules.put(team.bus, again)
    copy = await schedules.find(team.bus, again.subject)
    assert copy is not None
    await schedules.publish_now(team.bus, copy)
    async with asyncio.timeout(20):
        while len(await sent(team)) < 2:  # noqa: ASYNC110 (by the server)
            await asyncio.sleep(0.02)
    await team.at_rest()
    dialogue = await decisions.read(team.bus, team.subjects, task)
    assert (dialogue.requests, purse.paid) == ([request], [])
    await decided(team, request, decision="approve")
    assert (await answer(team, task))["success"]
    assert purse.paid == [5]


async def test_a_quick_question_cannot_wait(team: Team, purse: Purse) -> None:
    await team.run(me=payer(turn(5)))
    reply = await team.bus.request(
        team.subjects.query("payer", "x"), b'{"payload": {"content": "Pay."}}'
    )
    assert decode(reply.data).payload.content["data"] == "Done."
    assert purse.paid == []


@pytest.mark.parametrize(
    "content",
    [
        "approve",
        {"decision": "maybe"},
        {"decision": "approve", "turn": "1"},
        {"decision": "approve", "calls": 0},
        {"event": "approval_requested", "task": "t", "life": 1},
    ],
)
def test_what_is_no_decision_and_no_request(content: Any) -> None:
    assert decisions.decision_of(content) is None
    assert decisions.request_of(content) is None


async def test_a_call_is_made_with_the_arguments_that_a_person_changed(
    team: Team, purse: Purse
) -> None:
    await team.run(me=payer(turn(50)))
    task = await begin(team)
    request = await asked(team, task)
    assert request.schemas == {"pay": Purse.parameters}
    with pytest.raises(TaskError, match="arguments\\['usd'\\]: 'much' is not of type 'number'"):
        await decided(team, request, decision="edit", arguments={"usd": "much"})
    await decided(team, request, decision="edit", arguments={"usd": 30}, by="eve")
    await decided(team, request, decision="approve", by="bob")
    assert (await answer(team, task))["data"] == "Done."
    assert purse.paid == [30]
    [shown] = await told(team, task)
    assert shown == '[eve changed the arguments of this call to {"usd": 30}]\npaid'
    asked_for = (await decisions.read(team.bus, team.subjects, task)).requests[0].calls
    assert asked_for[0]["arguments"] == {"usd": 50}


async def test_an_edit_that_does_not_fit_and_was_not_checked_calls_nothing(
    team: Team, purse: Purse
) -> None:
    """Any client that may publish a decision may publish a wrong one."""
    await team.run(me=payer(turn(50)))
    task = await begin(team)
    await asked(team, task)
    wrong = {"decision": "edit", "arguments": {"usd": "much"}}
    await team.send(
        team.subjects.event("approval", task), json.dumps({"payload": {"content": wrong}}).encode()
    )
    assert (await answer(team, task))["data"] == "Done."
    assert purse.paid == []
    assert "do not fit its schema" in (await told(team, task))[0]


QUESTION = {"name": "ask_person", "arguments": {"question": "Which?", "choices": ["red", "blue"]}}


def curious(more: str = "") -> str:
    script = json.dumps([{"tool_calls": [QUESTION]}, "Done."])
    model = f"{{name: mock/script, script: {script}}}"
    return f"capabilities: [payer]\ntools: [{{ask: person{more}}}]\nmodel: {model}\n"


@pytest.fixture
def people(team: Team) -> None:
    team.openers["ask"] = AskTools()


@pytest.mark.usefixtures("people")
async def test_a_question_waits_for_its_answer_without_a_slot(team: Team) -> None:
    await team.run(me=curious())
    task = await begin(team)
    request = await asked(team, task)
    [call] = request.calls
    assert (call["question"], call["choices"]) == ("Which?", ["red", "blue"])
    await team.at_rest()
    with pytest.raises(TaskError, match="must be one of: red, blue"):
        await decided(team, request, decision="answer", answer="green")
    with pytest.raises(UsageError, match="asks a question"):
        await decided(team, request, decision="approve")
    # A client that does not check: neither is an answer, and the question waits on.
    for strange in ({"decision": "approve"}, {"decision": "answer", "answer": "green"}):
        event = json.dumps({"payload": {"content": strange}}).encode()
        await team.send(team.subjects.event("approval", task), event)
    assert await approvals.waiting(team.bus, team.subjects) == [request]
    await decided(team, request, decision="answer", answer="red", by="eve")
    assert (await answer(team, task))["data"] == "Done."
    assert await told(team, task) == ["red"]


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("more", "text"),
    [(", default: blue", "blue"), ("", "nobody answered this question in time")],
)
async def test_a_question_that_nobody_answers_has_its_default(
    team: Team, more: str, text: str
) -> None:
    await team.run(me=curious(f"{more}, timeout: 1s"))
    task = await begin(team)
    assert (await answer(team, task))["data"] == "Done."
    assert await told(team, task) == [text]
