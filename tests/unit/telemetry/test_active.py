"""What is sent carries its trace, with a tracer and without one."""

from __future__ import annotations

from agentd.protocol.message import AgentIdentity, new
from agentd.protocol.trace import TraceContext, entered
from agentd.telemetry import active
from tests.recorded_spans import ids, parent, recorded, said

SUBJECT = "agents.dev.task.analysis.general.5"
TASK = new("task", "hello", source=AgentIdentity(id="me", type="agent"))


def test_without_a_tracer_a_message_goes_on_with_the_trace_of_its_sender() -> None:
    span = TraceContext.start()
    with entered(span), active.sending(SUBJECT, TASK) as headers:
        assert headers == span.headers()


def test_without_a_tracer_and_outside_of_a_trace_a_message_names_none() -> None:
    with active.sending(SUBJECT, TASK) as headers:
        assert headers == {}


def test_with_a_tracer_the_sending_is_a_span_that_the_message_names() -> None:
    sender = TraceContext.start()
    with recorded() as found, entered(sender), active.sending(SUBJECT, TASK) as headers:
        pass
    span = found.one("send")
    trace, own = ids(span)
    assert headers["traceparent"] == f"00-{trace}-{own}-01"
    assert (trace, parent(span)) == (sender.trace_id, sender.span_id)
    assert span.kind.name == "PRODUCER"
    assert said(span)["messaging.message.id"] == TASK.id
    assert found.broken() == []
