"""What happens with tasks and workflows, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from agentd.doors.api.models import request_document, task_document
from agentd.doors.event_stream import HEARTBEAT, block
from agentd.doors.refusal import refusal_of
from agentd.errors import AgentdError
from agentd.routing.accept import Acceptance
from agentd.routing.status import TaskStatus
from agentd.routing.stream import StreamEvent
from agentd.routing.workflow import WorkflowEvent


async def task_blocks(
    name: str, events: AsyncIterator[StreamEvent], acceptance: Acceptance | None
) -> AsyncGenerator[bytes]:
    """The stream of a task. An error is the last event."""
    try:
        async for event in events:
            yield _of_task(name, event, acceptance)
    except AgentdError as error:
        yield _of_error(error)


async def workflow_blocks(events: AsyncIterator[WorkflowEvent]) -> AsyncGenerator[bytes]:
    """The stream of a workflow. An error is the last event."""
    try:
        async for event in events:
            yield _of_workflow(event)
    except AgentdError as error:
        yield _of_error(error)


def fact_document(event: WorkflowEvent) -> dict[str, Any]:
    """A fact, or the end of a workflow, as JSON."""
    message = event.message
    stated = message.model_dump(mode="json", exclude_unset=True) if message else {}
    return {"topic": event.topic, "message": stated}


def _of_task(name: str, event: StreamEvent, acceptance: Acceptance | None) -> bytes:
    match event.kind:
        case "idle":
            return HEARTBEAT
        case "delta" | "delay":
            data: Any = {"text": event.text}
        case "restart":
            data = {"reason": event.text}
        case "waiting":
            data = event.request and request_document(event.request)
        case "result":
            found = TaskStatus(state="done", acceptance=acceptance, result=event.message)
            data = task_document(name, found)
    return block(event.kind, data, event.id)


def _of_workflow(event: WorkflowEvent) -> bytes:
    match event.kind:
        case "idle":
            return HEARTBEAT
        case "delta" | "delay":
            data = {"task": event.task, "text": event.text}
        case "restart":
            data = {"task": event.task, "reason": event.text}
        case "waiting":
            asked = request_document(event.request) if event.request else {}
            data = {"task": event.task, **asked}
        case "fact" | "end":
            data = fact_document(event)
    return block(event.kind, data, event.id)


def _of_error(error: AgentdError) -> bytes:
    refusal = refusal_of(error)
    return block("error", {"code": refusal.code, "detail": str(refusal)})
