"""Which tool calls wait for an approval, and what becomes of those that were decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import Paused
from agentd.models.port import ToolCall
from agentd.queue.approvals import Verdicts
from agentd.queue.decisions import Decision
from agentd.run.approval_gate import TIMEOUT, ApprovalGate
from agentd.tools.ask_tool import AskTool
from agentd.tools.toolbox import ToolAnswer
from tests.unit.workbench import NOW, FakeTool, Workbench, revision_of

TOOLS = """
capabilities: [analysis]
instructions: Hi.
tools:
  - {agent: plain}
  - {agent: mail, approval: true, approval_timeout: 10m}
  - {agent: bank, approval: "arguments.amount > 100"}
  - {agent: broken, approval: "arguments.amount > arguments.nothing.here"}
"""


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(f"call-{name}", name, json.dumps(arguments))


def gate(folder: Path, verdicts: Verdicts | None) -> ApprovalGate:
    tools = [FakeTool(name) for name in ("plain", "mail", "bank", "broken")]
    bench = Workbench(revision_of(folder, TOOLS, tools=tools))
    message = bench.delivery().task()
    return ApprovalGate(bench.revision, message, bench.context(message, verdicts=verdicts))


async def refusal(decided: ApprovalGate, turn: int, index: int, made: ToolCall) -> str | None:
    """Why a call is not made; None if it is."""
    settled = await decided.settled(turn, index, made)
    if isinstance(settled, ToolAnswer):
        assert (settled.error, settled.final) == (True, True)
        return settled.text
    assert settled == made
    return None


async def asked(folder: Path, *calls: ToolCall, turn: int = 1) -> Paused | None:
    """What is asked before these calls are made; None if they may be made."""
    try:
        await gate(folder, Verdicts()).require(turn, calls)
    except Paused as paused:
        return paused
    return None


async def test_a_call_without_an_approval_rule_is_made(tmp_path: Path) -> None:
    assert await asked(tmp_path, call("plain"), call("unknown")) is None
    assert await refusal(gate(tmp_path, Verdicts()), 1, 0, call("plain")) is None


async def test_the_calls_that_need_an_approval_are_asked_about_together(tmp_path: Path) -> None:
    paused = await asked(
        tmp_path, call("mail", to="x"), call("plain"), call("bank", amount=101), turn=3
    )
    assert paused
    assert (paused.turn, paused.timeout) == (3, 600.0)
    assert paused.calls == [
        {"index": 0, "name": "mail", "arguments": {"to": "x"}},
        {"index": 2, "name": "bank", "arguments": {"amount": 101}},
    ]


async def test_a_person_has_a_day_unless_the_manifest_says_otherwise(tmp_path: Path) -> None:
    paused = await asked(tmp_path, call("bank", amount=101))
    assert paused
    assert paused.timeout == TIMEOUT == 86_400


@pytest.mark.parametrize(("amount", "needed"), [(100, False), (101, True)])
async def test_an_expression_decides_by_the_arguments(
    tmp_path: Path, amount: int, needed: bool
) -> None:
    paused = await asked(tmp_path, call("bank", amount=amount))
    assert (paused is not None) is needed


async def test_an_expression_that_fails_asks_a_person(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await asked(tmp_path, call("broken", amount=1))
    assert "approval: " in caplog.text


@pytest.mark.parametrize("arguments", ["{", "[]"])
async def test_a_call_whose_arguments_do_not_fit_asks_nobody(
    tmp_path: Path, arguments: str
) -> None:
    wrong = ToolCall("1", "mail", arguments)
    assert await asked(tmp_path, wrong) is None
    # The gate's word is final: a check that fails now may pass when the call is made.
    refused = await refusal(gate(tmp_path, Verdicts()), 1, 0, wrong)
    assert refused
    assert refused.startswith("the arguments of mail ")


async def test_a_decided_turn_is_not_asked_about_again(tmp_path: Path) -> None:
    decided = gate(tmp_path, Verdicts(2, {0: Decision(sequence=9, approve=True)}))
    await decided.require(2, [call("mail")])
    await decided.require(1, [call("mail")])
    with pytest.raises(Paused):
        await decided.require(3, [call("mail")])


async def test_an_approved_call_is_made_and_a_denied_one_says_why(tmp_path: Path) -> None:
    verdicts = Verdicts(
        2,
        {
            0: Decision(sequence=8, approve=True),
            1: Decision(sequence=9, approve=False, by="maria", reason="too dear"),
            2: None,
        },
    )
    decided = gate(tmp_path, verdicts)
    assert await refusal(decided, 2, 0, call("mail")) is None
    assert await refusal(decided, 2, 1, call("mail")) == "this call was denied by maria: too dear"
    assert await refusal(decided, 2, 2, call("mail")) == (
        "this call was denied: it was not approved in time"
    )


async def test_a_call_that_was_never_asked_about_is_denied(tmp_path: Path) -> None:
    decided = gate(tmp_path, Verdicts(2, {0: Decision(sequence=8, approve=True)}))
    denied = "this call was denied: its approval was never requested"
    assert await refusal(decided, 2, 1, call("mail")) == denied
    assert await refusal(decided, 1, 0, call("mail")) == denied
    assert await refusal(decided, 1, 0, call("bank", amount=1)) is None


async def test_a_query_does_not_wait_for_an_approval(tmp_path: Path) -> None:
    query = gate(tmp_path, None)
    await query.require(1, [call("mail")])
    assert await refusal(query, 1, 0, call("plain")) is None
    assert await refusal(query, 1, 0, call("mail")) == (
        "this call needs a person's decision, and a query cannot wait for one"
    )


async def test_an_expression_can_name_the_message_and_the_time(tmp_path: Path) -> None:
    manifest = TOOLS.replace(
        '"arguments.amount > 100"', "\"content == 'hello' and now.year == 2023\""
    )
    assert NOW == 1_700_000_000  # in November 2023
    tools = [FakeTool(name) for name in ("plain", "mail", "bank", "broken")]
    bench = Workbench(revision_of(tmp_path, manifest, tools=tools))
    message = bench.delivery().task()
    context = bench.context(message, verdicts=Verdicts())
    with pytest.raises(Paused):
        await ApprovalGate(bench.revision, message, context).require(1, [call("bank")])


async def test_a_request_has_the_schemas_of_the_arguments(tmp_path: Path) -> None:
    paused = await asked(tmp_path, call("mail", to="x"), call("mail", to="y"))
    assert paused
    assert paused.schemas == {"mail": {"type": "object"}}


async def test_an_edited_call_is_made_with_the_arguments_of_the_person(tmp_path: Path) -> None:
    edit = Decision(sequence=8, approve=True, by="eve", arguments={"to": "ü"})
    decided = gate(tmp_path, Verdicts(2, {0: edit}))
    settled = await decided.settled(2, 0, call("mail", to="x"))
    assert settled == ToolCall("call-mail", "mail", '{"to": "ü"}')
    assert decided.decision(2, 0) is edit
    assert decided.decision(2, 1) is None
    assert decided.decision(1, 0) is None


ASKS = """
capabilities: [analysis]
instructions: Hi.
tools: [{ask: person%s}]
"""


def asking(folder: Path, more: str, verdicts: Verdicts | None) -> ApprovalGate:
    revision = revision_of(folder, ASKS % more)
    tool = AskTool(revision.spec.manifest.tools[0])
    bench = Workbench(revision_of(folder, ASKS % more, tools=[tool]))  # pyright: ignore[reportArgumentType]
    message = bench.delivery().task()
    return ApprovalGate(bench.revision, message, bench.context(message, verdicts=verdicts))


@pytest.mark.parametrize(
    ("more", "arguments", "shown", "timeout"),
    [
        ("", {}, {}, TIMEOUT),
        ("", {"choices": ["a", "b"]}, {"choices": ["a", "b"]}, TIMEOUT),
        (
            ", choices: [yes, no], default: no, timeout: 1h",
            {},
            {"choices": ["yes", "no"], "default": "no"},
            3600,
        ),
    ],
)
async def test_a_question_waits_for_a_person(
    tmp_path: Path, more: str, arguments: dict[str, Any], shown: dict[str, Any], timeout: float
) -> None:
    made = call("ask_person", question="Which?", **arguments)
    with pytest.raises(Paused) as paused:
        await asking(tmp_path, more, Verdicts()).require(1, [made])
    assert paused.value.timeout == timeout
    assert paused.value.schemas == {}
    [question] = paused.value.calls
    assert question == {
        "index": 0,
        "name": "ask_person",
        "arguments": {"question": "Which?", **arguments},
        "question": "Which?",
        **shown,
    }


@pytest.mark.parametrize(
    ("more", "decision", "answer"),
    [
        ("", Decision(sequence=8, approve=True, answer="Red."), ToolAnswer("Red.")),
        (
            "",
            Decision(sequence=8, approve=False, by="eve", reason="ask Ann"),
            ToolAnswer("this call was denied by eve: ask Ann", error=True, final=True),
        ),
        (
            "",
            None,
            ToolAnswer("nobody answered this question in time", error=True, final=True),
        ),
        (", default: blue", None, ToolAnswer("blue")),
    ],
)
async def test_the_answer_of_a_person_is_that_of_the_tool(
    tmp_path: Path, more: str, decision: Decision | None, answer: ToolAnswer
) -> None:
    decided = asking(tmp_path, more, Verdicts(1, {0: decision}))
    assert await decided.settled(1, 0, call("ask_person", question="Which?")) == answer


async def test_a_query_asks_nobody_and_a_wrong_question_is_not_put(tmp_path: Path) -> None:
    query = asking(tmp_path, "", None)
    await query.require(1, [call("ask_person", question="Which?")])
    refused = await refusal(query, 1, 0, call("ask_person", question="Which?"))
    assert refused == "this call needs a person's decision, and a query cannot wait for one"
    wrong = call("ask_person", question="")
    await asking(tmp_path, "", Verdicts()).require(1, [wrong])
    assert await refusal(asking(tmp_path, "", Verdicts()), 1, 0, wrong)
