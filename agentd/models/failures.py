"""What a failed model call means: its code, whether to try again, and a text without keys."""

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

SHOWN = 500  # characters of a provider's text that a person gets to see
_TRANSIENT = frozenset(
    {"model_rate_limited", "model_overloaded", "model_timeout", "model_truncated", "model_garbage"}
)
_BY_STATUS = {
    401: "model_auth",
    403: "model_auth",
    404: "model_not_found",
    408: "model_timeout",
    429: "model_rate_limited",
}
# These come with a 429, but waiting does not bring money.
_OUT_OF_MONEY = ("insufficient_quota", "billing_hard_limit_reached")
# These come with a 400 or 403: it is the content that is not wanted, by OpenAI, by Azure.
_UNWANTED = re.compile(
    "content_policy_violation|content_filter|ResponsibleAIPolicyViolation|ContentPolicyViolation"
    "|content management policy|moderation_blocked"
)


@dataclass(frozen=True)
class Failures:
    """Makes the errors of one model; `secrets` never appear in them."""

    model: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def error(
        self,
        code: str,
        what: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> ModelError:
        """`what` went wrong with the model; the code says whether a retry may help, unless told."""
        return ModelError(
            f"{self.model}: {shorten(redact(what, self.secrets))}",
            code=code,
            status=status,
            retry_after=retry_after,
            retryable=code in _TRANSIENT if retryable is None else retryable,
        )

    def refused(
        self, status: int, body: str, headers: Mapping[str, str] | None = None
    ) -> ModelError:
        """An HTTP status that is not 2xx, with the body and headers that came with it."""
        code = code_of(status)
        if status in (400, 403) and _UNWANTED.search(body):
            code = "model_refused"
        broke = status == 429 and any(mark in body for mark in _OUT_OF_MONEY)
        return self.error(
            code,
            f"answered {status}: {complaint(body)}",
            status=status,
            retry_after=retry_after(headers or {}),
            retryable=False if broke else code in _TRANSIENT or status == 409,
        )

    def reported(self, error: Any) -> ModelError:
        """An error object where an answer should be: inside a 200, or between two chunks."""
        fields: dict[str, Any] = error if isinstance(error, dict) else {}
        numbers = [fields.get(key) for key in ("code", "status", "status_code")]
        status = next((n for n in numbers if isinstance(n, int) and 400 <= n < 600), None)
        text = f"reported an error: {complaint(error)}"
        return self.error(code_of(status or 500), text, status=status)

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncGenerator[asyncio.Timeout]:
        """A deadline over everything inside; when it passes, `model_timeout` is raised."""
        if seconds <= 0:  # a kept-alive connection would carry the request before time is looked at
            raise self._late(seconds)
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                yield deadline
        except TimeoutError:
            if not deadline.expired():
                raise
            raise self._late(seconds) from None

    def _late(self, seconds: float) -> ModelError:
        return self.error("model_timeout", f"no complete answer within {seconds:g} s")


def code_of(status: int) -> str:
    """The `ModelError.code` of an HTTP status."""
    if status >= 500:
        return "model_overloaded"
    if status < 400:  # a redirect: the base is not where the API is
        return "model_config"
    return _BY_STATUS.get(status, "model_rejected")


def complaint(body: Any) -> str:
    """What a provider says is wrong, out of the shapes they use, or the body as it stands."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return body.strip() or "(no text)"
    while isinstance(body, dict):
        inner = next((body[key] for key in ("error", "message", "detail") if body.get(key)), None)
        if inner is None:
            break
        body = inner
    return body if isinstance(body, str) else json.dumps(body)


def redact(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[key]")
    return text


def shorten(text: str) -> str:
    """One line of at most `SHOWN` characters. Redact first: half a key is still a secret."""
    line = " ".join(text[: 20 * SHOWN].split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait: `Retry-After` as a number or as an HTTP date."""
    values = {name.lower(): value for name, value in headers.items()}
    if "retry-after-ms" in values:  # OpenAI's and Azure's, more exact than the header of RFC 9110
        return _seconds(values["retry-after-ms"], 0.001)
    value = values.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return _seconds(value, 1.0)


def _seconds(value: str, unit: float) -> float | None:
    try:
        number = float(value) * unit
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
