"""How an answer ended: whole, cut off, refused, failed, empty or unfinished.

This is decided here and nowhere else: for streams and whole responses, for direct calls, litellm
and mocks, and for answers that come from the journal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from agentd.errors import ModelError
from agentd.models.estimate import output_limit
from agentd.models.failures import Failures
from agentd.models.port import Completion, Cut


class Ending(StrEnum):
    """How an answer ended. Only a whole answer, and text that was cut off, can be used."""

    WHOLE = "whole"
    CUT = "cut off"  # by `max_tokens`, or by the context of the model
    REFUSED = "refused"  # by a content policy or by the model
    FAILED = "failed"  # the provider reports that it could not finish
    EMPTY = "empty"  # it has neither text nor a tool call
    UNFINISHED = "unfinished"  # it has no finish reason, so more may have been to come


# Providers have their own words for the finish reason, and gateways pass them on. The first match
# counts. A word that is not here ends an answer as "stop" does: there are too many to list.
_WORDS = {
    Ending.REFUSED: re.compile(
        "content_?filter|safety|recitation|refus|block|prohibit|spii|guardrail|sensitive|moderation"
        "|policy|toxic|flagged"
    ),
    Ending.CUT: re.compile("length|max_?\\w*tokens|token_limit|error_limit|context|incomplete"),
    Ending.FAILED: re.compile(
        "error|fail|abort|cancel|timeout|timed_out|malformed|unexpected|insufficient|overload"
        "|unavailable|interrupt|unspecified|^other$"
    ),
}
_CODES = {
    Ending.CUT: "model_cut_off",
    Ending.REFUSED: "model_refused",
    Ending.FAILED: "model_overloaded",
    Ending.EMPTY: "model_empty",
    Ending.UNFINISHED: "model_truncated",
}


def ending_of(completion: Completion, refusal: str = "") -> Ending:
    """How an answer ended. `refusal` is what the model wrote in place of an answer, if anything."""
    reason = completion.finish_reason
    by_reason = _meaning(reason) if reason else Ending.UNFINISHED
    if by_reason is not Ending.WHOLE:
        return by_reason
    if refusal:
        return Ending.REFUSED
    return Ending.WHOLE if _has_content(completion) else Ending.EMPTY


def accepted(
    completion: Completion,
    failures: Failures,
    *,
    refusal: str = "",
    parameters: Mapping[str, Any] | None = None,
) -> Completion:
    """The answer, if it can be used; `cut` says whether text is missing at its end.

    Tool calls that were cut off cannot be used: no part of such a call proves that it is complete.

    Args:
        completion: what arrived.
        failures: makes the errors.
        refusal: what the model wrote in place of an answer.
        parameters: those of the request, which may limit the length of the answer.

    Raises:
        ModelError: it cannot be used. The error has the usage and the cost of the call.
    """
    ending = ending_of(completion, refusal)
    if ending is Ending.WHOLE:
        return completion
    most = output_limit(parameters or {})
    if ending is Ending.CUT and completion.text.strip() and not completion.tool_calls:
        return replace(completion, cut=completion.cut or _cut(completion, most))
    error = _error(ending, completion, failures, refusal, most)
    error.answered, error.usage, error.cost = True, completion.usage, completion.cost
    raise error


def _meaning(reason: str) -> Ending:
    word = reason.strip().lower().replace("-", "_").replace(" ", "_")
    return next((end for end, words in _WORDS.items() if words.search(word)), Ending.WHOLE)


def _has_content(completion: Completion) -> bool:
    return bool(completion.tool_calls or completion.text.strip())


def _cut(completion: Completion, most: int | None) -> Cut:
    """What cut an answer off. Most providers call both "length"."""
    reason, usage = completion.finish_reason.lower(), completion.usage
    if "context" in reason or "error_limit" in reason:
        return "context"
    if most is None:
        return "max_tokens" if "max" in reason else "context"
    return "context" if usage and usage.output_tokens < most else "max_tokens"


def _error(
    ending: Ending, completion: Completion, failures: Failures, refusal: str, most: int | None
) -> ModelError:
    reason, hint = completion.finish_reason, ""
    if ending is Ending.CUT:
        what = "a tool call" if completion.tool_calls else "its first word"
        where = "in the middle of" if completion.tool_calls else "before"
        text = f"the answer was cut off {where} {what} (finish_reason {reason})"
        hint = f"raise `max_tokens` above {most:,}" if most else "the context of the model is full"
    elif ending is Ending.REFUSED:
        said = f": {refusal}" if refusal else ""
        text = f"refused to answer (finish_reason {reason}){said}"
    elif ending is Ending.FAILED:
        text = f"could not finish the answer (finish_reason {reason})"
    elif ending is Ending.EMPTY:
        only = "nothing but reasoning" if completion.reasoning else "neither text nor a tool call"
        text = f"the answer has {only} (finish_reason {reason})"
    else:
        text = "the stream ended before the answer was complete (no finish_reason)"
    # The status is that of the HTTP response: the endpoint can be reached, whatever the model does.
    return failures.error(_CODES[ending], text, hint=hint, status=200)
