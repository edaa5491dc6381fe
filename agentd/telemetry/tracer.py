"""Opens and ends spans, and makes them the current ones: for our code and for OpenTelemetry's.

Everything here runs in the path of messages, so nothing waits: a span that has ended goes into the
memory of its processor, and a thread exports it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    TracerProvider,
    TraceState,
    get_current_span,
    set_span_in_context,
    use_span,
)

from agentd import __version__
from agentd.models.port import ChatRequest, ModelAttempt
from agentd.protocol import trace
from agentd.protocol.message import AgentMessage
from agentd.protocol.trace import TraceContext, entered
from agentd.telemetry import content, names, spans
from agentd.telemetry.measures import Measures
from agentd.telemetry.open_span import AgentSpan, OpenSpan, ToolSpan, tried
from agentd.telemetry.spans import Opening

Measure = Callable[[Mapping[str, Any], float, str], None]

_KINDS = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class Tracer:
    """The spans of one process.

    Nothing here raises an error: what goes wrong with a span costs the span, never the task.

    Args:
        content: whether spans have what is sent to models and tools, and what these answer.
    """

    def __init__(self, provider: TracerProvider, measures: Measures, *, content: bool) -> None:
        self._tracer = provider.get_tracer("agentd", __version__)
        self._measures = measures
        self._content = content

    @contextmanager
    def process(
        self, subject: str, headers: Mapping[str, str], *, agent: str, size: int, attempt: int
    ) -> Generator[None]:
        """Around the work on a delivered message. It goes on with the trace of its headers."""
        opening = partial(spans.process, subject, agent=agent, size=size, attempt=attempt)
        with self._span(opening, TraceContext.of(headers)):
            yield

    def identify(self, message: AgentMessage) -> None:
        """Says which message the current span works on, once it is read."""
        self._current().say(lambda: spans.identity(message))

    def failed(self, error: BaseException) -> None:
        """Says that what the current span is about has failed."""
        self._current().fail_with(error)

    @contextmanager
    def agent(
        self, name: str, message: AgentMessage, *, revision: str, model: str, description: str
    ) -> Generator[AgentSpan]:
        """Around the run of an agent."""
        opening = partial(
            spans.agent, name, message, revision=revision, model=model, description=description
        )
        with self._span(opening, measure=self._measures.agent) as span:
            span.say(content=lambda: content.asked(message.payload.content))
            yield AgentSpan(span)

    def chat(
        self,
        request: ChatRequest,
        attempt: ModelAttempt,
        *,
        first_chunk: float | None,
        stream: bool,
    ) -> None:
        """One call of a model, which has ended. `first_chunk`: in seconds from its start."""
        opening = tried(lambda: spans.chat(request, attempt.model, stream=stream))
        if opening is None or not attempt.called:
            return
        start = time.time_ns() - int(attempt.seconds * 1e9)
        span = OpenSpan(self._begin(opening, trace.current(), start=start), self._content)
        span.say(lambda: spans.chat_end(attempt, first_chunk))
        span.say(content=lambda: content.input_of(request.messages))
        if completion := attempt.completion:
            span.say(content=lambda: content.output_of(completion))
        else:
            span.fail(attempt.code, attempt.message)
        span.otel.end()
        within = set_span_in_context(span.otel)
        tried(lambda: self._measures.chat(opening.attributes, attempt, first_chunk, within))

    @contextmanager
    def tool(
        self, name: str, arguments: str, *, call_id: str, description: str, agent: str
    ) -> Generator[ToolSpan]:
        """Around the call of a tool; `arguments` as the model wrote them."""
        opening = partial(spans.tool, name, call_id=call_id, description=description, agent=agent)
        with self._span(opening, measure=self._measures.tool) as span:
            span.say(content=lambda: content.arguments_of(arguments))
            yield ToolSpan(span)

    def created(
        self,
        subject: str,
        conversation: str,
        message: AgentMessage | None = None,
        *,
        links: Sequence[TraceContext] = (),
    ) -> dict[str, str]:
        """The headers of a message that is stored together with others. With `links` it follows
        from these messages: it goes on with the trace of the first."""
        parent = links[0] if links else trace.current()
        opening = tried(lambda: spans.sent(names.CREATE, subject, message, conversation))
        if opening is None:
            return parent.headers() if parent else {}
        span = self._begin(opening, parent, links=links)
        span.end()
        return _headers(span)

    @contextmanager
    def sending(self, subject: str, message: AgentMessage) -> Generator[dict[str, str]]:
        """Around the sending of one message: yields its headers."""
        conversation = message.context.conversation_id
        with self._span(partial(spans.sent, names.SEND, subject, message, conversation)):
            yield trace.headers()

    @contextmanager
    def trigger(self, kind: str, name: str, agent: str) -> Generator[None]:
        """Around the start of a task by a trigger."""
        with self._span(partial(spans.trigger, kind, name, agent)):
            yield

    @contextmanager
    def post(self, url: str) -> Generator[None]:
        """Around the request of a callback."""
        with self._span(partial(spans.post, url)):
            yield

    @contextmanager
    def _span(
        self,
        opening: Callable[[], Opening],
        parent: TraceContext | None = None,
        measure: Measure | None = None,
    ) -> Generator[OpenSpan]:
        """Around what a span is about. It is the current one meanwhile."""
        known = tried(opening)
        if known is None:
            yield OpenSpan(INVALID_SPAN, with_content=False)
            return
        began = time.monotonic()
        span = OpenSpan(self._begin(known, parent or trace.current()), self._content)
        # Libraries such as `mcp` look for their parent in the context of OpenTelemetry.
        theirs = use_span(span.otel, record_exception=False, set_status_on_exception=False)
        with theirs, entered(_context_of(span.otel)):
            try:
                yield span
            except BaseException as error:
                span.fail_with(error)
                raise
            finally:
                span.otel.end()
                if measure:
                    seconds = time.monotonic() - began
                    tried(lambda: measure(known.attributes, seconds, span.code))

    def _current(self) -> OpenSpan:
        return OpenSpan(get_current_span(), self._content)

    def _begin(
        self,
        opening: Opening,
        parent: TraceContext | None,
        *,
        links: Sequence[TraceContext] = (),
        start: int | None = None,
    ) -> Span:
        return self._tracer.start_span(
            opening.name,
            context=_as_context(parent),
            kind=_KINDS[opening.kind],
            attributes=opening.attributes,
            links=[Link(_span_context(each)) for each in links],
            start_time=start,
            record_exception=False,
            set_status_on_exception=False,
        )


def _headers(span: Span) -> dict[str, str]:
    here = _context_of(span)
    return here.headers() if here else {}


def _context_of(span: Span) -> TraceContext | None:
    """The span for our own code; None where only metrics are exported and no trace has begun."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return TraceContext(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        sampled=context.trace_flags.sampled,
        state=context.trace_state.to_header(),
    )


def _span_context(span: TraceContext) -> SpanContext:
    return SpanContext(
        trace_id=int(span.trace_id, 16),
        span_id=int(span.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if span.sampled else TraceFlags.DEFAULT),
        trace_state=TraceState.from_header([span.state]) if span.state else None,
    )


def _as_context(parent: TraceContext | None) -> Context:
    """The parent as OpenTelemetry wants it. An empty context begins a new trace."""
    span = NonRecordingSpan(_span_context(parent)) if parent else INVALID_SPAN
    return set_span_in_context(span, Context())
