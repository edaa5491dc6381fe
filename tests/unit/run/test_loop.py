"""The turns of a run: answers, tool calls, corrections, and what a resumed run does not repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import ModelError, TaskError, Undeliverable
from agentd.models.port import Completion, ModelAttempt, ToolCall, Usage
from agentd.queue.journal import ANSWERED, TURN
from agentd.run.budget import TaskBudget
from agentd.run.loop import RunResult, run
from agentd.run.spending import Spending
from tests.unit.workbench import (
    MANIFEST,
    Answer,
    FakeTool,
    RecordingLog,
    ScriptedModel,
    Workbench,
    calls,
    revision_of,
)

TOOLS = f"{MANIFEST}\ntools: [{{agent: plain}}]"
SCORED = f"{MANIFEST}\noutput: {{retries: 1, schema: {{type: object, required: [score]}}}}"


class Following:
    """Follows an answer while it is written."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def push(self, text: str) -> None:
        self.heard.append(text)

    def restart(self) -> None:
        self.heard.append("restart")


class Run:
    """One run of an agent with these answers of its model."""

    def __init__(self, folder: Path, manifest: str, *answers: Answer, **changes: Any) -> None:
        self.model = ScriptedModel(*answers)
        self.tool = FakeTool("plain")
        self.bench = Workbench(revision_of(folder, manifest, self.model, tools=(self.tool,)))
        self.log = RecordingLog()
        self.changes = changes

    async def result(self, *, history: Sequence[Any] = (), **payload: Any) -> RunResult:
        body = {
            "payload": {"content": "hello", **payload},
            "context": {"conversationId": "c", "history": history},
        }
        message = self.bench.delivery(body).task()
        context = self.bench.context(message, journal=lambda: self.log, **self.changes)
        return await run(self.bench.revision, message, context)

    def chat(self, call: int) -> list[Mapping[str, Any]]:
        """What the model was sent with this call, without the prompt."""
        return list(self.model.requests[call].messages)[1:]


async def test_a_plain_answer_takes_one_turn_and_no_journal(tmp_path: Path) -> None:
    plain = Run(tmp_path, MANIFEST, "hello there")
    result = await plain.result()
    assert (result.data, result.turns, result.calls, result.asked) == ("hello there", 1, 0, "hello")
    assert plain.log.entries == []
    [request] = plain.model.requests
    assert [each["role"] for each in request.messages] == ["system", "user"]
    assert (request.tools, request.schema, request.agent) == ((), None, "me")
    assert 110 < request.timeout <= 120


@pytest.mark.parametrize(("price", "asked"), [(0.0, False), (None, False), (0.5, True)])
async def test_only_a_call_that_costs_money_asks_for_a_budget(
    tmp_path: Path, price: float | None, asked: bool
) -> None:
    made: list[TaskBudget] = []
    plain = Run(tmp_path, MANIFEST, "hello there")
    plain.model.price = price
    message = plain.bench.delivery({"payload": {"content": "hello"}}).task()
    usual = plain.bench.context(message).budget

    def budget() -> TaskBudget:
        made.append(usual())
        return made[-1]

    plain.changes["budget"] = budget
    assert (await plain.result()).completion.cost == price
    assert bool(made) is asked


async def test_the_answers_of_tools_are_added_to_the_chat(tmp_path: Path) -> None:
    first = Completion("Let me see.", "m", "tool_calls", (ToolCall("a", "plain", '{"x": 1}'),))
    tools = Run(tmp_path, TOOLS, first, "done")
    result = await tools.result()
    assert (result.data, result.turns, result.calls) == ("done", 2, 1)
    assert tools.chat(1)[1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "plain", "arguments": '{"x": 1}'},
                }
            ],
            "made_by": "m",
        },
        {"role": "tool", "tool_call_id": "a", "content": "done"},
    ]
    assert tools.log.kinds == [(TURN, 1, 0), (ANSWERED, 1, 0)]
    assert [each["function"]["name"] for each in tools.model.requests[0].tools] == ["plain"]


async def test_calls_without_ids_get_some(tmp_path: Path) -> None:
    first = Completion(
        "", "m", "tool_calls", (ToolCall("", "plain", ""), ToolCall("", "plain", ""))
    )
    tools = Run(tmp_path, TOOLS, first, "done")
    await tools.result()
    asked, *answers = tools.chat(1)[1:]
    assert asked["content"] is None
    assert [each["tool_call_id"] for each in answers] == ["call00100", "call00101"]


async def test_ids_are_unique_over_all_turns(tmp_path: Path) -> None:
    again = Completion("", "m", "tool_calls", (ToolCall("a", "plain", ""),))
    tools = Run(tmp_path, TOOLS, again, again, "done")
    await tools.result()
    answers = [each for each in tools.chat(2) if each["role"] == "tool"]
    assert [each["tool_call_id"] for each in answers] == ["a", "call00200"]


async def test_a_model_gets_its_own_fields_back_from_the_journal(tmp_path: Path) -> None:
    call = ToolCall("a", "plain", "{}", own={"extra_content": {"google": "sig"}})
    first = Completion("", "m", "tool_calls", (call,), own={"reasoning_content": "Hm."})
    live = Run(tmp_path, TOOLS, first, "done")
    await live.result()
    resumed = Run(tmp_path, TOOLS, "done", steps=json.loads(json.dumps(live.log.entries)))
    steps = {tuple(entry[:3]): entry[3] for entry in resumed.changes["steps"]}
    resumed.changes["steps"] = steps
    await resumed.result()
    for turn in (live.chat(1)[1], resumed.chat(0)[1]):
        assert turn["reasoning_content"] == "Hm."
        assert turn["tool_calls"][0]["extra_content"] == {"google": "sig"}


@pytest.mark.parametrize(("limit", "answered"), [(2, True), (1, False)])
async def test_turns_are_limited(tmp_path: Path, limit: int, answered: bool) -> None:
    tools = Run(tmp_path, f"{TOOLS}\nlimits: {{turns: {limit}}}", calls("plain"), "done")
    if answered:
        assert (await tools.result()).data == "done"
        return
    with pytest.raises(Undeliverable, match=r"limits\.turns is 1") as refused:
        await tools.result()
    assert refused.value.code == "turns"
    assert tools.tool.made == []  # no turn could use the answer


async def test_an_answer_that_does_not_fit_is_corrected(tmp_path: Path) -> None:
    scored = Run(tmp_path, SCORED, "high", '{"score": 1}')
    result = await scored.result()
    assert (result.data, result.turns) == ({"score": 1}, 2)
    _, answer, correction = scored.chat(1)
    assert answer == {"role": "assistant", "content": "high"}
    assert correction["role"] == "user"
    assert "it is not JSON" in correction["content"]
    assert scored.log.kinds == [(TURN, 1, 0)]
    assert scored.model.requests[0].schema == {"type": "object", "required": ["score"]}


async def test_an_answer_that_never_fits_is_an_error(tmp_path: Path) -> None:
    scored = Run(tmp_path, SCORED, "high", "{}", '{"score": 1}')
    with pytest.raises(TaskError, match="'score' is a required property") as failed:
        await scored.result()
    assert failed.value.code == "output_invalid"
    assert len(scored.model.requests) == 2


async def test_an_answer_that_was_cut_off_is_not_corrected(tmp_path: Path) -> None:
    cut = Completion('{"score', "m", "length", cut="max_tokens")
    scored = Run(tmp_path, SCORED, cut, '{"score": 1}')
    with pytest.raises(ModelError, match="cut off at max_tokens") as failed:
        await scored.result()
    assert (failed.value.code, failed.value.retryable) == ("model_cut_off", False)
    assert len(scored.model.requests) == 1


async def test_a_recorded_call_that_was_cut_off_is_not_made(tmp_path: Path) -> None:
    cut = Completion("", "m", "length", (ToolCall("a", "plain", "{}"),))
    resumed = Run(tmp_path, TOOLS, "done", steps={(TURN, 1, 0): {"completion": asdict(cut)}})
    with pytest.raises(ModelError) as failed:
        await resumed.result()
    assert failed.value.code == "model_cut_off"
    assert resumed.tool.made == []


async def test_a_reader_starts_over_after_words_that_led_to_tools(tmp_path: Path) -> None:
    following = Following()
    first = Completion("Let me", "m", "tool_calls", (ToolCall("a", "plain", ""),))
    await Run(tmp_path, TOOLS, first, "done", reader=following).result()
    assert following.heard == ["Let", "me", "restart", "done"]


WEATHER = {"tools": [{"name": "weather"}]}
ASKS_THE_SENDER = Completion(
    "Let me", "m", "tool_calls", (ToolCall("", "plain", "{}"), ToolCall("", "weather", "{}"))
)


async def test_calls_of_the_sender_s_tools_are_the_answer(tmp_path: Path) -> None:
    manifest = f"{TOOLS}\nclient_tools: true"
    asked = Run(tmp_path, manifest, calls("plain"), ASKS_THE_SENDER)
    result = await asked.result(**WEATHER, parameters={"tool_choice": "required"})
    assert result.data == "Let me"
    assert result.given_back == (ToolCall("call00201", "weather", "{}"),)
    assert (result.turns, result.calls, len(asked.tool.made)) == (2, 1, 1)
    shown = [each["function"]["name"] for each in asked.model.requests[0].tools]
    assert shown == ["plain", "weather"]
    # Forced in every turn, calls of the agent's own tools would never end.
    assert [each.parameters.get("tool_choice") for each in asked.model.requests] == [
        *("required", None)
    ]

    resumed = Run(tmp_path, manifest, "never asked", steps=asked.log.steps())
    assert (await resumed.result(**WEATHER)).given_back == result.given_back
    assert resumed.model.requests == []


async def test_a_run_goes_on_with_the_answers_of_the_sender_s_tools(tmp_path: Path) -> None:
    turns = [
        {"role": "assistant", "calls": [{"id": "a", "name": "weather", "arguments": "{}"}]},
        {"role": "tool", "callId": "a", "content": "sun"},
    ]
    going_on = Run(tmp_path, f"{MANIFEST}\nclient_tools: true", "Take a hat.")
    assert (await going_on.result(**WEATHER, continuation=turns)).data == "Take a hat."
    user, called, answer = going_on.chat(0)
    assert (user["content"], answer["content"]) == ("hello", "sun")
    assert called["tool_calls"][0]["id"] == answer["tool_call_id"] == "a"


async def test_a_sender_may_ask_for_the_form_of_the_answer(tmp_path: Path) -> None:
    schema = {"type": "object", "required": ["score"]}
    asked = Run(tmp_path, MANIFEST, "high", '{"score": 1}')
    result = await asked.result(answerSchema=schema)
    assert (result.data, result.turns) == ({"score": 1}, 2)
    assert asked.model.requests[0].schema == schema


async def test_the_turn_of_a_resumed_run_is_known_to_its_reader(tmp_path: Path) -> None:
    following = Following()
    steps = {
        (TURN, 1, 0): {"completion": asdict(calls("plain"))},
        (ANSWERED, 1, 0): {"name": "plain", "text": "known", "error": False},
    }
    await Run(tmp_path, TOOLS, "done", steps=steps, reader=following).result()
    assert following.heard == ["restart", "done"]


async def test_a_resumed_run_repeats_no_recorded_turn_and_no_call(tmp_path: Path) -> None:
    attempt = ModelAttempt(model="other", seconds=1.0, code="model_timeout")
    usage = Usage(5, 5)
    first = Completion("", "m", "x", (ToolCall("a", "plain", ""),), usage, 0.5, attempts=(attempt,))
    steps = {
        (TURN, 1, 0): {"completion": asdict(first)},
        (ANSWERED, 1, 0): {"name": "plain", "text": "known", "error": False},
    }
    resumed = Run(tmp_path, TOOLS, "done", steps=steps)
    result = await resumed.result()
    assert (result.data, result.turns, result.calls) == ("done", 2, 1)
    assert (len(resumed.model.requests), resumed.tool.made, resumed.log.entries) == (1, [], [])
    assert resumed.chat(0)[-1] == {"role": "tool", "tool_call_id": "a", "content": "known"}
    assert result.completion.usage == Usage(6, 7)
    assert result.completion.cost == 0.5
    assert result.completion.attempts == (attempt,)


async def test_a_recorded_answer_that_did_not_fit_is_corrected_again(tmp_path: Path) -> None:
    steps = {(TURN, 1, 0): {"completion": asdict(Completion("high", "m", "stop"))}}
    resumed = Run(tmp_path, SCORED, '{"score": 1}', steps=steps)
    assert (await resumed.result()).data == {"score": 1}
    assert resumed.log.entries == []


@pytest.mark.parametrize(
    ("usages", "costs", "usage", "cost"),
    [
        ((Usage(1, 2), Usage(3, 4)), (0.1, 0.2), Usage(4, 6), 0.3),
        ((Usage(1, 2), None), (0.1, None), None, None),
    ],
)
async def test_a_result_has_the_tokens_and_the_cost_of_all_turns(
    tmp_path: Path,
    usages: tuple[Usage, Usage | None],
    costs: tuple[float, float | None],
    usage: Usage | None,
    cost: float | None,
) -> None:
    asks, answers = (
        Completion(text, "m", "stop", tools, usage=used, cost=paid)
        for text, tools, used, paid in zip(
            ("", "done"), ((ToolCall("a", "plain", ""),), ()), usages, costs, strict=True
        )
    )
    completion = (await Run(tmp_path, TOOLS, asks, answers).result()).completion
    assert completion.usage == usage
    assert completion.cost == (cost and pytest.approx(cost))
    assert completion.text == "done"


@pytest.mark.parametrize(("both", "cached"), [(True, True), (False, False)])
async def test_a_result_is_cached_if_every_turn_is(
    tmp_path: Path, both: bool, cached: bool
) -> None:
    first = Completion("", "m", "x", (ToolCall("a", "plain", ""),), cached=both)
    last = Completion("done", "m", "stop", cached=True)
    assert (await Run(tmp_path, TOOLS, first, last).result()).completion.cached is cached


async def test_a_sender_sets_parameters_over_those_of_the_manifest(tmp_path: Path) -> None:
    manifest = f"{MANIFEST}\nparameters: {{temperature: 0.1, top_k: 5}}"
    sampled = Run(tmp_path, manifest, "hello")
    await sampled.result(parameters={"temperature": 0.9, "seed": 7})
    assert sampled.model.requests[0].parameters == {"temperature": 0.9, "top_k": 5, "seed": 7}


async def test_a_sender_sets_no_parameter_but_those_of_sampling(tmp_path: Path) -> None:
    plain = Run(tmp_path, MANIFEST, "hello")
    with pytest.raises(ModelError, match=r"payload\.parameters has 'api_key'") as refused:
        await plain.result(parameters={"api_key": "mine"})
    assert refused.value.code == "parameter_not_allowed"
    assert plain.model.requests == []


async def test_the_tokens_of_a_task_are_limited_over_all_its_turns(tmp_path: Path) -> None:
    first = Completion("", "m", "x", (ToolCall("a", "plain", ""),), usage=Usage(100, 100))
    limited = Run(tmp_path, TOOLS, first, "done")
    await limited.result(constraints={"maxTokens": 10_000})
    room = [each.parameters["max_tokens"] for each in limited.model.requests]
    assert 9_900 < room[0] < 10_000
    assert 8_000 < room[1] < room[0] - 200
    spent = Run(tmp_path, TOOLS, first, "done")
    with pytest.raises(Undeliverable) as refused:
        await spent.result(constraints={"maxTokens": 210})
    assert refused.value.code == "budget"


TOO_LONG = ModelError("exceeds the available context size (512 tokens)", code="model_rejected")
HISTORY = [
    {"role": role, "content": f"{number} " + "x" * 396}
    for number in range(4)
    for role in ("user", "assistant")
]


async def test_a_history_that_does_not_fit_the_context_is_compacted(tmp_path: Path) -> None:
    small = Run(tmp_path, TOOLS, TOO_LONG, TOO_LONG, calls("plain"), TOO_LONG, "done", "again")
    assert (await small.result(history=HISTORY)).data == "done"
    said = [
        [each["content"] for each in small.chat(call) if each["role"] == "user"]
        for call in range(5)
    ]
    assert [len(each) for each in said] == [5, 3, 2, 2, 1]  # the newest exchange stays longest
    assert said[2] == [HISTORY[-2]["content"], "hello"]
    # What the tool has answered stays in the chat.
    assert [each["role"] for each in small.chat(4)] == ["user", "assistant", "tool"]
    # The next task is cut before it is sent.
    await small.result(history=HISTORY)
    assert len(small.chat(5)) == 1


async def test_a_prompt_that_does_not_fit_without_a_history_is_an_error(tmp_path: Path) -> None:
    small = Run(tmp_path, MANIFEST, TOO_LONG)
    with pytest.raises(ModelError) as caught:
        await small.result(history=HISTORY[:2])
    assert caught.value is TOO_LONG
    assert len(small.model.requests) == 2
    with pytest.raises(ModelError):
        await small.result()
    assert len(small.model.requests) == 3


async def test_an_answer_that_filled_the_context_leaves_the_next_one_more_room(
    tmp_path: Path,
) -> None:
    cut = Completion("hell", "m", "length", usage=Usage(1, 2), cut="context")
    small = Run(tmp_path, MANIFEST, cut, "hello")
    await small.result(history=HISTORY)
    await small.result(history=HISTORY)
    assert [len(small.chat(call)) for call in range(2)] == [9, 5]


async def test_a_failed_run_has_used_the_tokens_of_all_its_turns(tmp_path: Path) -> None:
    asks = Completion("", "m", "x", (ToolCall("a", "plain", ""),), usage=Usage(5, 5), cost=0.5)
    empty = ModelError("nothing", code="model_empty")
    empty.answered, empty.usage, empty.cost = True, Usage(1, 1), 0.1
    spending = Spending()
    spending_run = Run(tmp_path, TOOLS, asks, empty, spending=spending)
    with pytest.raises(ModelError):
        await spending_run.result()
    assert (spending.total.usage, spending.total.cost) == (Usage(6, 6), pytest.approx(0.6))
