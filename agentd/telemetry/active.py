"""The tracer of this process: None unless the variables of OpenTelemetry ask for one."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from agentd.protocol import trace

if TYPE_CHECKING:
    from agentd.protocol.message import AgentMessage
    from agentd.telemetry.tracer import Tracer

# One of a process, as in OpenTelemetry itself: a span goes on where another part has begun it.
tracer: Tracer | None = None

# In place of a span, while there is no tracer.
OFF: AbstractContextManager[None] = nullcontext()


@contextmanager
def sending(subject: str, message: AgentMessage) -> Generator[Mapping[str, str]]:
    """Around the sending of one message: yields the headers that let its trace go on."""
    if tracer is None:
        yield trace.headers()
        return
    with tracer.sending(subject, message) as headers:
        yield headers
