"""The tool calls of one turn: made at the same time, recorded, and never made twice unasked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import BusError, Paused, Undeliverable
from agentd.models.port import ToolCall
from agentd.queue.approvals import Verdicts
from agentd.queue.decisions import Decision
from agentd.queue.journal import ANSWERED, CALLED
from agentd.run.deadline import Deadline
from agentd.run.tool_calls import TurnCalls, with_unique_ids
from agentd.tools.port import ToolError
from tests.unit.workbench import FakeTool, RecordingLog, Workbench, calls, revision_of

TOOLS = """
capabilities: [analysis]
instructions: Hi.
tools:
  - {agent: plain}
  - {agent: mail, effects: true}
  - {agent: bank, effects: true, approval: true}
"""


class Turn:
    """A turn of a run with three tools: `plain`, and `mail` and `bank`, which have effects."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.plain, self.mail = FakeTool("plain"), FakeTool("mail")
        self.bank = FakeTool("bank", takes_key=True)
        self.bench = Workbench(revision_of(folder, TOOLS, tools=(self.plain, self.mail, self.bank)))
        self.log = RecordingLog()
        self.message = self.bench.delivery().task()
        context = self.bench.context(self.message, journal=lambda: self.log, **changes)
        self.calls = TurnCalls(self.bench.revision, self.message, context)

    async def make(self, *names: str, turn: int = 1) -> list[str]:
        """The texts of the answers to these calls."""
        return [answer.text for answer in await self.calls.make(turn, calls(*names).tool_calls)]


async def test_answers_come_in_the_order_of_the_calls_and_are_recorded(tmp_path: Path) -> None:
    turn = Turn(tmp_path)
    turn.plain.answers = ["one", {"two": 2}]
    assert await turn.make("plain", "plain", turn=3) == ["one", '{"two": 2}']
    assert sorted(turn.log.kinds) == [(ANSWERED, 3, 0), (ANSWERED, 3, 1)]
    assert turn.log.steps()[ANSWERED, 3, 0] == {"name": "plain", "text": "one", "error": False}
    assert [made.key for made in turn.plain.made] == ["t-1.3.0", "t-1.3.1"]
    made = turn.plain.made[0]
    assert (made.task, made.agent) == (turn.message, "me")
    assert 110 < made.timeout <= 120


async def test_a_turn_has_a_limited_number_of_calls(tmp_path: Path) -> None:
    """An answer with 20,000 calls made them all."""
    turn = Turn(tmp_path)
    asked = [ToolCall(f"{n}", "plain", f'{{"n": {n}}}') for n in range(64)]
    asked += calls("bank").tool_calls * 20_000
    answers = [answer.text for answer in await turn.calls.make(1, asked)]
    assert answers[:64] == ["done"] * 64
    refused = "this call was not made: a turn has at most 64 calls; make it in the next turn"
    assert answers[64:] == [refused] * 20_000
    assert (len(turn.plain.made), turn.bank.made, len(turn.log.kinds)) == (64, [], 64)


async def test_a_call_with_effects_is_recorded_before_it_is_made(tmp_path: Path) -> None:
    turn = Turn(tmp_path)
    await turn.make("mail")
    assert turn.log.kinds == [(CALLED, 1, 0), (ANSWERED, 1, 0)]
    assert turn.log.steps()[CALLED, 1, 0] == {"name": "mail", "key": "t-1.1.0"}


async def test_nothing_is_called_that_cannot_be_recorded(tmp_path: Path) -> None:
    turn = Turn(tmp_path)
    turn.log.failing = True
    with pytest.raises(BusError):
        await turn.make("mail")
    assert turn.mail.made == []


async def test_a_recorded_answer_is_not_asked_for_again(tmp_path: Path) -> None:
    recorded = {"name": "mail", "text": "sent", "error": False}
    turn = Turn(tmp_path, steps={(ANSWERED, 1, 0): recorded})
    assert await turn.make("mail", "plain") == ["sent", "done"]
    assert (turn.mail.made, len(turn.plain.made)) == ([], 1)
    assert turn.log.kinds == [(ANSWERED, 1, 1)]


async def test_an_interrupted_call_with_effects_is_not_repeated(tmp_path: Path) -> None:
    turn = Turn(tmp_path, steps={(CALLED, 1, 0): {"name": "mail"}})
    [text] = await turn.make("mail")
    assert text.startswith("the process was interrupted during this call")
    assert turn.mail.made == []
    assert turn.log.steps()[ANSWERED, 1, 0]["error"] is True


async def test_an_interrupted_call_is_repeated_where_its_key_is_passed_on(tmp_path: Path) -> None:
    verdicts = Verdicts(1, {0: Decision(sequence=1, approve=True)})
    turn = Turn(tmp_path, steps={(CALLED, 1, 0): {"name": "bank"}}, verdicts=verdicts)
    assert await turn.make("bank") == ["done"]
    assert [made.key for made in turn.bank.made] == ["t-1.1.0"]
    assert turn.log.kinds == [(ANSWERED, 1, 0)]


async def test_a_call_that_fails_is_an_answer(tmp_path: Path) -> None:
    turn = Turn(tmp_path)
    turn.plain.answers = [ToolError("out of order")]
    assert await turn.make("plain") == ["out of order"]
    assert turn.log.steps()[ANSWERED, 1, 0]["error"] is True
    exposed = turn.bench.services.metrics.expose()[0].decode()
    assert 'agentd_tool_calls_total{status="error",tool="plain"} 1.0' in exposed


async def test_a_tool_that_a_model_invented_is_counted_as_unknown(tmp_path: Path) -> None:
    turn = Turn(tmp_path)
    [text] = await turn.make("rm -rf")
    assert "there is no tool 'rm -rf'" in text
    exposed = turn.bench.services.metrics.expose()[0].decode()
    assert 'agentd_tool_calls_total{status="error",tool="unknown"} 1.0' in exposed


async def test_no_call_of_a_turn_is_made_while_one_waits_for_approval(tmp_path: Path) -> None:
    turn = Turn(tmp_path, verdicts=Verdicts())
    with pytest.raises(Paused):
        await turn.make("plain", "bank")
    assert (turn.plain.made, turn.log.entries) == ([], [])


async def test_a_denied_call_is_answered_and_not_made(tmp_path: Path) -> None:
    verdicts = Verdicts(1, {0: Decision(sequence=1, approve=False)})
    turn = Turn(tmp_path, verdicts=verdicts)
    assert await turn.make("bank") == ["this call was denied"]
    assert turn.bank.made == []
    assert turn.log.kinds == [(ANSWERED, 1, 0)]


async def test_no_call_is_begun_when_no_time_is_left(tmp_path: Path) -> None:
    turn = Turn(tmp_path, deadline=Deadline(ends=0.0, expires=0.0))
    with pytest.raises(Undeliverable) as refused:
        await turn.make("plain")
    assert refused.value.code == "expired"
    assert turn.plain.made == []


class Crowd(FakeTool):
    """A tool that notes how many of its calls run at the same time."""

    most = running = 0

    async def call(self, call: Any) -> Any:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        return "done"


async def test_sixteen_calls_of_a_turn_run_at_the_same_time(tmp_path: Path) -> None:
    crowd = Crowd("plain")
    bench = Workbench(revision_of(tmp_path, TOOLS, tools=(crowd,)))
    message = bench.delivery().task()
    turn = TurnCalls(bench.revision, message, bench.context(message))
    asked = [ToolCall(f"c{n}", "plain", f'{{"n": {n}}}') for n in range(40)]
    assert len(await turn.make(1, asked)) == 40
    assert crowd.most == 16


class Endless(FakeTool):
    """A tool that gives no answer until it is cancelled."""

    cancelled = False

    async def call(self, call: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_the_failure_of_one_call_ends_the_others(tmp_path: Path) -> None:
    endless, away = Endless("plain"), FakeTool("mail", BusError("no server"))
    bench = Workbench(revision_of(tmp_path, TOOLS, tools=(endless, away)))
    message = bench.delivery().task()
    turn = TurnCalls(bench.revision, message, bench.context(message))
    with pytest.raises(BusError):
        await turn.make(1, calls("plain", "mail").tool_calls)
    assert endless.cancelled


@pytest.mark.parametrize(
    ("ids", "unique"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a"], ["a", "call00301"]),
        (["a", ""], ["a", "call00301"]),
        ([""], ["call00300"]),
        (["old", "new"], ["call00300", "new"]),
        ([], []),
    ],
)
def test_the_ids_of_calls_are_unique_in_a_chat(ids: list[str], unique: list[str]) -> None:
    asked = [ToolCall(each, "tool", "{}") for each in ids]
    made = with_unique_ids(asked, turn=3, taken={"old"})
    assert [call.id for call in made] == unique


async def test_a_call_that_is_repeated_too_often_is_not_made_and_nobody_is_asked_about_it(
    tmp_path: Path,
) -> None:
    turn = Turn(tmp_path, verdicts=Verdicts(3, {}))
    turn.plain.answers = ["one"]
    for number in (1, 2, 3):
        await turn.make("plain", "bank", turn=number)
    texts = await turn.make("plain", "bank", turn=4)  # without `Paused`
    assert all(text.startswith("this call was not made") for text in texts)
    assert len(turn.plain.made) == 3
    assert turn.log.steps()[ANSWERED, 4, 0]["error"] is True


EDIT = Decision(sequence=1, approve=True, by="eve", arguments={"usd": 3})


async def test_an_edited_call_is_on_record_and_the_model_is_shown_the_edit(tmp_path: Path) -> None:
    turn = Turn(tmp_path, verdicts=Verdicts(1, {0: EDIT}))
    [text] = await turn.make("bank")
    assert text == '[eve changed the arguments of this call to {"usd": 3}]\ndone'
    assert [made.arguments for made in turn.bank.made] == [{"usd": 3}]
    assert turn.log.steps()[ANSWERED, 1, 0] == {
        "name": "bank",
        "text": text,
        "error": False,
        "decision": "edited",
        "by": "eve",
        "arguments": {"usd": 3},
    }


async def test_edited_arguments_that_do_not_fit_are_an_error_and_nothing_is_called(
    tmp_path: Path,
) -> None:
    turn = Turn(tmp_path, verdicts=Verdicts(1, {0: EDIT}))
    turn.bank.parameters = {"type": "object", "properties": {"usd": {"type": "string"}}}
    [text] = await turn.make("bank")
    assert "the arguments of bank do not fit its schema" in text
    assert turn.bank.made == []


async def test_a_decided_call_that_was_answered_before_a_crash_is_not_made_again(
    tmp_path: Path,
) -> None:
    turn = Turn(tmp_path, verdicts=Verdicts(1, {0: EDIT}))
    [text] = await turn.make("bank")
    again = Turn(tmp_path, verdicts=Verdicts(1, {0: EDIT}), steps=turn.log.steps())
    assert await again.make("bank") == [text]
    assert again.bank.made == []
