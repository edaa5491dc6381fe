"""Answers of `/v1/responses`, as openai's own types read them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from openai.types.responses import Response as TheirResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from agentd.doors.openai.answer import Answer, Usage
from agentd.doors.openai.forward_text import Diverged
from agentd.doors.openai.responses_response import Events, Response
from agentd.doors.refusal import Refusal
from agentd.protocol.fields import SendersCall

CALL = SendersCall(id="a", name="now", arguments="{}")
USAGE = Usage(input=7, output=5, cached=3, written=0, reasoning=2)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def response(**body: Any) -> Response:
    return Response("t1", "writer", body)


def read(made: dict[str, Any]) -> TheirResponse:
    return TheirResponse.model_validate(made)


def events(*parts: Iterable[bytes]) -> list[dict[str, Any]]:
    """The data of all events; each must be one of openai's types."""
    found: list[dict[str, Any]] = []
    for each in (event for part in parts for event in part):
        head, data = each.decode().splitlines()[:2]
        found.append(json.loads(data.removeprefix("data: ")))
        assert head == f"event: {found[-1]['type']}"
        EVENT.validate_python(found[-1])
    return found


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [each["type"].removeprefix("response.") for each in found]


def test_a_response() -> None:
    found = read(response(temperature=0.5).closed(Answer(data="Hi.", usage=USAGE)))
    assert (found.id, found.status, found.output_text) == ("resp_t1", "completed", "Hi.")
    assert found.temperature == 0.5
    assert found.usage
    assert (found.usage.total_tokens, found.usage.input_tokens_details.cached_tokens) == (12, 3)


def test_a_response_repeats_its_request_with_all_fields() -> None:
    body = {"tools": [{"type": "function", "name": "now"}], "reasoning": {"effort": "low"}}
    made = response(**body).open("queued")
    [tool] = made["tools"]
    assert tool == {
        "type": "function",
        "name": "now",
        "description": None,
        "parameters": None,
        "strict": None,
    }
    assert made["reasoning"] == {"effort": "low", "summary": None}


def test_a_response_without_a_known_usage_has_none() -> None:
    assert response().closed(Answer(data="Hi."))["usage"] is None


def test_calls_are_items_of_their_own() -> None:
    [item] = read(response().closed(Answer(data="", calls=(CALL,)))).output
    assert item.type == "function_call"
    assert (item.call_id, item.arguments) == ("a", "{}")


def test_how_a_response_ends() -> None:
    cut = read(response().closed(Answer(data="Hi", cut=True)))
    assert cut.status == "incomplete"
    assert cut.incomplete_details
    assert cut.incomplete_details.reason == "max_output_tokens"
    failed = response().closed(Answer(error=Refusal(503, "model_overloaded", "away")))
    assert (failed["status"], failed["error"]["message"]) == (
        *("failed", "model_overloaded: away"),
    )
    stopped = response().closed(Answer(error=Refusal(409, "cancelled", "stopped")))
    assert stopped["status"] == "cancelled"
    assert response(background=True).open("queued")["background"] is True


def test_the_events_of_a_stream() -> None:
    stream = Events(response())
    found = events(
        stream.begin(),
        stream.piece("Hi ", turn=1),
        stream.piece("there", turn=1),
        stream.end(Answer(data="Hi there", usage=USAGE)),
    )
    assert kinds(found) == [
        *["created", "in_progress", "output_item.added", "content_part.added"],
        *["output_text.delta", "output_text.delta", "output_text.done", "content_part.done"],
        *["output_item.done", "completed"],
    ]
    numbers = [each["sequence_number"] for each in found]
    assert numbers == sorted(set(numbers))
    assert "".join(each["delta"] for each in found if "delta" in each) == "Hi there"
    assert read(found[-1]["response"]).output_text == "Hi there"


def test_a_stream_goes_on_behind_any_event() -> None:
    answer = Answer(data="Hi there, you", usage=USAGE)
    first = Events(response())
    whole = events(
        first.begin(), first.piece("Hi ", turn=1), first.piece("there", turn=1), first.end(answer)
    )
    for after in [-1, *(each["sequence_number"] for each in whole)]:
        seen = [each for each in whole if each["sequence_number"] <= after]
        # Another process, which has only the result.
        again = Events(response(), after=after)
        rest = events(again.begin(), again.end(answer))
        deltas = [each["delta"] for each in (*seen, *rest) if "delta" in each]
        assert "".join(deltas) == "Hi there, you"
        numbers = [each["sequence_number"] for each in (*seen, *rest)]
        assert numbers == sorted(set(numbers))
        assert [*seen, *rest][-1]["type"] == "response.completed"


def test_the_events_of_calls() -> None:
    stream = Events(response())
    found = events(stream.begin(), stream.end(Answer(data="", calls=(CALL,))))
    assert kinds(found)[2:] == [
        *["output_item.added", "function_call_arguments.delta", "function_call_arguments.done"],
        *["output_item.done", "completed"],
    ]
    both = Events(response())
    found = events(
        both.begin(), both.piece("Hm.", turn=1), both.end(Answer(data="Hm.", calls=(CALL,)))
    )
    places = [each["output_index"] for each in found if each["type"].endswith("item.added")]
    assert places == [0, 1]


def test_an_empty_answer_is_an_item_too() -> None:
    stream = Events(response())
    assert "output_item.done" in kinds(events(stream.begin(), stream.end(Answer(data=""))))


def test_a_stream_that_fails_ends_with_the_reason() -> None:
    stream = Events(response())
    error = Answer(error=Refusal(503, "model_overloaded", "away"))
    found = events(stream.begin(), stream.piece("Hi", turn=1), stream.end(error))
    assert kinds(found)[-1] == "failed"
    assert found[-1]["response"]["error"]["message"] == "model_overloaded: away"


def test_a_repetition_that_differs_is_noticed() -> None:
    stream = Events(response())
    list(stream.piece("Hi", turn=1))
    with pytest.raises(Diverged) as noticed:
        list(stream.end(Answer(data="No")))
    assert kinds(events(stream.failed(noticed.value))) == ["failed"]
