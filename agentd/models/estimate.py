"""Estimates the tokens of a call without a tokenizer, and limits a request to a number of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentd.errors import Undeliverable
from agentd.models.port import ChatRequest, Usage
from agentd.protocol.media import size

# A tokenizer would be more exact, but litellm's takes 57 microseconds a call, and downloads a
# vocabulary for many models. The estimate is corrected after the call by the provider's count.
BYTES_A_TOKEN = 4
_TOKENS_A_MESSAGE, _TOKENS_A_PICTURE = 4, 1_000
_BYTES_A_PAGE = 40_000  # of a document; providers turn each page into an image
_OUTPUT = 1_000  # tokens, if a request has no limit
_OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens")


def expected(request: ChatRequest) -> Usage:
    """The tokens that a call may take: four bytes of input each, and as much output as is allowed.

    A request without a limit of its output counts as one of 1,000 tokens.
    """
    choices = _whole(request.parameters.get("n")) or 1
    output = output_limit(request.parameters) or _OUTPUT
    return Usage(_prompt(request), output * choices)


def output_limit(parameters: Mapping[str, Any]) -> int | None:
    """The most tokens that an answer may have by these parameters; None if they do not say."""
    limits = [_whole(parameters.get(name)) for name in _OUTPUT_LIMITS]
    return min((limit for limit in limits if limit), default=None)


def within(request: ChatRequest, most: int) -> ChatRequest:
    """The request with its output limited, so that input and output together are at most `most`.

    Raises:
        Undeliverable: the prompt alone has that many (`budget`).
    """
    prompt = _prompt(request)
    room = most - prompt
    if room <= 0:
        raise Undeliverable(
            f"payload.constraints.maxTokens is {most:,}, and the prompt alone has about {prompt:,} "
            f"tokens; allow more, or send a shorter message",
            code="budget",
        )
    given = request.parameters
    # Newer OpenAI models accept only `max_completion_tokens`, most other servers only `max_tokens`:
    # keep the one that the manifest uses.
    names = [name for name in _OUTPUT_LIMITS if name in given] or ["max_tokens"]
    lowered = {name: min(room, _whole(given.get(name)) or room) for name in names}
    return replace(request, parameters={**given, **lowered})


def _prompt(request: ChatRequest) -> int:
    tools = len(json.dumps(list(request.tools))) // BYTES_A_TOKEN if request.tools else 0
    return sum(map(message_tokens, request.messages)) + tools


def message_tokens(message: Mapping[str, Any]) -> int:
    """The tokens of one message of a chat."""
    content, calls = message.get("content"), message.get("tool_calls")
    # As text: a list would count as the parts of a content, each call as a picture.
    return _tokens(content) + (_tokens(json.dumps(calls)) if calls else 0) + _TOKENS_A_MESSAGE


def _tokens(content: Any) -> int:
    if isinstance(content, list):
        return sum(_part(part) for part in content)
    text = content if isinstance(content, str) else json.dumps(content)
    return -(-len(text.encode(errors="replace")) // BYTES_A_TOKEN)


def _part(part: Any) -> int:
    """The tokens of one part of a content. For an image or a document, its bytes say little."""
    if not isinstance(part, Mapping) or part.get("text") is not None:
        return _tokens(part if not isinstance(part, Mapping) else part["text"])
    pages = size(part) // _BYTES_A_PAGE if part.get("type") == "file" else 0
    return _TOKENS_A_PICTURE * max(1, pages)


def _whole(value: Any) -> int | None:
    """A parameter as a number of tokens; None if it is not one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
