"""Agents cannot run away: hops, money, tokens, time and stops, on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agentd.catalog.catalog import load
from agentd.errors import BusError, Undeliverable
from agentd.metrics import Metrics
from agentd.models.choose import Models
from agentd.nats import jetstream, streams
from agentd.nats.bus import Bus
from agentd.nats.streams import BUDGETS, LOG
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, Routing, decode, new
from agentd.protocol.subjects import Subjects
from agentd.queue import cancellations, dead_letters
from agentd.queue.cancellations import Cancellations
from agentd.run.account import Account, account_subject, shared_account, total
from agentd.runtime.runtime import Runtime
from agentd.settings import Settings
from agentd.tools.open import Tools
from tests.waiting import until

if TYPE_CHECKING:
    from tests.integration.conftest import Team

FINE = "capabilities: [analysis]\n"
# 100 tokens of output at $0.001: a call may cost $0.10, and costs what its usage says.
PRICED = """
capabilities: [analysis]
parameters: {{max_tokens: 100}}
model:
  name: mock/script
  price: {{input: 0, output: 1000}}
  script: [{turn}]
limits: {{{limits}}}
retry: {{attempts: 5, backoff: 10ms}}
"""


def priced(output: int = 100, limits: str = "", **turn: Any) -> str:
    fields = {"text": "done", "usage": {"input": 0, "output": output}, **turn}
    return PRICED.format(turn=fields, limits=limits)


async def account(team: Team, conversation: str) -> Account:
    _, data = await jetstream.newest(
        team.bus, BUDGETS, account_subject(team.subjects.env, conversation)
    )
    return Account.parse(data)


async def reasons(team: Team) -> Counter[str]:
    found = [each async for each in dead_letters.listed(team.bus, team.subjects)]
    return Counter(each.reason for each in found)


async def conversation_of(team: Team, name: str, count: int) -> list[dict[str, Any]]:
    """The results of so many tasks of one conversation, sent at once."""
    context = {"conversationId": name}
    asked = [team.ask("analysis", f"number {n}", context=context) for n in range(count)]
    return await asyncio.gather(*asked)


async def running(runtime: Runtime, count: int = 1) -> None:
    await until(lambda: runtime.agents["me"].in_flight >= count)


@contextlib.asynccontextmanager
async def replica(team: Team, nats_url: str) -> AsyncGenerator[Runtime]:
    """The same agents in another process, as far as NATS can tell."""
    bus = await Bus.connect({"servers": nats_url}, timeout=5)
    models = Models(environ={})
    settings = Settings(env=team.subjects.env, heartbeat=0.5)
    runtime = Runtime(settings, bus, models=models, tools=Tools({}), metrics=Metrics())
    await runtime.open()
    await runtime.apply(load(team.folder / "manifests"))
    yield runtime
    await runtime.drain(5)
    await models.close()
    await bus.close()


# --- hops -----------------------------------------------------------------------------------------


async def test_what_was_handed_on_too_often_ends_before_the_model(team: Team) -> None:
    await team.run(me=FINE + "limits: {hops: 3}\n")
    fine = await team.ask("analysis", "x", context={"hops": 3, "path": ["a", "b", "a"]})
    assert fine["success"]
    cut = await team.ask("analysis", "x", context={"hops": 4, "path": ["a", "b", "a", "b"]})
    assert cut["error"]["code"] == "hops"
    assert "passed on 4 times, by a > b > a > b; limits.hops of me is 3" in cut["error"]["message"]
    await team.at_rest()
    assert await reasons(team) == {"hops": 1}


async def test_an_agent_does_not_answer_itself(team: Team) -> None:
    await team.run(me=FINE)
    echo = await team.ask("analysis", "x", context={"hops": 1, "path": ["me"]})
    assert echo["error"]["code"] == "loop"
    far = await team.ask("analysis", "x", context={"hops": 2, "path": ["me", "other"]})
    assert far["success"]
    await team.at_rest()
    assert await reasons(team) == {"loop": 1}


async def test_a_result_says_through_whom_it_came(team: Team) -> None:
    await team.run(me=FINE)
    task = {"id": "t1", "context": {"hops": 1, "path": ["other"]}, "payload": {"content": "x"}}
    await team.send(team.subjects.task("analysis", "x"), task)
    result = await team.result(team.subjects.result("analysis", "x", "t1"))
    assert (result.context.hops, result.context.path) == (2, ("other", "me"))


async def test_a_ring_of_agents_ends_at_the_limit(team: Team) -> None:
    """Each answer is handed on to the other agent, as emitted work will be."""
    await team.run(ping=FINE + "limits: {hops: 5}\n", pong="capabilities: [research]\n")
    message = new("task", "x", source=AgentIdentity(id="test"))
    answered = 0
    for hop in range(10):
        domain, agent = (("analysis", "ping"), ("research", "pong"))[hop % 2]
        subject = team.subjects.task(domain, "x")
        await team.send(subject, message.model_dump_json(exclude_unset=True).encode())
        result = await team.result(team.subjects.result(domain, "x", message.id))
        if not result.payload.content["success"]:
            assert result.payload.content["error"]["code"] == "hops"
            break
        answered += 1
        message = message.child("task", "x", source=AgentIdentity(id=agent, type="agent"))
    assert answered == 6


# --- money ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "answered"), [(100, 10), (50, 19)], ids=["as estimated", "half the estimate"]
)
async def test_replicas_spend_a_conversations_budget_to_the_cent(
    team: Team, nats_url: str, output: int, answered: int
) -> None:
    await team.run(me=priced(output, limits="conversation_cost: 1.0", latency="20ms"))
    async with replica(team, nats_url) as other:
        results = await conversation_of(team, "c1", 50)
        served = [runtime.agents["me"].stats.done for runtime in (team.runtime, other)]
        await team.at_rest()
    done = [result for result in results if result["success"]]
    refused = [result["error"] for result in results if not result["success"]]
    assert len(done) == sum(served) == answered
    assert {error["code"] for error in refused} == {"budget"}
    assert refused[0]["message"].startswith(
        "limits.conversation_cost is $1.00: the conversation 'c1' has spent $"
    )
    spent = round(sum(result["cost"] for result in done), 9)
    assert spent <= 1.0
    assert await account(team, "c1") == Account(spent=spent)
    assert await reasons(team) == {"budget": 50 - answered}


async def test_conversations_do_not_share(team: Team) -> None:
    await team.run(me=priced(limits="conversation_cost: 0.25"))
    one, other = await asyncio.gather(
        conversation_of(team, "one", 4), conversation_of(team, "other", 4)
    )
    assert sum(result["success"] for result in one) == 2
    assert sum(result["success"] for result in other) == 2
    alone = [await team.ask("analysis", "x") for _ in range(4)]
    assert all(result["success"] for result in alone)


async def test_a_task_that_may_cost_too_much_is_not_tried(team: Team) -> None:
    await team.run(me=priced(limits="cost: 0.09"))
    refused = await team.ask("analysis", "x")
    assert refused["error"]["message"] == (
        "limits.cost is $0.09: the task has spent $0.00, and this call may cost $0.10"
    )
    await team.at_rest()
    assert await reasons(team) == {"budget": 1}


async def test_a_sender_bounds_cost_and_tokens(team: Team) -> None:
    await team.run(me=priced())

    async def ask(**constraints: Any) -> dict[str, Any]:
        payload = {"content": "x" * 400, "constraints": constraints}
        return await team.ask("analysis", "", payload=payload)

    assert (await ask(maxCost=0.1))["success"]
    dear = await ask(maxCost=0.09)
    assert dear["error"]["code"] == "budget"
    assert "payload.constraints.maxCost is $0.09" in dear["error"]["message"]
    long = await ask(maxTokens=100)
    assert long["error"]["code"] == "budget"
    assert "payload.constraints.maxTokens is 100" in long["error"]["message"]
    # With less output allowed, a call may cost less.
    assert (await ask(maxTokens=160, maxCost=0.09))["success"]


async def test_attempts_that_may_have_cost_count(team: Team) -> None:
    await team.run(me=priced(limits="cost: 0.25", error={"code": "model_truncated"}))
    result = await team.ask("analysis", "x", context={"conversationId": "c"})
    assert result["error"]["message"] == (
        "limits.cost is $0.25: the task has spent $0.20, and this call may cost $0.10"
    )
    assert (await account(team, "c")).spent == 0.2


async def test_a_turn_that_calls_tools_counts_for_the_next(team: Team) -> None:
    await team.run(me=priced(limits="cost: 0.15", tool_calls=[{"name": "look"}]))
    result = await team.ask("analysis", "x", context={"conversationId": "c"})
    assert result["error"]["message"] == (
        "limits.cost is $0.15: the task has spent $0.10, and this call may cost $0.10"
    )
    left = await account(team, "c")
    assert (left.spent, left.reserved) == (0.1, 0)


async def test_attempts_that_a_provider_refused_cost_nothing(team: Team) -> None:
    await team.run(me=priced(limits="cost: 0.10", error={"status": 503}))
    result = await team.ask("analysis", "x", context={"conversationId": "c"})
    assert result["error"]["code"] == "exhausted"
    assert await account(team, "c") == Account()


async def test_what_a_crashed_replica_set_aside_counts_as_spent(team: Team) -> None:
    ledger = shared_account(team.bus, account_subject(team.subjects.env, "c"))
    until = time.time() + 60
    await ledger.change(lambda empty: empty.reserve("t1", 0.1, by="dead", until=until))
    await team.run(me=priced(limits="conversation_cost: 0.25"))
    assert (await team.ask("analysis", "x", id="t1", context={"conversationId": "c"}))["success"]
    assert await account(team, "c") == Account(spent=0.2)
    late = await team.ask("analysis", "x", context={"conversationId": "c"})
    assert late["error"]["code"] == "budget"


async def test_a_deleted_bucket_is_an_error_until_it_exists_again(
    bus: Bus, subjects: Subjects
) -> None:
    # On a bus without a runtime, whose housekeeper would create the bucket again.
    subject = account_subject(subjects.env, "c")
    ledger = shared_account(bus, subject)

    def spend(before: Account) -> Account:
        return replace(before, spent=total(before.spent, 0.1))

    await ledger.change(spend)
    await jetstream.api(bus, f"STREAM.DELETE.{BUDGETS}")
    with pytest.raises(BusError):
        await ledger.change(spend)
    await streams.ensure(bus, Settings())
    await ledger.change(spend)
    _, data = await jetstream.newest(bus, BUDGETS, subject)
    assert Account.parse(data).spent == 0.1


async def test_a_call_that_is_cut_off_is_settled(team: Team) -> None:
    await team.run(me=priced(latency="10s"))
    context = {"conversationId": "c"}
    task = {"id": "t1", "context": context, "payload": {"content": "x"}}
    await team.send(team.subjects.task("analysis", "x"), task)
    async with asyncio.timeout(10):
        while not (await account(team, "c")).reserved:
            pass
    await team.runtime.drain(0.1)
    left = await account(team, "c")
    assert (left.spent, left.reserved, left.paid("t1")) == (0.1, 0, 0.1)


async def test_a_free_model_leaves_no_account(team: Team) -> None:
    await team.run(me=FINE)
    assert (await team.ask("analysis", "x", context={"conversationId": "c"}))["success"]
    subject = account_subject(team.subjects.env, "c")
    assert await jetstream.newest(team.bus, BUDGETS, subject) == (0, b"")


async def test_a_question_is_paid_from_its_conversation(team: Team) -> None:
    await team.run(me=priced(limits="conversation_cost: 0.10"))
    subject = team.subjects.query("analysis", "x")
    question = b'{"context": {"conversationId": "c"}, "payload": {"content": "quick"}}'
    answers = [decode((await team.bus.request(subject, question)).data) for _ in range(2)]
    first, second = (answer.payload.content for answer in answers)
    assert (first["success"], second["error"]["code"]) == (True, "budget")


# --- time -----------------------------------------------------------------------------------------


async def test_no_time_is_no_call(team: Team) -> None:
    await team.run(me=priced())
    payload = {"content": "x", "constraints": {"timeout": 0}}
    late = await team.ask("analysis", "", payload=payload, context={"conversationId": "c"})
    assert late["error"]["code"] == "expired"
    assert await account(team, "c") == Account()
    await team.at_rest()
    assert await reasons(team) == {"expired": 1}


async def test_who_waits_for_money_waits_no_longer_than_its_time(team: Team) -> None:
    ledger = shared_account(team.bus, account_subject(team.subjects.env, "c"))
    until = time.time() + 60
    await ledger.change(lambda empty: empty.reserve("other", 0.2, by="elsewhere", until=until))
    await team.run(me=priced(limits="conversation_cost: 0.25, timeout: 500ms"))
    late = await team.ask("analysis", "x", context={"conversationId": "c"})
    assert late["error"]["code"] == "budget"
    assert "$0.20 reserved for calls under way" in late["error"]["message"]


async def test_who_waits_for_money_gets_what_another_replica_settles(team: Team) -> None:
    ledger = shared_account(team.bus, account_subject(team.subjects.env, "c"))
    until = time.time() + 60
    await ledger.change(lambda empty: empty.reserve("other", 0.2, by="elsewhere", until=until))
    await team.run(me=priced(limits="conversation_cost: 0.25"))
    asking = asyncio.create_task(team.ask("analysis", "x", context={"conversationId": "c"}))
    await running(team.runtime)
    await ledger.change(lambda held: held.settle("other", 0.01, by="elsewhere", keep_until=None))
    assert (await asking)["success"]
    assert await account(team, "c") == Account(spent=0.11)


# --- stops ----------------------------------------------------------------------------------------

SLOW = """
capabilities: [analysis]
model: {name: mock/script, script: [{text: done, latency: 30s}]}
limits: {concurrency: 2}
"""


def message_of(conversation: str) -> AgentMessage:
    context = Context(conversation_id=conversation)
    return new("task", "x", source=AgentIdentity(id="somebody"), context=context)


async def test_a_stop_ends_what_runs_and_what_waits_in_every_process(
    team: Team, nats_url: str
) -> None:
    await team.run(me=SLOW)
    async with replica(team, nats_url) as other:
        asking = asyncio.create_task(conversation_of(team, "c", 10))
        elsewhere = asyncio.create_task(conversation_of(team, "another", 1))
        await running(team.runtime, 2)
        await running(other, 2)
        await cancellations.cancel(
            team.bus, team.subjects, cancellations.Scope("conversation", "c")
        )
        results = await asyncio.wait_for(asking, 15)
        assert {result["error"]["code"] for result in results} == {"cancelled"}
        assert results[0]["error"]["message"] == "the conversation 'c' was cancelled"
        assert await reasons(team) == {"cancelled": 10}
        assert not elsewhere.done()
        await cancellations.cancel(
            team.bus, team.subjects, cancellations.Scope("conversation", "another")
        )
        await asyncio.wait_for(elsewhere, 15)
    await team.at_rest()


async def test_a_stopped_conversation_stays_so_until_it_is_undone(
    team: Team, nats_url: str
) -> None:
    await team.run(me=FINE)
    await cancellations.cancel(
        team.bus, team.subjects, cancellations.Scope("conversation", "any text: é.*")
    )
    context = {"conversationId": "any text: é.*"}
    assert (await team.ask("analysis", "x", context=context))["error"]["code"] == "cancelled"
    await team.runtime.drain(1)
    async with replica(team, nats_url):  # that was not there when it was stopped
        assert (await team.ask("analysis", "x", context=context))["error"]["code"] == "cancelled"
        await cancellations.undo(
            team.bus, team.subjects, cancellations.Scope("conversation", "any text: é.*")
        )
        await team.bus.fence()
        async with asyncio.timeout(5):
            while not (await team.ask("analysis", "x", context=context))["success"]:
                pass
    facts = jetstream.stored(team.bus, LOG, team.subjects.pattern("event.conversation.*"))
    events = [decode(msg.data) async for msg in facts]
    told = [event.payload.content["event"] for event in events]
    assert told[:2] == ["conversation_stopped", "conversation_resumed"]
    assert set(told[2:]) == {"conversation_exchange"}
    assert {event.context.conversation_id for event in events} == {"any text: é.*"}


async def test_a_stop_cancels_no_answer_that_is_there(team: Team) -> None:
    await team.run(me=FINE)
    answered = await team.ask("analysis", "x", id="t1", context={"conversationId": "c"})
    await cancellations.cancel(team.bus, team.subjects, cancellations.Scope("conversation", "c"))
    again = {"id": "t1", "context": {"conversationId": "c"}, "payload": {"content": "x"}}
    await team.send(team.subjects.task("analysis", "x"), again, **{"Nats-Msg-Id": "t1-again"})
    await team.at_rest()
    result = await team.result(team.subjects.result("analysis", "x", "t1"))
    assert result.payload.content == answered
    assert await team.letters() == []


async def test_a_stop_that_was_missed_is_read_on_reconnecting(team: Team, nats_url: str) -> None:
    options = {"servers": nats_url, "reconnect_time_wait": 1.5}
    bus = await Bus.connect(options, timeout=5)
    known = Cancellations(bus, team.subjects.env)
    await cancellations.cancel(team.bus, team.subjects, cancellations.Scope("conversation", "old"))
    await known.open()

    async def work(conversation: str) -> None:
        with known.obeyed(message_of(conversation)):
            await asyncio.sleep(30)

    working = asyncio.create_task(work("new"))
    await asyncio.sleep(0)
    client = bus._client  # pyright: ignore[reportPrivateUsage]
    client._transport.close()  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
    await until(lambda: not bus.connected)
    await cancellations.cancel(team.bus, team.subjects, cancellations.Scope("conversation", "new"))
    await cancellations.undo(team.bus, team.subjects, cancellations.Scope("conversation", "old"))
    assert not bus.connected
    with pytest.raises(Undeliverable, match="'new' was cancelled"):
        await asyncio.wait_for(working, 10)
    with known.obeyed(message_of("old")):
        await bus.close()


async def test_a_drain_is_no_stop(team: Team) -> None:
    """A cancellation that nobody stopped goes on as one: the task goes back."""
    known = Cancellations(team.bus, team.subjects.env)

    async def work() -> None:
        with known.obeyed(message_of("c")):
            await asyncio.sleep(30)

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_work_that_was_stopped_can_be_sent_again(team: Team) -> None:
    await team.run(me=SLOW)
    asking = asyncio.create_task(conversation_of(team, "c", 1))
    await running(team.runtime)
    await cancellations.cancel(team.bus, team.subjects, cancellations.Scope("conversation", "c"))
    assert (await asking)[0]["error"]["code"] == "cancelled"
    await team.at_rest()
    [letter] = [each async for each in dead_letters.listed(team.bus, team.subjects)]
    await team.run(me=FINE)
    await cancellations.undo(team.bus, team.subjects, cancellations.Scope("conversation", "c"))
    await team.bus.fence()
    await dead_letters.send_again(team.bus, team.subjects, letter)
    result = await team.result(team.subjects.result("analysis", "x", letter.task_id))
    assert result.payload.content["success"]


async def test_corrections_are_paid_by_one_task(team: Team) -> None:
    """Each call may cost $1, and costs a tenth of a cent: the third is one too many."""
    script = "{name: mock/script, script: [no, no, '{}'], price: {input: 0, output: 1000}}"
    bounds = "output: {schema: {type: object}}\nlimits: {cost: 1.0015, conversation_cost: 9}\n"
    await team.run(me=f"capabilities: [analysis]\nmodel: {script}\n{bounds}")
    result = await team.ask("analysis", "x")
    assert result["error"]["code"] == "budget"
    assert "the task has spent $0.002" in result["error"]["message"]


async def test_child_work_has_what_is_left(team: Team) -> None:
    """A task that its parent's time is too short for never reaches the model."""
    await team.run(me=FINE)
    routing = Routing(timeout=200)
    parent = new("task", "x", source=AgentIdentity(id="test"), routing=routing)
    await asyncio.sleep(0.25)
    child = parent.child("task", "y", source=AgentIdentity(id="other", type="agent"))
    data = child.model_dump_json(exclude_unset=True).encode()
    await team.send(team.subjects.task("analysis", "x"), data)
    result = await team.result(team.subjects.result("analysis", "x", child.id))
    assert result.payload.content["error"]["code"] == "expired"
