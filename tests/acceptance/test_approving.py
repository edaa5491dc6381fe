"""`agentd approvals` on a real server, with the process killed at every crash point."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from outside import Done, Project, Wire, eventually, until

from agentd import crash_points

PAYER = """\
capabilities: [payer]
tools:
  - {python: "bank.py:pay", effects: true, approval: true}
model:
  name: mock/script
  script: [{tool_calls: [{name: pay, arguments: {usd: 5}}]}, Paid.]
"""
BANK = '''\
def pay(usd: float) -> str:
    """Pays."""
    with open("paid.txt", "a") as paid:
        paid.write("paid\\n")
    return "paid"
'''


@pytest.fixture
def bank(guest: Project) -> Project:
    guest.agent("payer", *PAYER.splitlines())
    guest.write("tools/bank.py", BANK.replace("paid.txt", str(guest.root / "paid.txt")))
    return guest


def paid(project: Project) -> int:
    file = project.root / "paid.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


async def asked(wire: Wire, task: str) -> None:
    await eventually(lambda: wire.count(f"event.approval.{task}"), f"a request of {task}")


@pytest.mark.parametrize("point", crash_points.OF_APPROVALS)
async def test_an_approved_call_is_made_once_wherever_the_process_is_killed(
    bank: Project, point: str
) -> None:
    doomed = bank.up(AGENTD_CRASH=point).ready()
    async with bank.wire() as wire:
        await wire.task("payer", "t1")
        if point == "before-resume":
            await asked(wire, "t1")
            assert (await bank.run("approvals", "approve", "t1")).code == 0
        doomed.wait()
        bank.up().ready()
        await asked(wire, "t1")
        if point != "before-resume":
            assert (await bank.run("approvals", "approve", "t1")).code == 0
        result = await wire.result("t1")
        assert result.content["data"] == "Paid."
        assert (paid(bank), await wire.count("result.payer.*.*")) == (1, 1)
        journal = [each.content for each in await wire.recorded("event.run.t1")]
        assert [each["turn"] for each in journal if each["event"] == "turn"] == [1]


def test_the_command_lists_and_denies_calls_and_reports_earlier_decisions(
    bank: Project, typed: Callable[..., Done]
) -> None:
    def output_of(*line: str) -> str:
        done = typed(bank, "approvals", *line)
        return done.out + done.err

    up = bank.up().ready()
    assert "no tool call waits" in output_of("ls")
    assert "no task t1 waits" in output_of("approve", "t1")
    for task in ("t1", "t2"):
        message = json.dumps({"id": task, "payload": {"content": "Pay."}})
        assert typed(bank, "send", "payer", stdin=message).code == 0
        until(lambda each=task: f'"{each}"' in output_of("ls", "--json"), "a request")
    [first, _] = json.loads(output_of("ls", "--json"))
    call = {"index": 0, "name": "pay", "arguments": {"usd": 5}}
    assert (first["task"], first["calls"]) == ("t1", [call])
    assert "2 suspended tasks have an id that begins with t" in output_of("deny", "t")
    assert "has no call 3; it has 0" in output_of("deny", "t1", "--call", "3")
    denied = output_of("deny", "t1", "--by", "eve", "--reason", "too dear")
    assert denied == "call 0 (pay) of task t1 is denied\n"
    assert output_of("approve", "t1") == "agentd: task t1 is already decided, by eve\n"
    [left] = json.loads(output_of("ls", "--json"))
    assert (left["task"], paid(bank)) == ("t2", 0)
    assert left["schemas"]["pay"]["required"] == ["usd"]
    assert "--arguments is not JSON" in output_of("approve", "t2", "--arguments", "{")
    wrong = output_of("approve", "t2", "--arguments", '{"usd": "much"}')
    assert "arguments['usd']: 'much' is not of type 'number'" in wrong
    assert "has no question" in output_of("answer", "t2", "yes")
    edited = output_of("approve", "t2", "--arguments", '{"usd": 3}')
    assert edited == "call 0 (pay) of task t2 is edited\n"
    until(lambda: paid(bank) == 1, "the call")
    assert up.stop() == 0


async def test_ask_shows_the_calls_that_wait_and_then_the_answer(bank: Project) -> None:
    bank.up().ready()
    asking = await bank.spawn("ask", "payer", "Pay.")
    async with bank.wire() as wire:
        [request] = await wire.recorded("event.approval.*", at_least=1)
    assert (await bank.run("approvals", "approve", request.content["task"])).code == 0
    out, err = await asking.communicate()
    assert (asking.returncode, out.decode()) == (0, "Paid.\n")
    assert '[waiting for approval: pay {"usd": 5}]' in err.decode()
