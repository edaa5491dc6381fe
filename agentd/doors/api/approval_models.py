"""What `/api/approvals` takes and gives, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from agentd.doors.api.models import Body, Request, request_document
from agentd.queue.decisions import LONGEST_ANSWER, ApprovalRequest, Decision, Dialogue


class NewDecision(Body):
    """A decision about a task that waits."""

    decision: Literal["approve", "deny", "edit", "answer"]
    """`edit` approves one call with other arguments; `answer` answers a question."""
    calls: Annotated[list[int], Field(min_length=1)] | None = None
    """The indexes of the calls that it is about; all if left out."""
    arguments: dict[str, Any] | None = None
    """Of an edit: all arguments of the call. They must fit the schema of the tool."""
    answer: Annotated[str, Field(min_length=1, max_length=LONGEST_ANSWER)] | None = None
    """The answer: one of the choices if there are any, or else any text."""
    reason: Annotated[str, Field(max_length=2_000)] | None = None
    """The reason. The model sees it if the call is denied."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name, decision in (("arguments", "edit"), ("answer", "answer")):
            given = getattr(self, name) is not None
            if given != (self.decision == decision):
                verb = "has no" if given else "needs"
                raise ValueError(f"the decision {self.decision!r} {verb} `{name}`")
        return self


class DecidedCall(BaseModel):
    """A call, and what was decided about it."""

    index: int
    name: str
    decision: Literal["approved", "denied", "edited", "answered"] | None = Field(
        default=None, description="Null as long as nobody has decided."
    )
    by: str = Field(default="", description="Who decided: over HTTP, the name of the key.")
    reason: str = ""
    arguments: dict[str, Any] | None = Field(
        default=None, description="Of an edit: what the call is made with."
    )
    answer: str | None = None


class Decided(BaseModel):
    """What was decided about the calls of a task. It goes on when none is undecided."""

    task: str
    calls: list[DecidedCall]
    undecided: int


class Approval(Request):
    """What a task waits for, or has waited for."""

    task: str
    schemas: dict[str, Any] = Field(
        description="The JSON Schema of the arguments of each tool, for edits."
    )
    decisions: list[DecidedCall] | None = Field(
        default=None, description="Of one approval: what was decided about each call."
    )


class Approvals(BaseModel):
    """What waits for people."""

    approvals: list[Approval]


def approval_document(request: ApprovalRequest) -> dict[str, Any]:
    """An `Approval`, as JSON."""
    return {"task": request.task, **request_document(request), "schemas": dict(request.schemas)}


def record_document(request: ApprovalRequest, dialogue: Dialogue) -> dict[str, Any]:
    """An `Approval` with the decisions, as JSON."""
    decided = decided_document(request, dialogue.verdicts(request))
    return {**approval_document(request), "decisions": decided["calls"]}


def decided_document(request: ApprovalRequest, verdicts: Mapping[int, Decision]) -> dict[str, Any]:
    """A `Decided`, as JSON."""
    calls = [
        {"index": call["index"], "name": call["name"], **_verdict(verdicts.get(call["index"]))}
        for call in request.calls
    ]
    undecided = len(request.indexes - verdicts.keys())
    return {"task": request.task, "calls": calls, "undecided": undecided}


def _verdict(decision: Decision | None) -> dict[str, Any]:
    if decision is None:
        return {"decision": None}
    more = {"arguments": decision.arguments, "answer": decision.answer}
    return {
        "decision": decision.verb,
        "by": decision.by,
        "reason": decision.reason,
        **{name: value for name, value in more.items() if value is not None},
    }
