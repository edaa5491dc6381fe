"""What a provider's error means, by its HTTP status, its codes, and its words.

Providers and gateways put the same facts into different places: the HTTP status, a number or a text
in `code`, `status`, `status_code` or `type`, the name of an exception in the message. Some report a
request that can never succeed as a 500, or inside a 200.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_BY_STATUS = {
    401: "model_auth",
    403: "model_auth",
    404: "model_not_found",
    408: "model_timeout",
    429: "model_rate_limited",
}
# Words in `code`, `type` or `status`, or names of exceptions in a message. The first match counts.
_BY_WORD = (
    (
        429,
        "rate_?limit|too_?many_?requests|resource_?exhausted|throttl|concurrency|quota|billing"
        "|insufficient_(credit|balance|funds)",
    ),
    (401, "api_?key|authenticat|unauthori[sz]ed|invalid_token"),
    (403, "permission|forbidden|access_?denied"),
    (404, "not_?found|no_such_model|model_not_exist|unknown_model"),
    (408, "time_?out|deadline_?exceeded"),
    (503, "overload|unavailable|server_?error|internal|upstream|bad_?gateway|network|connection"),
    (400, "invalid|bad_?request|unsupported|not_supported|unprocessable|malformed|precondition"),
)
_WORDS = tuple((status, re.compile(words)) for status, words in _BY_WORD)
_EXCEPTION = re.compile(r"\b([A-Z][A-Za-z]+(?:Error|Exception))\b")
# "Error code: 400 - {…}": how OpenAI's library, and what is built on it, passes an error on.
_QUOTED_STATUS = re.compile(r"\b(?:error code|status(?: code)?|http)[ :=]+([45]\d\d)\b", re.I)
# A content policy comes with a 400 or 403 at OpenAI and Azure, or inside a 200.
_POLICY = re.compile(
    "content_policy_violation|content_filter|ResponsibleAIPolicyViolation|ContentPolicyViolation"
    "|content management policy|moderation_blocked|data_inspection_failed"
)
# Most come with a 429, but waiting does not bring money.
_NO_MONEY = re.compile(
    "insufficient_quota|billing_hard_limit|insufficient_credits|insufficient_balance"
    "|Insufficient Balance|exceeded_current_quota"
)
_TOO_LONG = re.compile(
    r"context_length_exceeded|context_window_exceeded|ContextWindowExceeded|exceed_context_size"
    r"|maximum (?:context|prompt) length|context window|loaded with context length"
    r"|(?:exceed|larger|longer|greater|too l)\w*\b.{0,60}\bcontext (?:length|size|limit)"
    r"|\bcontext (?:length|size|limit).{0,40}\b(?:exceed|overflow|too small)"
    r"|exceeds? the (?:available )?context|(?:prompt|input)(?: is)? too long"
    r"|string_above_max_length|exceeds the maximum number of|longer than the maximum model length"
    r"|model token limit|prompt token count.{0,40}exceeds|reduce the length of"
    r"|inputs?`? tokens \+ `?max_new_tokens|the context of the model is full",
    re.I,
)
# A request that alone is larger than what a minute allows: OpenAI says so with a 429.
_TOO_LARGE = re.compile("request too large", re.I)


@dataclass(frozen=True)
class Meaning:
    """What an error means.

    Attributes:
        code: of `ModelError`.
        status: the HTTP status that fits best; it may be another one than that of the response.
        final: the same request can never succeed, whatever the code says.
        hint: what to do, if it is known.
    """

    code: str
    status: int
    final: bool = False
    hint: str = ""


def meaning(error: Any, status: int = 200) -> Meaning:
    """What an error means, which came with this HTTP status: its body, or the object in an answer.

    An error inside a 200 that says nothing that is known counts as a failure of the provider.
    """
    fields = _fields(error)
    text = str(error)
    number = status
    if status < 300:
        number = _status_in(fields, text) or 500
    elif status >= 500:
        number = _number(fields) or status
    if number in (429, 402) and _NO_MONEY.search(text):
        hint = "the account has no money left, or has reached its limit"
        return Meaning(code_of(number), number, final=True, hint=hint)
    if (number in (400, 403) or status < 300) and _POLICY.search(text):
        return Meaning("model_refused", number, final=True)
    if number != 429 and is_too_long(text):
        return Meaning("model_rejected", 400, final=True, hint="shorten it, or use another model")
    if number == 429 and _TOO_LARGE.search(text):
        return Meaning(
            "model_rate_limited", number, final=True, hint="the request alone is over it"
        )
    return Meaning(code_of(number), number)


def is_too_long(text: str) -> bool:
    """Whether a text says that the prompt, or the answer after it, does not fit the context."""
    return _TOO_LONG.search(text) is not None


def code_of(status: int) -> str:
    """The `ModelError.code` of an HTTP status."""
    if status >= 500:
        return "model_overloaded"
    if status < 400:  # a redirect: the configured address is not where the API is
        return "model_config"
    return _BY_STATUS.get(status, "model_rejected")


def _fields(error: Any) -> Mapping[str, Any]:
    """The innermost object that describes an error: gateways wrap that of the provider."""
    while isinstance(error, Mapping) and isinstance(error.get("error"), Mapping):
        error = error["error"]
    return error if isinstance(error, Mapping) else {}


def _number(fields: Mapping[str, Any]) -> int | None:
    """The HTTP status that an error has in one of its fields, as a number or as text."""
    for key in ("code", "status", "status_code", "error_code", "http_code"):
        value = fields.get(key)
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value[:9])
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value
    return None


def _status_in(fields: Mapping[str, Any], text: str) -> int | None:
    """The HTTP status that an error inside a 200 means; None if it does not say."""
    number = _number(fields)
    if number:
        return number
    keys = ("code", "type", "status", "error_code")
    words = [value for key in keys if isinstance(value := fields.get(key), str)]
    for word in [*words, *_EXCEPTION.findall(text)]:
        for status, pattern in _WORDS:
            if pattern.search(word.lower()):
                return status
    quoted = _QUOTED_STATUS.search(text)
    return int(quoted[1]) if quoted else None
