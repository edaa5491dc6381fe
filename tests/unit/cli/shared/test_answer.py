"""How an answer is printed: what goes to standard output, and what to standard error."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest

from agentd.cli.shared.answer import AnswerPrinter
from agentd.cli.shared.status_line import StatusLine
from agentd.protocol.message import AgentIdentity, AgentMessage, MessageType, new
from agentd.queue.decisions import ApprovalRequest
from agentd.routing.ask import Delay, Delta, Waiting
from agentd.routing.follow import FollowedMessage, Part

ADA = AgentIdentity(id="ada")


def message(kind: MessageType, content: Any) -> AgentMessage:
    return new(kind, content, source=ADA)


def result(data: Any) -> AgentMessage:
    return message("result", {"success": True, "data": data, "error": None})


FAILURE = message("result", {"success": False, "error": {"code": "expired", "message": "late"}})


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*parts: Part, terminal: bool = False, **options: bool) -> tuple[str, str, bool]:
        """Standard output, standard error, and whether it was a success."""
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        printer = AnswerPrinter(
            as_json=options.get("as_json", False),
            steps=options.get("steps", False),
            status=StatusLine("waiting"),
        )
        for part in parts:
            printer.take(part)
        shown = capsys.readouterr()
        return shown.out, shown.err, printer.success

    return run


def test_a_pipe_gets_the_answer_once(printed: Any) -> None:
    draft = (Delta("ol"), Delta("new", restarted=True))
    assert printed(*draft, result("new answer")) == ("new answer\n", "", True)
    assert printed(Delta("lost"), result("the answer")) == ("the answer\n", "", True)
    assert printed(Delta("begun"), FAILURE) == ("", "agentd: expired: late\n", False)


def test_deltas_are_printed_and_then_the_rest_of_the_answer(printed: Any) -> None:
    deltas = (Delta("one "), Delta("two"))
    assert printed(*deltas, result("one two three"), terminal=True) == ("one two three\n", "", True)


def test_an_answer_without_deltas_is_printed_whole(printed: Any) -> None:
    assert printed(result("one\n")) == ("one\n", "", True)
    assert printed(result({"a": "é"})) == ('{"a": "é"}\n', "", True)
    assert printed(message("event", ["x"])) == ('["x"]\n', "", True)


def test_a_delay_is_shown_on_standard_error_and_leaves_the_answer_alone(printed: Any) -> None:
    out, err, _ = printed(
        Delay("waiting: x"), Delta("on"), Delay("waiting: y"), result("one"), terminal=True
    )
    assert (out, err) == ("one\n", "[waiting: x]\n\n[waiting: y]\n")
    _, err, _ = printed(
        *(Delta("on"), Delay("x"), Delay("y"), Delta("e\n"), Delay("z"), result("one\n")),
        terminal=True,
    )
    assert err == "\n[x]\n[y]\n[z]\n"
    assert printed(Delay("waiting: x"), result("one"), as_json=True)[1] == "[waiting: x]\n"


@pytest.mark.parametrize(
    ("cut", "shown"),
    [
        ("max_tokens", "[cut off at max_tokens]\n"),
        ("context", "[cut off, context full]\n"),
        (None, ""),
        ("else", ""),
        (["x"], ""),
    ],
)
def test_an_answer_that_was_cut_off_says_so(printed: Any, cut: Any, shown: str) -> None:
    content = {"success": True, "data": "one", "error": None, "cut": cut}
    assert printed(Delta("on"), message("result", content)) == ("one\n", shown, True)


def test_an_answer_that_restarts_is_marked_and_printed_again(printed: Any) -> None:
    draft = (Delta("ol"), Delta("new", restarted=True))
    out, err, _ = printed(*draft, result("new answer"), terminal=True)

    assert (out, err) == ("ol\nnew answer\n", "[the answer starts again]\n")


def test_an_answer_that_differs_from_its_deltas_is_printed_whole(printed: Any) -> None:
    out, err, _ = printed(Delta("lost"), result("the answer"), terminal=True)

    assert (out, err) == ("lost\nthe answer\n", "[the whole answer]\n")


def test_a_failure_goes_to_standard_error(printed: Any) -> None:
    shown = ("begun\n", "agentd: expired: late\n", False)
    assert printed(Delta("begun"), FAILURE, terminal=True) == shown


@pytest.mark.parametrize("end", [result("x"), FAILURE])
def test_json_is_the_message_alone(printed: Any, end: AgentMessage) -> None:
    out, err, _ = printed(Delta("x"), end, as_json=True)

    assert (json.loads(out)["id"], err) == (end.id, "")


@pytest.mark.parametrize("terminal", [False, True])
def test_with_steps_only_the_end_is_the_answer(printed: Any, terminal: bool) -> None:
    step = FollowedMessage("result.research.papers", result("found"))
    parts = (Delta("draft"), step, Delta("final", restarted=True), message("event", "final"))

    assert printed(*parts, steps=True, terminal=terminal) == (
        "final\n",
        f"{'ada':<12} found\n",
        True,
    )


def test_calls_that_wait_are_shown_with_the_command_that_decides(printed: Any) -> None:
    request = ApprovalRequest(
        sequence=0,
        task="t1",
        agent="ada",
        life=1,
        turn=1,
        calls=[{"index": 0, "name": "pay", "arguments": {"usd": 5}}],
        expires=0.0,
    )
    out, err, _ = printed(Delta("so"), Waiting(request), terminal=True)

    assert out == "so\n"
    waiting, decide = err.splitlines()
    assert waiting == '[waiting for approval: pay {"usd": 5}]'
    assert decide.endswith(": agentd approvals approve t1, or deny]")


@pytest.mark.parametrize(
    ("more", "footer"),
    [
        (
            {"model": "m", "latency": 12.4, "tokens": 1234, "cost": 0.25, "revision": "r1"},
            "ada · m · 12 ms · 1,234 tokens · $0.2500 · revision r1",
        ),
        ({"model": "m", "tokens": None, "cost": 0.0}, "ada · m"),
        ({"model": 5, "latency": "long", "tokens": True, "cost": [], "revision": {}}, "ada"),
        ({}, "ada"),
    ],
)
def test_a_result_of_another_program_has_a_shorter_footer(
    printed: Any, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], footer: str
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    content = {"success": True, "data": "hi", "error": None, **more}
    _, shown, _ = printed(message("result", content))
    assert footer + "\n" in re.sub(r"\x1b\[[0-9;]*m", "", shown)


PAY = {"index": 0, "name": "pay", "arguments": {"usd": 5}}
ASK = {
    "index": 1,
    "name": "ask_person",
    "arguments": {},
    "question": "Which?",
    "choices": ["a", "b"],
}


@pytest.mark.parametrize(
    ("calls", "lines", "command"),
    [
        ([PAY], ['[waiting for approval: pay {"usd": 5}]'], "approve t, or deny]"),
        ([ASK], ["[waiting for an answer: Which? (a or b)]"], 'answer t "..."]'),
        (
            [PAY, ASK],
            [
                '[waiting for approval: pay {"usd": 5}]',
                "[waiting for an answer: Which? (a or b)]",
            ],
            "approve t, or deny]",
        ),
    ],
)
def test_a_question_is_shown_with_its_choices(
    printed: Any, calls: list[Any], lines: list[str], command: str
) -> None:
    request = ApprovalRequest(
        sequence=1, task="t", agent="me", life=1, turn=1, calls=calls, expires=2e9
    )
    _, err, _ = printed(Waiting(request), result("one"))
    *shown, how = err.splitlines()
    assert shown == lines
    assert how.startswith("[decide until ")
    assert how.endswith(f"agentd approvals {command}")
