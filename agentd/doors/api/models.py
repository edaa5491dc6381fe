"""What `/api` takes and gives, as JSON."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from agentd.doors.caller import LOCAL
from agentd.errors import DecodeError, UsageError
from agentd.manifest.quantities import seconds
from agentd.protocol.fields import Constraints, Context, Payload, Routing, Tokens
from agentd.protocol.message import AgentIdentity, AgentMessage, new
from agentd.protocol.strict_json import parse
from agentd.queue.decisions import ApprovalRequest
from agentd.routing.status import CALLER, State, TaskStatus
from agentd.run.attachments import LARGEST, MOST_PARTS, Attachment, attachment, with_parts


class Body(BaseModel):
    """A JSON object in camelCase. A field that it does not have is refused: it may be misspelt."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


def _duration(value: float | str) -> float | str:
    try:
        seconds(value)
    except ValueError as error:
        raise ValueError("; ".join(part for part in error.args if part)) from None
    return value


class File(Body):
    """An image, a PDF or a text that goes with a task."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    """With its ending, such as `report.pdf`."""
    data: str
    """The bytes, as base64."""


class NewTask(Body):
    """A task to be sent."""

    target: str
    """A capability (`analysis`), a domain and a specificity (`analysis.sentiment`), or an agent
    (`@analyst`)."""
    content: Any
    """The task itself: text or any JSON."""
    conversation: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    """The conversation that it continues; a new one if left out."""
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    """0 to 9, higher is more urgent."""
    timeout: Annotated[float | str, AfterValidator(_duration)] | None = None
    """Until the task expires, in seconds, or as text: `90s`, `5m`."""
    constraints: Constraints | None = None
    """Limits of time (milliseconds), cost (USD) and tokens."""
    files: Annotated[list[File], Field(max_length=MOST_PARTS)] = []
    """Files that go with it."""
    capabilities: Tokens = ()
    """More capabilities that the agent must have."""
    exclusions: Tokens = ()
    """Agents that must not take it."""
    model: str | None = None
    """The model to use: one of those in the agent's manifest."""
    parameters: dict[str, Any] = {}
    """Parameters of the model; the manifest says which a sender may choose."""
    metadata: dict[str, Any] = {}
    """Any data about the user or the request; it is on record."""

    def attachments(self) -> list[Attachment]:
        """The files.

        Raises:
            DecodeError: one is not base64, or has a type that no model takes; or all are too large.
        """
        found = [_attachment(each, f"files[{i}]") for i, each in enumerate(self.files)]
        size = sum(len(each.data) for each in found)
        if size > LARGEST:
            problem = f"have {size:,} bytes together; a task takes {LARGEST:,}"
            raise DecodeError(problem, path="files")
        return found

    def message(self, task_id: str, files: list[Attachment], *, by: str) -> AgentMessage:
        """The message of the task.

        Raises:
            DecodeError: the content takes no files.
        """
        try:
            content = with_parts(self.content, [each.part for each in files])
        except UsageError as error:
            raise DecodeError(str(error), path="files") from None
        payload: dict[str, Any] = {"content": content}
        stated = {
            "model": self.model,
            "parameters": self.parameters,
            "constraints": self.constraints,
        }
        payload |= {name: value for name, value in stated.items() if value}
        routing: dict[str, Any] = {"priority": self.priority}
        stated = {"capabilities": self.capabilities, "exclusions": self.exclusions}
        routing |= {name: value for name, value in stated.items() if value}
        if self.timeout is not None:
            routing["timeout"] = round(seconds(self.timeout) * 1000)
        metadata = dict(self.metadata)
        if by != LOCAL.name:
            metadata[CALLER] = by  # replies and emitted messages repeat it
        context = Context(conversation_id=self.conversation or task_id, metadata=metadata)
        return new(
            "task",
            Payload(**payload),
            source=AgentIdentity(id=by, type="user"),
            context=context,
            routing=Routing(**routing),
            id=task_id,
        )


class Cancelled(Body):
    """What is to be cancelled."""

    conversation: Annotated[str, Field(min_length=1)]
    """The id of the conversation."""


class Ended(BaseModel):
    """What was cancelled."""

    conversation: str | None = None
    task: str | None = None
    ended: dict[Literal["running", "waiting", "suspended", "scheduled"], int] = Field(
        description="How many tasks of each state this ends."
    )


class Call(BaseModel):
    """A call of a tool that waits for a person's decision."""

    index: int
    name: str
    arguments: Any
    question: str | None = Field(default=None, description="Of a call that asks a person.")
    choices: list[str] | None = Field(default=None, description="The answers to choose from.")
    default: str | None = Field(default=None, description="The answer if nobody gives one.")


class Request(BaseModel):
    """What a suspended task waits for."""

    agent: str
    turn: int
    calls: list[Call]
    expires: str = Field(description="When undecided calls count as denied (RFC 3339).")


class ResultError(BaseModel):
    """Why a task failed."""

    code: str
    message: str
    retryable: bool


class TaskResult(BaseModel):
    """The outcome of a task. There may be more fields: those of a result on NATS."""

    model_config = ConfigDict(extra="allow")

    success: bool
    data: Any = Field(default=None, description="The answer.")
    error: ResultError | None = None
    agent: str = Field(description="Who answered.")


class Links(BaseModel):
    """Where to go on."""

    self: str
    stream: str
    cancel: str


class Task(BaseModel):
    """A task, and how far it has come."""

    id: str
    state: State
    target: str | None = Field(default=None, description="Where it was sent over HTTP.")
    conversation: str | None = None
    attempts: int | None = Field(
        default=None, description="How often it was begun; left out where that was not looked up."
    )
    delay: str | None = Field(default=None, description="Why it takes longer than it should.")
    waiting: Request | None = Field(default=None, description="What a suspended task waits for.")
    result: TaskResult | None = Field(default=None, description="Of a task that is done.")
    links: Links


class Agent(BaseModel):
    """An agent, with the sums over its replicas."""

    model_config = ConfigDict(extra="allow")

    agent: str
    description: str
    capabilities: list[str]
    replicas: int
    model: str
    mock: bool
    revision: str
    state: str = Field(description="`ready`, or why it is not.")
    accepts: dict[str, Any] | None = Field(
        default=None, description="The JSON Schema of the content that it takes."
    )
    in_flight: int
    done: int
    failed: int


class Agents(BaseModel):
    """The agents online."""

    agents: list[Agent]


def parsed(body: bytes, kind: type[Body]) -> Any:
    """The object in the body of a request.

    Raises:
        DecodeError: it is no strict JSON of this shape; the text names the field.
    """
    value = parse(body)
    if not isinstance(value, dict):
        raise DecodeError("the body must be a JSON object")
    try:
        return kind.model_validate(value, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        text = _WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            text += f"; there are {', '.join(map(to_camel, kind.model_fields))}"
        raise DecodeError(text, path=".".join(map(str, first["loc"]))) from None


_WORDS = {"missing": "is required", "extra_forbidden": "is no such field"}


def task_document(task: str, status: TaskStatus) -> dict[str, Any]:
    """A `Task`, as JSON."""
    acceptance, result = status.acceptance, status.result
    document: dict[str, Any] = {"id": task, "state": status.state}
    if acceptance:
        document["target"] = acceptance.to
    if acceptance or result:
        found = acceptance.conversation if acceptance else result and result.context.conversation_id
        document["conversation"] = found
    if status.attempts is not None:
        document["attempts"] = status.attempts
    if status.delay:
        document["delay"] = status.delay
    if status.request:
        document["waiting"] = request_document(status.request)
    if result:
        document["result"] = {**result.payload.content, "agent": result.source.id}
    return {**document, "links": links(task)}


def request_document(request: ApprovalRequest) -> dict[str, Any]:
    """A `Request`, as JSON."""
    expires = datetime.fromtimestamp(request.expires, UTC).isoformat(timespec="seconds")
    return {
        "agent": request.agent,
        "turn": request.turn,
        "calls": [dict(each) for each in request.calls],
        "expires": expires,
    }


def links(task: str) -> Mapping[str, str]:
    """Where to go on with a task."""
    path = f"/api/tasks/{task}"
    return {"self": path, "stream": f"{path}/stream", "cancel": f"{path}/cancel"}


def _attachment(file: File, place: str) -> Attachment:
    try:
        data = base64.b64decode(file.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"is not base64: {error}", path=f"{place}.data") from None
    try:
        return attachment(data, file.name, place)
    except UsageError as error:
        raise DecodeError(str(error)) from None
