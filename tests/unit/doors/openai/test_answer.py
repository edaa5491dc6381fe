"""Results as answers; any client of NATS may have written them."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.doors.openai.answer import Answer, Usage
from agentd.errors import DecodeError
from agentd.protocol.fields import SendersCall
from agentd.protocol.message import AgentIdentity, new


def answer(content: Any) -> Answer:
    return Answer.of(new("result", content, source=AgentIdentity(id="a")))


def test_a_success() -> None:
    usage = {"inputTokens": 7, "outputTokens": 5, "reasoningTokens": 2, "cacheReadTokens": 3}
    given = answer({"success": True, "data": "Hi.", "usage": usage, "turns": 2, "revision": "r1"})
    assert (given.text, given.turns, given.revision, given.error) == ("Hi.", 2, "r1", None)
    assert given.usage == Usage(input=7, output=5, cached=3, written=0, reasoning=2)
    assert not given.cut


def test_a_value_is_json() -> None:
    assert answer({"success": True, "data": {"ä": 1}}).text == '{"ä": 1}'


def test_what_is_unknown_is_none() -> None:
    given = answer({"success": True, "data": "Hi.", "tokens": None})
    assert (given.usage, given.turns) == (None, 0)


def test_an_answer_may_be_cut_off_or_consist_of_calls() -> None:
    assert answer({"success": True, "data": "Hi", "cut": "max_tokens"}).cut
    call = {"id": "a", "name": "now", "arguments": "{}"}
    assert answer({"success": True, "data": "", "calls": [call]}).calls == (
        SendersCall(id="a", name="now", arguments="{}"),
    )


def test_a_failure_has_its_error() -> None:
    error = {"code": "model_overloaded", "message": "away", "retryable": True}
    given = answer({"success": False, "error": error})
    assert given.error
    assert (given.error.status, str(given.error)) == (503, "away")


@pytest.mark.parametrize("content", ["text", None, {"success": True, "calls": [{"id": "a"}]}])
def test_what_is_no_result_is_noticed(content: Any) -> None:
    with pytest.raises(DecodeError):
        answer(content)
