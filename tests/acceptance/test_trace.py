"""`agentd trace`: all that happened in a conversation, checked against the log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from outside import Project, Wire, eventually

OPS = """\
capabilities: [deploy]
retry: {attempts: 2, backoff: 10ms}
tools:
  - {python: "shop.py:deploy", effects: true, approval: true}
"""
DOWN = "model: {name: mock/script, script: [{error: {status: 503, message: it is down}}]}"
UP = """\
model:
  name: mock/script
  script: [{tool_calls: [{name: deploy, arguments: {to: production}}]}, It is deployed.]
"""
SHOP = '''\
def deploy(to: str) -> str:
    """Deploys."""
    return f"deployed to {to}"
'''


def agents(project: Project) -> None:
    """A boss has two things done; a reporter joins the results, also that of a failure."""
    project.agent(
        "boss", "emit:", "  rules: [{task: deploy.shop}, {task: check.shop}]", "model: mock/echo"
    )
    project.agent("ops", *OPS.splitlines(), DOWN)
    project.agent("checker", "capabilities: [check]", "model: mock/echo")
    project.agent(
        "reporter", "join: {wait_for: [result.deploy.*, result.check.*]}", "model: mock/echo"
    )
    project.write("tools/shop.py", SHOP)


async def test_the_trace_of_a_task_that_was_killed_retried_approved_joined_and_answered(
    guest: Project,
) -> None:
    agents(guest)
    doomed = guest.up(AGENTD_CRASH="before-model").ready()
    async with guest.wire() as wire:
        await wire.task("boss", "t1", "Deploy the shop.", context={"conversationId": "shop"})
        doomed.wait()
        up = guest.up().ready()
        await wire.recorded("result.reporter.*.*", 1)
        await wire.recorded("dlq.deploy.shop", 1)
        guest.agent("ops", *OPS.splitlines(), *UP.splitlines())
        await wire.event("reloaded", "ops")
        assert (await guest.run("dlq", "retry", "--all")).code == 0
        await wire.recorded("event.approval.*", 1)
        [waiting] = json.loads((await guest.run("approvals", "ls", "--json")).out)
        approve = ("approvals", "approve", waiting["task"], "--reason", "fine")
        assert (await guest.run(*approve)).code == 0
        await wire.recorded("event.join_late.*", 1)
        assert up.stop() == 0

        done = await guest.run("trace", "t1", "--json")
        assert done.code == 0, done.err
        tree = json.loads(done.out)
        assert {each for node in nodes(tree) for each in node.get("sequences", ())} >= {
            *await logged(wire)
        }
    tasks = {node["name"]: node for node in nodes(tree) if node["kind"] == "task"}
    assert {name: node["status"] for name, node in tasks.items()} == dict.fromkeys(
        ("boss", "ops", "checker", "reporter"), "ok"
    )
    # It was killed, and begun again.
    assert [each["event"] for each in tasks["boss"]["children"] if each["kind"] == "attempt"] == [
        "attempt_started"
    ]
    assert tasks["boss"]["attempts"] == 2
    # It failed, was sent again, and waited for a person.
    first, second = (each for each in tasks["ops"]["children"] if each["kind"] == "life")
    assert (first["status"], first["attempts"], second["status"]) == ("failed", 2, "ok")
    [approval] = [each for each in nodes(second) if each["kind"] == "approval"]
    assert (approval["decision"], approval["text"]) == ("approved", "fine")
    [call] = [each for each in nodes(second) if each["kind"] == "call"]
    assert (call["name"], call["answer"]) == ("deploy", "deployed to production")
    # Both results were joined; the second result of the task that was sent again came late.
    [join] = [each for each in nodes(tasks["reporter"]) if each["kind"] == "join"]
    assert [each.get("source", "ops") for each in join["facts"]].count("ops") == 1
    assert len(join["facts"]) == 2
    assert [each["kind"] for each in nodes(tasks["reporter"])].count("late") == 1
    # What one task emitted stands below it.
    below = {each["name"] for each in nodes(tasks["boss"]) if each["kind"] == "task"}
    assert below == {"boss", "ops", "checker", "reporter"}

    prompts = (await guest.run("trace", "shop", "--prompts")).out
    assert "system: You are ops." in prompts
    assert "tool: deployed to production" in prompts
    shown = (await guest.run("trace", "shop")).out
    assert "You are ops." not in shown
    for text in ("approved by", "begun again", "sent again", "joined", "late fact", "dead letter"):
        assert text in shown, shown


def nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a trace and all below it."""
    yield tree
    for child in tree.get("children", ()):
        yield from nodes(child)


async def logged(wire: Wire) -> list[int]:
    """The sequences of all messages about the conversation in the log: all but those about agents
    and timers."""
    jetstream = wire.client.jetstream()
    found: list[int] = []
    pattern = f"agents.{wire.env}.>"
    subscription = await jetstream.subscribe(pattern, stream="AGENTD_LOG", ordered_consumer=True)
    for _ in range(await wire.count(">")):
        msg = await subscription.next_msg(timeout=30)
        if ".event.status." not in msg.subject and ".event.join_due." not in msg.subject:
            found.append(msg.metadata.sequence.stream)
    await subscription.unsubscribe()
    return found


async def test_an_id_that_names_nothing_or_several_things(guest: Project) -> None:
    guest.agent("analyst", "model: mock/echo")
    guest.up().ready()
    async with guest.wire() as wire:
        for name in ("task-1", "task-2"):
            await wire.task("analyst", name)
            await eventually(lambda name=name: wire.count(f"result.analyst.*.{name}"))
        unknown = await guest.run("trace", "nowhere")
        several = await guest.run("trace", "task-")
        number = (await logged(wire))[0]
    assert (unknown.code, several.code) == (2, 2)
    assert "nothing on record has the id 'nowhere'" in unknown.err
    assert "several ids: task task-1, task task-2" in several.err
    one = await guest.run("trace", str(number))
    assert "task-1" in one.out
    assert "task-2" not in one.out

    forgotten = await guest.run("forget", "task-1")
    assert forgotten.code == 0, forgotten.err
    assert re.fullmatch(r"task-1 is forgotten: [23] messages of the log erased\n", forgotten.out)
    gone, other = await guest.run("trace", "task-1"), await guest.run("trace", "task-2")
    assert (gone.code, other.code) == (2, 0)
    assert re.search(r"task-1 was forgotten at .* by .*@.*: [23] messages", gone.err)
    assert (await guest.run("forget", "task-1")).code == 2
