"""W3C trace context in the headers of messages."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass

# https://www.w3.org/TR/trace-context/#traceparent-header: ids are lower case and never all zero;
# version ff is invalid; versions after 00 may have more fields, which are ignored.
_PARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})"
    r"-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
# The standard asks to pass it on. Without this check, a line break would forge a NATS header.
_STATE = re.compile(r"[\x20-\x7e]{1,512}")
_SAMPLED = 0x01


@dataclass(frozen=True)
class TraceContext:
    """One span of a trace.

    Attributes:
        trace_id: 32 hexadecimal digits, the same along the whole conversation of messages.
        span_id: 16 hexadecimal digits, this span.
        sampled: whether the sender wants the trace recorded.
        state: the vendors' `tracestate`, passed on untouched.
    """

    trace_id: str
    span_id: str
    sampled: bool = True
    state: str = ""

    @classmethod
    def start(cls) -> TraceContext:
        """The first span of a new trace."""
        return cls(secrets.token_hex(16), secrets.token_hex(8))

    @classmethod
    def accept(cls, headers: Mapping[str, str]) -> TraceContext:
        """The span that a message was sent from; a new trace if its headers name none."""
        return cls.of(headers) or cls.start()

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> TraceContext | None:
        """The span that a message was sent from; None if its headers name none.

        Header names are compared without case: NATS keeps their case, and clients write both
        `traceparent` and `Traceparent`.
        """
        given = {name.lower(): value for name, value in headers.items()}
        if "traceparent" not in given:
            return None
        found = _PARENT.fullmatch(given["traceparent"].strip())
        if not found or (found["version"] == "00" and found["more"]):
            return None
        state = given.get("tracestate", "").strip()
        return cls(
            trace_id=found["trace"],
            span_id=found["span"],
            sampled=bool(int(found["flags"], 16) & _SAMPLED),
            state=state if _STATE.fullmatch(state) else "",
        )

    def child(self) -> TraceContext:
        """A new span under this one."""
        return TraceContext(self.trace_id, secrets.token_hex(8), self.sampled, self.state)

    def headers(self) -> dict[str, str]:
        """The headers of a message sent from this span."""
        parent = f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"
        return {"traceparent": parent, **({"tracestate": self.state} if self.state else {})}


# What the running asyncio task works for. The tasks that it starts inherit it.
_CURRENT: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


def current() -> TraceContext | None:
    """The span that the running code works for; None outside of a trace."""
    return _CURRENT.get()


def headers() -> dict[str, str]:
    """The headers of a message that the running code sends; none outside of a trace."""
    here = _CURRENT.get()
    return here.headers() if here else {}


class entered:
    """Makes a span the current one, for the block of `with`. None changes nothing."""

    def __init__(self, span: TraceContext | None) -> None:
        self._span = span
        self._token: Token[TraceContext | None] | None = None

    def __enter__(self) -> None:
        if self._span:
            self._token = _CURRENT.set(self._span)

    def __exit__(self, *_: object) -> None:
        if self._token:
            _CURRENT.reset(self._token)
