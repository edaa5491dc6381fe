"""The errors of failed model calls: code, whether a retry may help, and a text without keys."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from agentd.errors import ModelError
from agentd.models.meaning import Meaning, meaning

CONNECT = 10.0  # seconds; so a host that is down is noticed long before the deadline of the call

_SHORTEST_KEY = 8  # characters of a real key
SHOWN = 500  # characters of a provider's text that an error shows
_TRANSIENT = frozenset(
    {
        "model_rate_limited",
        "model_overloaded",
        "model_timeout",
        "model_truncated",
        "model_empty",
        "model_garbage",
    }
)
_SAYING = ("error", "message", "detail", "error_msg", "msg", "error_message")
_HINTS = {
    "model_auth": "check the API key and what it may use",
    "model_not_found": "check the name of the model and the address",
}


@dataclass(frozen=True)
class Failures:
    """Makes the errors of one model; `secrets` never appear in them."""

    model: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def error(
        self,
        code: str,
        text: str,
        *,
        hint: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> ModelError:
        """An error that names the model. `text` is shortened to `SHOWN` characters, `hint` is not.

        Without `retryable`, the code decides whether a retry may help.
        """
        shown = shorten(redact(text, self.secrets))
        return ModelError(
            f"{self.model}: {shown} ({hint})" if hint else f"{self.model}: {shown}",
            code=code,
            status=status,
            retry_after=retry_after,
            retryable=code in _TRANSIENT if retryable is None else retryable,
        )

    def refused(
        self, status: int, body: str, headers: Mapping[str, str] | None = None, *, hint: str = ""
    ) -> ModelError:
        """The error of an HTTP response that is not 2xx, from its body and headers."""
        means = meaning(_parsed(body), status)
        error = self._meant(
            means,
            f"answered {status}: {complaint(body)}",
            hint=hint or means.hint or _HINTS.get(means.code, ""),
            status=status,
            retry_after=retry_after(headers or {}),
        )
        error.unavailable = status == 503 and error.retryable
        return error

    def unreachable(self, text: str, *, hint: str = "") -> ModelError:
        """The error of a call for which there was no connection: it was not sent."""
        error = self.error("model_overloaded", text, hint=hint)
        error.unavailable = True
        return error

    def reported(self, error: Any) -> ModelError:
        """The error of an error object in place of an answer: in a 200, or between two chunks."""
        means = meaning(error)
        text = f"reported an error instead of an answer: {complaint(error)}"
        # The status that is meant, not 200: a limiter decides by it.
        return self._meant(means, text, hint=means.hint, status=means.status)

    def _meant(
        self,
        means: Meaning,
        text: str,
        *,
        hint: str,
        status: int,
        retry_after: float | None = None,
    ) -> ModelError:
        return self.error(
            means.code,
            text,
            hint=hint,
            status=status,
            retry_after=retry_after,
            retryable=not means.final and (means.code in _TRANSIENT or means.status == 409),
        )

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncGenerator[asyncio.Timeout]:
        """A deadline for everything inside the block; when it passes, `model_timeout` is raised.

        The timeouts of HTTP libraries are for each read, so an answer that drips in never ends.
        """
        # `asyncio.timeout` only acts at the next await that blocks: over a connection that is open
        # already, the request would be sent, and paid, before that.
        if seconds <= 0:
            raise self._late(seconds)
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                yield deadline
        except TimeoutError:
            # Another timeout, such as one raised by `on_delta`, is not ours.
            if not deadline.expired():
                raise
            raise self._late(seconds) from None

    def _late(self, seconds: float) -> ModelError:
        text = f"no complete answer within {seconds:.3g} s"
        return self.error("model_timeout", text, hint="if it needs longer, raise the timeout")


def is_late(seconds: float, connect: float = CONNECT) -> bool:
    """Whether a connection was given up so late that our own event loop was blocked meanwhile.

    After `connect` seconds it is given up. If the loop was blocked, the timer is served first, even
    if the connection has long been open: the failure says nothing about the server.
    """
    return seconds > 1.5 * connect


def complaint(body: Any) -> str:
    """The provider's own words: out of the formats that providers use, or the whole body.

    OpenAI has `{"error": {"message": …}}`, FastAPI `{"detail": …}`, others `{"error": …}`,
    `{"message": …}` or the like.
    """
    body = _parsed(body)
    while isinstance(body, dict):
        inner = next((body[key] for key in _SAYING if body.get(key)), None)
        if inner is None:
            break
        body = inner
    return (body.strip() or "(no text)") if isinstance(body, str) else json.dumps(body)


def _parsed(body: Any) -> Any:
    """The JSON in a body; the body itself if it is none."""
    if not isinstance(body, str):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` with `[key]` in place of every secret. Providers quote the key in a 401.

    A short key, such as the `x` of a local server, is a secret only where it is a whole word.
    """
    for secret in secrets:
        if len(secret) >= _SHORTEST_KEY:
            text = text.replace(secret, "[key]")
        elif secret:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "[key]", text)
    return text


def shorten(text: str) -> str:
    """One line of at most `SHOWN` characters. Redact first: half a key is still a secret."""
    line = " ".join(text[: 20 * SHOWN].split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a provider asks to wait; None if it does not say.

    `Retry-After` (RFC 9110) is a number of seconds or an HTTP date.
    """
    values = {name.lower(): value for name, value in headers.items()}
    if "retry-after-ms" in values:  # from OpenAI and Azure; more exact than `Retry-After`
        return _seconds(values["retry-after-ms"], 0.001)
    value = values.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):  # the second for a day 3000000000
        return _seconds(value, 1.0)


def _seconds(value: str, unit: float) -> float | None:
    try:
        number = float(value) * unit
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
