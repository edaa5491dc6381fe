"""An agent that calls a tool in place of a model: what it calls, answers, records and repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.attempt import attempt
from agentd.errors import Again, Paused, TaskError
from agentd.models.unavailable import NO_MODEL
from agentd.protocol.message import AgentMessage
from agentd.queue.approvals import Verdicts
from agentd.queue.decisions import Decision
from agentd.queue.journal import ANSWERED, CALLED, TURN
from agentd.run.direct_call import value_of
from agentd.run.loop import RunResult, run
from agentd.tools.port import ToolError
from tests.unit.workbench import FakeTool, RecordingLog, Workbench, revision_of

MANIFEST = """
capabilities: [analysis]
tools: [{{agent: notify{more}}}]
call:
  tool: notify
  arguments: {arguments}
"""
TEXT = "{text: \"'New: ' ~ content.title\", urgent: true, to: [content.who, 7]}"
TASK: dict[str, Any] = {"payload": {"content": {"title": "Bonn", "who": "eve"}}}


class Direct:
    """An agent that calls the tool `notify`; `log` is the journal of its run."""

    def __init__(
        self, folder: Path, *answers: Any, arguments: str = TEXT, more: str = "", key: bool = False
    ) -> None:
        self.tool = FakeTool("notify", *answers, takes_key=key)
        manifest = MANIFEST.format(arguments=arguments, more=more)
        self.bench = Workbench(revision_of(folder, manifest, NO_MODEL, tools=(self.tool,)))
        self.log = RecordingLog()

    def message(self, task: dict[str, Any] = TASK) -> AgentMessage:
        return self.bench.delivery(task).task()

    async def run(self, task: dict[str, Any] = TASK, **changes: Any) -> RunResult:
        message = self.message(task)
        context = self.bench.context(message, journal=lambda: self.log, **changes)
        return await run(self.bench.revision, message, context)

    async def error(self, task: dict[str, Any] = TASK, **changes: Any) -> TaskError:
        with pytest.raises(TaskError) as failed:
            await self.run(task, **changes)
        return failed.value

    @property
    def called(self) -> list[Any]:
        """The arguments of each call."""
        return [made.arguments for made in self.tool.made]


async def test_the_tool_is_called_with_expressions_over_the_message(tmp_path: Path) -> None:
    agent = Direct(tmp_path, {"ok": True})
    result = await agent.run()
    assert agent.called == [{"text": "New: Bonn", "urgent": True, "to": ["eve", 7]}]
    assert (result.data, result.turns, result.calls) == ({"ok": True}, 0, 1)
    assert result.completion.cost == 0
    assert agent.log.kinds == [(TURN, 1, 0), (ANSWERED, 1, 0)]


async def test_one_expression_may_give_all_arguments(tmp_path: Path) -> None:
    agent = Direct(tmp_path, arguments="content")
    await agent.run()
    assert agent.called == [{"title": "Bonn", "who": "eve"}]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"a": 1}', {"a": 1}),
        ("[1]", [1]),
        ("42", 42),
        ("done", "done"),
        ("NaN", "NaN"),
        ("[" * 100_000, "[" * 100_000),
        ("", ""),
    ],
)
def test_an_answer_that_is_json_is_data(text: str, data: Any) -> None:
    assert value_of(text) == data


async def test_an_answer_is_not_cut_as_for_a_model(tmp_path: Path) -> None:
    agent = Direct(tmp_path, ["x"] * 30_000)
    assert (await agent.run()).data == ["x"] * 30_000
    agent = Direct(tmp_path, "x" * 1_000_001)
    assert (await agent.error()).code == "answer_too_large"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("{text: content.nothing}", "call: content.nothing: "),
        ("{at: now}", "call: Object of type datetime is not JSON serializable"),
        ("content.title", "the arguments of notify do not fit its schema"),
    ],
)
async def test_arguments_that_cannot_be_made_are_a_final_error(
    tmp_path: Path, arguments: str, text: str
) -> None:
    agent = Direct(tmp_path, arguments=arguments)
    error = await agent.error()
    assert text in str(error)
    assert not error.retryable
    assert agent.called == []


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"model": "openai/gpt-4o"}, "model_not_allowed"),
        ({"tools": [{"name": "f", "parameters": {}}]}, "client_tools"),
        ({"answerSchema": {"type": "object", "required": ["a"]}}, "answer_schema"),
    ],
)
async def test_a_sender_gets_nothing_that_needs_a_model(
    tmp_path: Path, wanted: dict[str, Any], code: str
) -> None:
    agent = Direct(tmp_path)
    error = await agent.error({"payload": {**TASK["payload"], **wanted}})
    assert (error.code, error.retryable, agent.called) == (code, False, [])


async def test_a_failed_call_is_attempted_again_with_the_same_arguments(tmp_path: Path) -> None:
    agent = Direct(tmp_path, ToolError("busy"), "sent", arguments="{at: 'now.isoformat()'}")
    error = await agent.error()
    assert (error.code, str(error), error.retryable) == ("tool_failed", "busy", True)
    assert agent.log.kinds == [(TURN, 1, 0)]
    agent.bench.now += 60
    assert (await agent.run(steps=agent.log.steps())).data == "sent"
    assert agent.called[0] == agent.called[1]
    assert {made.key for made in agent.tool.made} == {"t-1.1.0"}


@pytest.mark.parametrize(
    ("more", "key", "error", "again"),
    [
        ("", False, ToolError("busy"), True),
        ("", False, ToolError("not found", final=True), False),
        (", effects: true", True, ToolError("busy"), True),
        (", effects: true", False, ToolError("busy"), False),
    ],
)
async def test_a_call_that_may_have_had_effects_is_not_made_again_without_a_key(
    tmp_path: Path, more: str, key: bool, error: ToolError, again: bool
) -> None:
    agent = Direct(tmp_path, error, more=more, key=key)
    assert (await agent.error()).retryable is again
    repeated = await agent.error(steps=agent.log.steps())
    assert repeated.retryable is again
    assert len(agent.called) == (2 if again else 1)


async def test_a_call_that_was_interrupted_is_not_repeated(tmp_path: Path) -> None:
    agent = Direct(tmp_path, more=", effects: true")
    await agent.run()
    interrupted = agent.log.steps()
    del interrupted[ANSWERED, 1, 0]
    assert (CALLED, 1, 0) in interrupted
    error = await agent.error(steps=interrupted)
    assert "the process was interrupted" in str(error)
    assert (error.retryable, len(agent.called)) == (False, 1)


async def test_a_recorded_answer_is_not_asked_for_again(tmp_path: Path) -> None:
    agent = Direct(tmp_path, {"ok": 1})
    await agent.run()
    assert (await agent.run(steps=agent.log.steps())).data == {"ok": 1}
    assert len(agent.called) == 1


async def test_a_call_that_needs_approval_waits_for_it(tmp_path: Path) -> None:
    agent = Direct(tmp_path, "sent", more=", approval: true")
    message = agent.message()
    context = agent.bench.context(message, journal=lambda: agent.log, verdicts=Verdicts())
    with pytest.raises(Paused) as paused:
        await run(agent.bench.revision, message, context)
    [asked] = paused.value.calls
    assert asked["arguments"]["text"] == "New: Bonn"
    steps = agent.log.steps()
    no = Decision(sequence=2, approve=False, by="eve", reason="no")
    error = await agent.error(steps=steps, verdicts=Verdicts(1, {0: no}))
    assert (str(error), error.retryable) == ("this call was denied by eve: no", False)
    yes = Decision(sequence=2, approve=True)
    agent.log = RecordingLog()
    assert (await agent.run(steps=steps, verdicts=Verdicts(1, {0: yes}))).data == "sent"


async def test_an_attempt_commits_the_answer_and_says_that_no_model_answered(
    tmp_path: Path,
) -> None:
    agent = Direct(tmp_path, {"ok": True})
    bench = agent.bench
    task = {**TASK, "context": {"conversationId": "c"}}
    assert await attempt(bench.task(bench.delivery(task)))
    content = bench.result()
    assert (content["data"], content["model"], content["cost"]) == ({"ok": True}, None, 0)
    assert (content["turns"], content["toolCalls"], content["tokens"]) == (0, 1, 0)
    assert bench.stored("event.memory.>") == []
    deltas = [
        json.loads(data) for subject, data, *_ in bench.bus.published if ".stream." in subject
    ]
    assert "".join(delta["payload"]["chunk"] for delta in deltas) == '{"ok": true}'


async def test_a_failed_attempt_is_handed_back(tmp_path: Path) -> None:
    bench = Direct(tmp_path, ToolError("busy")).bench
    with pytest.raises(Again):
        await attempt(bench.task(bench.delivery(TASK)))
    assert bench.journal() == ["turn", "attempt_failed"]


@pytest.mark.parametrize(("who", "called"), [("eve", True), ("ann", False)])
async def test_a_call_with_a_condition_is_made_only_if_it_is_true(
    tmp_path: Path, who: str, called: bool
) -> None:
    agent = Direct(tmp_path, "sent", arguments="{}\n  when: content.who == 'eve'")
    result = await agent.run({"payload": {"content": {"who": who}}})
    assert (result.data, result.calls) == (("sent", 1) if called else (None, 0))
    assert len(agent.called) == result.calls
    assert agent.log.kinds == ([(TURN, 1, 0), (ANSWERED, 1, 0)] if called else [])


async def test_a_condition_that_fails_is_an_error(tmp_path: Path) -> None:
    agent = Direct(tmp_path, arguments="{}\n  when: content.nobody.name")
    assert (await agent.error()).code == "call_failed"
