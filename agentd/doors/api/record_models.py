"""What `/api/record` gives, as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class RecordedTask(BaseModel):
    """A task on record, in one line."""

    task: str
    conversation: str
    topic: str
    asked: str = Field(description="The beginning of the question.")
    source: str = Field(description="Who sent it.")
    agent: str = Field(description="Who answered, or who it is for.")
    success: bool | None = Field(description="Null while it has no result.")
    code: str = Field(description="Of a failed one.")
    at: float = Field(description="When it was stored, in seconds since the epoch.")
    ended: float | None
    latency: float | None = Field(description="In milliseconds.")
    tokens: int | None
    cost: float | None = Field(description="In USD.")
    model: str
    revision: str
    text: str = Field(description="The beginning of the answer.")


class RecordedTasks(BaseModel):
    """Tasks on record."""

    tasks: list[RecordedTask]


class Trace(BaseModel):
    """What happened, as `agentd trace --json`."""

    tree: dict[str, Any]
    asked: str = Field(description="The message that was asked for; empty for a conversation.")
    missing: int = Field(description="How many of its records the log no longer has.")


class ModelCall(BaseModel):
    """A call of a model, as docs/record.md describes it."""

    model_config = ConfigDict(extra="allow")

    life: int = Field(description="1, or more if the task was sent again.")
    turn: int
    messages: list[dict[str, Any]] = Field(description="All that was sent, as far as it is kept.")


class Calls(BaseModel):
    """The calls of the models of a task."""

    calls: list[ModelCall]


class Record(BaseModel):
    """A record of the log."""

    sequence: int
    at: float
    subject: str
    message: dict[str, Any]


class CostOf(BaseModel):
    """What the results of one group have cost."""

    group: str
    tasks: int
    failed: int
    tokens_in: int
    tokens_out: int
    cost: float = Field(description="In USD.")
    unknown: int = Field(description="How many of them do not say.")


class Costs(BaseModel):
    """What tasks have cost."""

    costs: list[CostOf]
    total: CostOf
    more: int = Field(description="How many groups there are beside these.")


class Revision(BaseModel):
    """A revision on record."""

    model_config = ConfigDict(extra="allow")

    agent: str
    revision: str
    at: float = Field(description="When it went live, in seconds since the epoch.")
    files: dict[str, str] = Field(description="The SHA-256 of each file.")


class Revisions(BaseModel):
    """The revisions of an agent, the newest first."""

    revisions: list[Revision]


class FileChange(BaseModel):
    """A file that two revisions do not have in common."""

    path: str
    kind: str
    lines: list[str] = Field(description="Those of a unified diff.")
    why: str = Field(description="Why it cannot be compared.")


class Changes(BaseModel):
    """What changed between two revisions."""

    before: str | None = Field(description="The revision before; null if this is the first one.")
    after: str
    changes: list[FileChange]
