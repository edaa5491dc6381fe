"""What a result says, as both of OpenAI's interfaces need it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from agentd.doors.openai.errors import failure
from agentd.doors.refusal import Refusal
from agentd.errors import DecodeError
from agentd.protocol.fields import SendersCall
from agentd.protocol.message import AgentMessage


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of all model calls of a task: `cached` and `written` (to the cache of the provider)
    are parts of `input`, `reasoning` of `output`."""

    input: int
    output: int
    cached: int
    written: int
    reasoning: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The outcome of a task.

    Attributes:
        data: the answer, a text or any JSON value.
        calls: the calls of the client's tools that the answer consists of.
        usage: None if not known.
        cut: the answer was cut off.
        turns: how many turns the model took; 0 if not known.
        revision: of the agent that answered.
        error: why there is no answer.
    """

    data: Any = ""
    calls: tuple[SendersCall, ...] = ()
    usage: Usage | None = None
    cut: bool = False
    turns: int = 0
    revision: str = ""
    error: Refusal | None = None

    @classmethod
    def of(cls, result: AgentMessage) -> Answer:
        """The outcome in a result, which any client of NATS may have written.

        Raises:
            DecodeError: it is no result of agentd.
        """
        content = result.payload.content
        if not isinstance(content, dict):
            raise DecodeError("the result has no content")
        content = cast("Mapping[str, Any]", content)
        turns, error = content.get("turns"), content.get("error")
        known = cls(
            usage=_usage(content.get("usage")),
            turns=turns if isinstance(turns, int) else 0,
            revision=str(content.get("revision") or ""),
        )
        if not content.get("success"):
            return _with(known, error=failure(error if isinstance(error, dict) else {}))
        calls = _calls(content.get("calls") or ())
        return _with(known, data=content.get("data"), calls=calls, cut="cut" in content)

    @property
    def text(self) -> str:
        """The answer as text: a value as JSON."""
        data = self.data
        return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)


def _with(answer: Answer, **fields: Any) -> Answer:
    return Answer(**{**vars(answer), **fields})


def _calls(listed: Any) -> tuple[SendersCall, ...]:
    try:
        return tuple(SendersCall.model_validate(each) for each in listed)
    except (ValidationError, TypeError):
        raise DecodeError("the result has calls that cannot be read") from None


def _usage(counts: Any) -> Usage | None:
    match counts:
        case {"inputTokens": int(given), "outputTokens": int(made)}:
            return Usage(
                input=given,
                output=made,
                cached=counts.get("cacheReadTokens") or 0,
                written=counts.get("cacheWriteTokens") or 0,
                reasoning=counts.get("reasoningTokens") or 0,
            )
        case _:
            return None
