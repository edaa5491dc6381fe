"""The tree of a conversation: what stands where, and that every record stands somewhere."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace

from agentd.protocol.fields import AgentIdentity, Context
from agentd.protocol.message import AgentMessage, new
from agentd.protocol.subjects import digest
from agentd.queue.journal import CALLS
from agentd.record.trace.entry import Entry
from agentd.record.trace.node import Node
from agentd.record.trace.tree import branch, build
from tests.unit.record.trace.story import PERSON, T0, Story, agent


def tree(story: Story) -> Node:
    found = build("chat", story.entries)
    assert sequences(found) == {entry.sequence for entry in story.entries}
    return found


def sequences(node: Node) -> set[int]:
    return {sequence for each in node.walk() for sequence in each.sequences}


def outline(node: Node) -> Iterator[str]:
    """A node a line: its kind and its name, below what it stands below."""
    yield f"{node.kind} {node.name or node.id}".strip()
    for child in node.children:
        yield from (f"  {line}" for line in outline(child))


def shape(story: Story) -> list[str]:
    return [line.removeprefix("  ") for line in outline(tree(story))][1:]


def the(node: Node, kind: str, name: str = "") -> Node:
    [found] = [each for each in node.walk() if each.kind == kind and name in ("", each.name)]
    return found


def test_a_task_and_its_result() -> None:
    story = Story()
    task = story.ask("analysis", {"instruction": "How is it?"}, id="t1")
    story.result(task, "analyst", "Good.", tokens=12, cost=0.5, revision="9b1f", model="m")

    assert shape(story) == ["task analyst", "  result analyst"]
    found = the(tree(story), "task")
    assert (found.text, found.status, found.id) == ("How is it?", "ok", "t1")
    assert found.details["to"] == "analysis.general"
    assert found.details["source"] == "maria"
    assert found.details["revision"] == "9b1f"
    assert (found.began, found.ended) == (T0 + 1, T0 + 2)
    assert the(tree(story), "result").text == "Good."


def test_the_totals_of_a_conversation_count_what_is_known() -> None:
    story = Story()
    for name, tokens in (("t1", 12), ("t2", 30)):
        story.result(story.ask("analysis", "?", id=name), "analyst", "ok", tokens=tokens)

    found = tree(story)
    assert found.details == {"tasks": 2, "tokens": 42}
    assert (found.began, found.ended) == (T0 + 1, T0 + 4)


def test_a_task_waits_until_work_on_it_begins() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    story.now += 8
    story.result(task, "analyst", "ok", latency=2_000)

    found = the(tree(story), "task")
    assert (found.started, found.ended) == (T0 + 8, T0 + 10)


def test_work_on_a_task_begins_with_its_first_attempt() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    story.run(task, "analyst", "attempt_failed", life=101, used=0.5, delay=0.1)
    story.result(task, "analyst", "ok", latency=100)

    assert the(tree(story), "task").started == T0 + 1.5


def test_turns_have_their_tool_calls() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    calls = [{"name": "search", "arguments": '{"q": "kettle"}'}, {"name": "pay", "arguments": "{}"}]
    completion = {"text": "", "model": "gpt", "tool_calls": calls, "cost": 0.1}
    story.run(task, "analyst", "turn", life=101, turn=1, index=0, completion=completion)
    story.run(task, "analyst", "tool_called", life=101, turn=1, index=1, name="pay", key="k")
    story.run(
        task, "analyst", "tool_answered", life=101, turn=1, index=0, name="search", text="3 hits",
        error=False,
    )  # fmt: skip
    story.run(
        task, "analyst", "tool_answered", life=101, turn=1, index=1, name="pay", text="no money",
        error=True,
    )  # fmt: skip
    story.result(task, "analyst", "ok")

    assert shape(story) == [
        "task analyst",
        "  turn gpt",
        "    call search",
        "    call pay",
        "  result analyst",
    ]
    search, pay = the(tree(story), "call", "search"), the(tree(story), "call", "pay")
    assert (search.text, search.status, search.details["answer"]) == (
        '{"q": "kettle"}',
        "ok",
        "3 hits",
    )
    assert (search.began, search.ended) == (T0 + 2, T0 + 4)
    assert (pay.status, pay.began, pay.details["key"]) == ("failed", T0 + 3, "k")


def test_a_call_that_is_being_made_waits() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    completion = {"model": "gpt", "tool_calls": [{"name": "search", "arguments": "{}"}]}
    story.run(task, "analyst", "turn", life=101, turn=1, index=0, completion=completion)

    assert the(tree(story), "call").status == "waiting"
    assert the(tree(story), "task").details["state"] == "running"
    assert tree(story).ended is None


def test_the_call_that_gave_the_answer_stands_before_the_result() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    story.result(task, "analyst", "ok")
    call = {"model": "gpt", "latency": 800.0, "usage": {"inputTokens": 5, "outputTokens": 1}}
    story.run(task, "analyst", "model_called", life=101, turn=1, call=call)

    assert shape(story) == ["task analyst", "  turn gpt", "  result analyst"]
    turn = the(tree(story), "turn")
    assert turn.ended is not None
    assert round(turn.ended - turn.began, 3) == 0.8
    assert turn.details["usage"] == {"inputTokens": 5, "outputTokens": 1}


def test_a_result_that_names_its_last_call_has_a_turn() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    story.result(task, "analyst", "ok")
    called = {"life": 101, "turn": 1, "call": {"model": "gpt", "latency": 800.0}}
    story.entries[-1] = replace(story.entries[-1], headers={CALLS: json.dumps(called)})

    assert shape(story) == ["task analyst", "  turn gpt", "  result analyst"]
    turn, result = the(tree(story), "turn"), the(tree(story), "result")
    assert turn.ended is not None
    assert round(turn.ended - turn.began, 3) == 0.8
    assert result.began == result.ended


def test_a_turn_has_what_the_model_was_sent() -> None:
    story = Story()
    task = story.ask("analysis", "How is it?", id="t1")
    system, user = {"role": "system", "content": "Be kind."}, {"role": "user", "task": True}
    first = {"model": "gpt", "messages": [system, user]}
    completion = {"text": "", "model": "gpt", "finish_reason": "tool_calls", "tool_calls": [
        {"id": "c1", "name": "look", "arguments": "{}"}
    ]}  # fmt: skip
    story.run(task, "analyst", "turn", life=101, turn=1, index=0, completion=completion, call=first)
    story.run(
        task, "analyst", "tool_answered", life=101, turn=1, index=0, name="look", text="42",
        error=False,
    )  # fmt: skip
    answers = [{"turn": 1}, {"turn": 1, "index": 0}]
    second = {"model": "gpt", "after": 2, "messages": answers}
    story.run(task, "analyst", "model_called", life=101, turn=2, call=second)
    story.result(task, "analyst", "ok")

    turns = [each for each in tree(story).walk() if each.kind == "turn"]
    sent = [[message["role"] for message in turn.details["messages"]] for turn in turns]
    assert sent == [["system", "user"], ["system", "user", "assistant", "tool"]]
    assert turns[1].details["messages"][1]["content"] == "How is it?"
    assert turns[1].details["messages"][3]["content"] == "42"
    assert "messages" not in turns[1].as_json(prompts=False)


def approval(story: Story, task: AgentMessage) -> None:
    completion = {"model": "gpt", "tool_calls": [{"name": "deploy", "arguments": "{}"}]}
    story.run(task, "ops", "turn", life=101, turn=1, index=0, completion=completion)
    content = {
        "event": "approval_requested", "task": task.id, "agent": "ops", "life": 101, "turn": 1,
        "calls": [{"index": 0, "name": "deploy", "arguments": {}}],
        "expires": "2027-01-16T00:00:00+00:00",
    }  # fmt: skip
    story.about("approval", task, content, by="ops")


def test_an_approval_stands_below_its_call() -> None:
    story = Story()
    task = story.ask("ops", "?", id="t1")
    approval(story, task)
    assert the(tree(story), "task").details["state"] == "suspended"
    assert the(tree(story), "approval").status == "waiting"

    story.of_system("approval.t1", {"decision": "approve", "task": "t1", "by": "maria"})
    again = story.store(story.subjects.task("ops", "general"), task)
    story.with_headers(again, Nats_Scheduler="s", Agentd_Life="101", Agentd_Resumes="1")
    story.run(
        task, "ops", "tool_answered", life=101, turn=1, index=0, name="deploy", text="done",
        error=False, decision="approved", by="maria",
    )  # fmt: skip
    story.result(task, "ops", "ok")

    assert shape(story) == [
        "task ops",
        "  turn gpt",
        "    call deploy",
        "      approval maria",
        "  resumed ops.general",
        "  result ops",
    ]
    decided = the(tree(story), "approval")
    assert (decided.status, decided.details["decision"]) == ("ok", "approved")
    assert decided.ended == T0 + 4
    assert the(tree(story), "call").began == T0 + 4


def test_a_decision_that_decides_nothing_is_shown() -> None:
    story = Story()
    task = story.ask("ops", "?", id="t1")
    approval(story, task)
    story.of_system("approval.t1", {"decision": "approve", "task": "t1", "turn": 7, "by": "eve"})

    assert "  decision eve" in shape(story)
    assert the(tree(story), "approval").status == "waiting"


def test_attempts_of_a_task_that_was_killed_and_tried_again() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    error = {"code": "model_timeout", "message": "too slow"}
    story.run(task, "analyst", "attempt_failed", life=101, error=error, delay=1.0)
    story.run(task, "analyst", "attempt_started", life=101)
    story.run(task, "analyst", "handed_back", life=101)
    story.result(task, "analyst", "ok")

    found = tree(story)
    assert the(found, "task").details["attempts"] == 3
    attempts = [each for each in found.walk() if each.kind == "attempt"]
    assert [each.details["event"] for each in attempts] == [
        "attempt_failed",
        "attempt_started",
        "handed_back",
    ]
    assert (attempts[0].text, attempts[0].details["code"]) == ("too slow", "model_timeout")


def test_a_task_sent_again_from_the_dead_letters_has_two_lives() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    story.run(task, "analyst", "attempt_failed", life=101, delay=0)
    failed = {"code": "exhausted", "message": "no"}
    story.result(task, "analyst", None, success=False, error=failed)
    letter = story.store(story.subjects.dlq("analysis", "general"), task)
    story.with_headers(letter, Agentd_Task="t1", Agentd_Reason="exhausted", Agentd_Attempts="2")
    again = story.store(story.subjects.task("analysis", "general"), task)
    story.with_headers(again, Agentd_Task="t1", Agentd_Sent_Again="1800000005.0")
    retried = {"event": "letter_retried", "letter": letter, "task": "t1", "by": "maria"}
    story.of_system("dlq.retried", retried)
    story.run(task, "analyst", "attempt_failed", life=again, delay=0)
    story.result(task, "analyst", "ok")

    assert shape(story) == [
        "task analyst",
        "  life 1",
        "    attempt analyst",
        "    result analyst",
        "    letter exhausted",
        "  life 2",
        "    letter maria",
        "    attempt analyst",
        "    result analyst",
    ]
    found = the(tree(story), "task")
    assert (found.status, found.details["lives"], found.sequences) == ("ok", 2, [101])
    first, second = found.children
    assert (first.status, first.details["code"]) == ("failed", "exhausted")
    assert (second.status, second.sequences) == ("ok", [again])


def test_what_an_agent_emits_stands_below_it() -> None:
    story = Story()
    task = story.ask("plan", "?", id="t1")
    story.result(task, "planner", "ok", about="plan")
    for name in ("a", "b"):
        part = story.emit(task, "planner", "research", name, id=name)
        story.result(part, "researcher", name, about="research")

    assert shape(story) == [
        "task planner",
        "  result planner",
        "  task researcher",
        "    result researcher",
        "  task researcher",
        "    result researcher",
    ]


def test_a_task_that_a_tool_call_sent_stands_below_the_call() -> None:
    story = Story()
    task = story.ask("plan", "?", id="t1")
    completion = {"model": "gpt", "tool_calls": [{"name": "critic", "arguments": "{}"}]}
    story.run(task, "planner", "turn", life=101, turn=1, index=0, completion=completion)
    asked = story.emit(task, "planner", "critique", "good?", id=digest("t1.1.0"))
    story.result(asked, "critic", "yes", about="critique")
    story.run(
        task, "planner", "tool_answered", life=101, turn=1, index=0, name="critic", text="yes",
        error=False,
    )  # fmt: skip
    story.result(task, "planner", "ok", about="plan")

    assert shape(story) == [
        "task planner",
        "  turn gpt",
        "    call critic",
        "      task critic",
        "        result critic",
        "  result planner",
    ]


def joined(story: Story) -> AgentMessage:
    """A plan with two parts, and the join of their results."""
    task = story.ask("plan", "?", id="t1")
    story.result(task, "planner", "ok", about="plan")
    parts = [story.emit(task, "planner", "research", name, id=name) for name in ("a", "b")]
    facts: list[int] = []
    last = parts[0]
    for part in parts:
        last = story.result(part, "researcher", "found", about="research")
        facts.append(story.entries[-1].sequence)
    join = last.child("task", {"facts": []}, source=agent("agentd-join"), id="j1", target="editor")
    content = {"event": "joined", "agent": "editor", "task": "j1", "facts": [*facts, 99]}
    story.about("join", join, {**content, "complete": False, "missing": ["result.review.*"]})
    story.store(story.subjects.task_for("editor"), join)
    return join


def test_a_join_stands_below_what_its_facts_followed_from() -> None:
    story = Story()
    join = joined(story)
    story.result(join, "editor", "All.", about="editor")
    late = {"event": "late", "agent": "editor", "task": "j1", "fact": 3}
    story.about("join_late", join, late)

    assert shape(story) == [
        "task planner",
        "  result planner",
        "  task researcher",
        "    result researcher",
        "  task researcher",
        "    result researcher",
        "  task editor",
        "    join agentd",
        "    result editor",
        "    late agentd",
    ]
    found = the(tree(story), "join")
    *facts, gone = found.details["facts"]
    assert [(e["task"], e["source"]) for e in facts] == [("a", "researcher"), ("b", "researcher")]
    assert gone == {"sequence": 99}
    assert (found.details["complete"], found.details["missing"]) == (False, ["result.review.*"])


def test_a_task_that_is_made_of_a_fact_stands_below_it() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    result = story.result(task, "analyst", "ok")
    event = task.reply("event", {"paid": 3}, source=agent("analyst"), id="e1")
    story.store(story.subjects.event("billing", "paid"), event)
    for fact, name in ((result, "archivist"), (event, "bookkeeper")):
        # Such a task is not on record itself: only its result is.
        context = fact.context.model_copy(update={"parent_message_id": fact.id})
        made = new("task", "x", source=fact.source, id=f"of-{name}", context=context)
        story.result(made, name, "filed", about=name)

    assert shape(story) == [
        "task analyst",
        "  result analyst",
        "  event event.billing.paid",
        "    task bookkeeper",
        "      result bookkeeper",
        "  task archivist",
        "    result archivist",
    ]


def test_a_cancelled_conversation_says_who_cancelled_it() -> None:
    story = Story()
    story.ask("analysis", "?", id="t1")
    story.of_system("conversation.stopped", {"event": "conversation_stopped", "by": "maria"})

    assert shape(story) == ["task t1", "decision maria"]


def test_a_request_to_cancel_a_task_stands_below_it() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    story.of_system("cancel.requested", {"task": "t1"})
    story.of_system("task.stopped", {"event": "task_stopped", "task": "t1", "by": {"name": "ana"}})
    error = {"code": "cancelled", "message": "cancelled"}
    story.result(task, "analyst", None, success=False, error=error)

    assert shape(story) == [
        "task analyst",
        "  decision maria",
        "  decision ana",
        "  result analyst",
    ]
    first = next(each for each in tree(story).walk() if each.kind == "decision")
    assert first.details["event"] == "cancel_requested"


def test_a_result_that_does_not_count_is_shown_all_the_same() -> None:
    story = Story()
    task = story.ask("analysis", "?", id="t1")
    story.store(
        story.subjects.result("analysis", "general", "t1"),
        task.reply("result", "no result", source=PERSON),
    )
    story.result(task, "analyst", "ok")

    assert shape(story) == ["task analyst", "  other maria", "  result analyst"]


def test_a_branch_has_everything_about_one_message() -> None:
    story = Story()
    for name in ("t1", "t2"):
        task = story.ask("plan", "?", id=name)
        story.result(task, "planner", name, tokens=5)
        part = story.emit(task, "planner", "research", "x", id=f"{name}-part")
        story.result(part, "researcher", "y", tokens=7)
    whole = tree(story)

    found = branch(whole, "t2-part")
    assert [child.id for child in found.children] == ["t2"]
    assert found.details == {"tasks": 2, "tokens": 12}
    assert branch(whole, str(story.entries[0].sequence)).children[0].id == "t1"
    assert branch(whole, "chat") is whole


def test_a_chain_of_many_tasks_is_flattened_and_can_be_written_as_json() -> None:
    story = Story()
    task = story.ask("plan", "?", id="t0")
    for number in range(1, 3_000):
        task = task.model_copy(update={"context": Context(conversation_id="chat")})
        task = story.emit(task, "planner", "plan", "?", id=f"t{number}")

    assert len(json.dumps(tree(story).as_json())) > 100_000


def test_messages_that_name_each_other_as_parents_end() -> None:
    story = Story()
    for name, parent in (("a", "b"), ("b", "a"), ("c", "c"), ("d", "a")):
        context = Context(conversation_id="chat", parent_message_id=parent)
        task = new("task", "?", source=PERSON, id=name, context=context)
        story.store(story.subjects.task("analysis", "general"), task)

    assert len([line for line in shape(story) if "task" in line]) == 4


HOSTILE = [None, True, -1, 1.5, 10**400, "x", "\x1b[2J", [], [[]], {}, {"x": []}, [None, {}]]


def test_records_of_strangers_with_any_values_have_a_place() -> None:
    """Every field of every record of a whole story is replaced by what no agent would write."""
    story = Story()
    approval(story, story.ask("ops", "?", id="t1"))
    joined(story)
    chance = random.Random(0)
    for _ in range(300):
        entries = [_spoiled(entry, chance) for entry in story.entries]
        found = build("chat", entries)
        assert sequences(found) == {entry.sequence for entry in entries}
        json.dumps(found.as_json())


def _spoiled(entry: Entry, chance: random.Random) -> Entry:
    if chance.random() < 0.5:
        return entry
    message = json.loads(json.dumps(entry.message))
    at = message
    while True:
        name = chance.choice(list(at))
        if not isinstance(at[name], dict) or not at[name] or chance.random() < 0.2:
            break
        at = at[name]
    at[name] = chance.choice(HOSTILE)
    return replace(entry, message=message, id=str(message.get("id")))


def test_the_records_may_come_twice_and_in_any_order() -> None:
    story = Story()
    joined(story)
    expected = build("chat", story.entries)
    mixed = [*story.entries, *story.entries]
    random.Random(1).shuffle(mixed)

    assert build("chat", mixed) == expected


def test_a_source_may_be_anybody() -> None:
    story = Story()
    task = new("task", "?", source=AgentIdentity(id="\x1b[31m"), id="t1")
    story.store(story.subjects.task("analysis", "general"), task)

    assert the(tree(story), "task").details["source"] == "\x1b[31m"
