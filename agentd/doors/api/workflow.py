"""`?until=`: the pattern of the fact that ends a workflow, and the end for one who waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request

from agentd.doors.api.events import fact_document
from agentd.errors import UsageError
from agentd.manifest.quantities import fact_pattern
from agentd.routing.workflow import WorkflowEvent


def until_of(request: Request) -> str | None:
    """The pattern in `?until=`; None without one.

    Raises:
        UsageError: it is no pattern of facts.
    """
    given = request.query_params.get("until") if request.scope["query_string"] else None
    if given is None:
        return None
    try:
        return fact_pattern(given)
    except ValueError as error:
        raise UsageError(f"until={given[:100]!r} {'; '.join(error.args)}") from None


async def end_of(events: AsyncIterator[WorkflowEvent]) -> dict[str, Any] | None:
    """The end, as JSON."""
    async for event in events:
        if event.kind == "end":
            return fact_document(event)
    return None
