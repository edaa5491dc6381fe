"""A message of the log as a row of the index.

Any client may write to the log. Whatever a message holds, it becomes a row: what cannot be read is
left empty, and every value has the type and the bounds of its column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, cast

from pydantic_core import from_json

from agentd.errors import DecodeError
from agentd.nats.bus import Msg
from agentd.nats.objects import MARK
from agentd.protocol import erasure
from agentd.protocol.strict_json import check_size
from agentd.queue.dead_letters import ATTEMPTS, ERROR, OBJECT, REASON
from agentd.queue.delivery import TASK
from agentd.record.index.texts import LONGEST, text_of

HEARTBEAT = "status.heartbeat"

_LONGEST = 256  # characters of an id or a name
_CHECKED = 64 * 1024  # bytes; what a smaller message takes as values needs no check
_MOST = 2**53
# Fields of agentd's events in which nobody searches; a prompt would be found with each call.
_BOOKKEEPING = frozenset(
    {"event", "task", "life", "taskSequence", "delivery", "digest", "call", "earlier"}
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}").fullmatch
_CANCELLATIONS = frozenset({"cancel.requested", "conversation.stopped", "conversation.resumed"})
# The events on the subject of a task: `event.run.{taskId}`.
_OF_TASK = ("run", "approval", "join", "join_late")


class Row(NamedTuple):
    """One message of the log. "" and None mean that it does not say.

    Attributes:
        sequence: its sequence in the log.
        time: when the log stored it, in seconds since the epoch.
        kind: the type in its subject: `task`, `result`, `event` or `dlq`.
        topic: the domain and the specificity in its subject: `analysis.general`.
        name: what an event of agentd says: `turn`, `tool_answered`, `approval_requested`, ….
        id: its own id.
        task: the task that it is or belongs to.
        parent: the message that it answers or follows.
        source, source_type: who sent it: the name, and `agent`, `runtime`, `user`, ….
        target: the one agent that should take it.
        replica: the process that wrote it.
        success: whether the task or the tool call succeeded.
        code: of a failure: the code of the error, or the reason of a dead letter.
        cost: in USD.
        latency: in milliseconds.
        attempt: the number of the delivery; of a dead letter, how many attempts there were.
        turn, call: the turn, from 1, and the index of the tool call in it, from 0.
        tool: the tool that was called.
        trace: the id of the W3C trace.
        size: the bytes of the message.
        object: the digest of its content, if that is in the object store.
        text: what it says, or the beginning of that.
        erased: the first and last sequences of messages that it says were erased from the log.
    """

    sequence: int
    time: float
    env: str
    kind: str
    topic: str
    name: str = ""
    id: str = ""
    task: str = ""
    conversation: str = ""
    parent: str = ""
    correlation: str = ""
    source: str = ""
    source_type: str = ""
    target: str = ""
    replica: str = ""
    success: bool | None = None
    code: str = ""
    model: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    latency: float | None = None
    revision: str = ""
    attempt: int | None = None
    turn: int | None = None
    call: int | None = None
    tool: str = ""
    trace: str = ""
    size: int = 0
    object: str = ""
    text: str = ""
    erased: tuple[tuple[int, int], ...] = ()


def row_of(msg: Msg) -> Row | None:
    """The row of a message that the log gave; None for heartbeats, which the log keeps only for
    seconds."""
    headers = cast("Mapping[str, str]", msg.headers)
    _, env, kind, domain, rest = (*headers["Nats-Subject"].split(".", 4), "", "", "", "")[:5]
    specificity, _, last = rest.partition(".")
    topic = f"{domain}.{specificity}"[:_LONGEST]
    if kind == "event" and topic == HEARTBEAT:
        return None
    body = _object(msg.data)
    context, payload = _mapping(body.get("context")), _mapping(body.get("payload"))
    content = payload.get("content")
    about, text = _letter(content, headers) if kind == "dlq" else about_content(kind, content)
    source, own = _mapping(body.get("source")), _text(body.get("id"))
    if kind == "task":
        about["task"] = own = own or _text(headers.get(TASK))
    elif kind == "result":
        about["task"] = last
    elif kind == "event" and domain in _OF_TASK:
        about["task"] = specificity
    return Row(
        sequence=int(headers["Nats-Sequence"]),
        time=datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp(),
        env=env[:_LONGEST],
        kind=kind,
        topic=topic,
        id=own,
        conversation=_named(topic, content)
        or _text(context.get("conversationId"))
        or (own if kind == "task" else ""),
        parent=_text(context.get("parentMessageId")),
        correlation=_text(body.get("correlationId")),
        source=_text(source.get("id")),
        source_type=_text(source.get("type")),
        target=_text(body.get("target")) or (specificity if domain == "_agent" else ""),
        trace=_trace(headers),
        size=len(msg.data),
        text=text,
        erased=_erased(topic, content) if kind == "event" else (),
        **about,
    )


def about_content(kind: str, content: Any) -> tuple[dict[str, Any], str]:
    """The columns that the content of a message gives, and its text."""
    if not isinstance(content, dict):
        return {}, text_of(content)
    if kind == "result":
        return _outcome(content)
    if digest := _reference(content):
        return {"object": digest}, ""
    if kind == "event" and isinstance(content.get("event"), str):
        said = {name: value for name, value in content.items() if name not in _BOOKKEEPING}
        return _event(content), text_of(said)
    return {}, text_of(content)


def about_object(kind: str, data: bytes) -> tuple[dict[str, Any], str]:
    """As `about_content`, of a content in the object store: of a dead letter, the whole task; of a
    result, only what the agent has answered."""
    if not data:
        return {}, ""
    content = _parsed(data)
    match kind:
        case "dlq":
            return {}, text_of(_mapping(_mapping(content).get("payload")).get("content"))
        case "event":
            return about_content(kind, content)
        case _:
            return {}, text_of(content)


def _named(topic: str, content: Any) -> str:
    """The conversation that a cancellation names: it is sent from outside of it."""
    return _text(_mapping(content).get("conversation")) if topic in _CANCELLATIONS else ""


def _erased(topic: str, content: Any) -> tuple[tuple[int, int], ...]:
    """What an event says was erased."""
    may = topic.partition(".")[0] in erasure.DOMAINS
    return erasure.named(content) if may else ()


def _letter(content: Any, headers: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    attempts = headers.get(ATTEMPTS, "")
    about = {
        "success": False,
        "code": _text(headers.get(REASON)),
        "task": _text(headers.get(TASK)),
        "attempt": int(attempts) if re.fullmatch("[0-9]{1,9}", attempts) else None,
        "object": _digest(headers.get(OBJECT)),
    }
    return about, text_of([headers.get(ERROR), content])


def _outcome(content: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    error, data, usage = content.get("error"), content.get("data"), _mapping(content.get("usage"))
    digest = _reference(data)
    success = content.get("success")
    about = {
        "success": success if isinstance(success, bool) else None,
        "code": _text(_mapping(error).get("code")),
        "model": _text(content.get("model")),
        "tokens_in": _count(usage.get("inputTokens")),
        "tokens_out": _count(usage.get("outputTokens")),
        "cost": _amount(content.get("cost")),
        "latency": _amount(content.get("latency")),
        "revision": _text(content.get("revision")),
        "object": digest,
    }
    return about, text_of([None if digest else data, _mapping(error).get("message", error)])


def _event(content: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry of a journal says, and other events of agentd."""
    called = {**_mapping(content.get("call")), **_mapping(content.get("completion"))}
    usage, error = _mapping(called.get("usage")), content.get("error")
    return {
        "name": _text(content.get("event")),
        "task": _text(content.get("task")),
        "replica": _text(content.get("replica")),
        "success": not error if isinstance(error, bool) else None,
        "code": _text(_mapping(error).get("code") or content.get("code")),
        "model": _text(called.get("model") or content.get("model")),
        "tokens_in": _count(usage.get("input_tokens", usage.get("inputTokens"))),
        "tokens_out": _count(usage.get("output_tokens", usage.get("outputTokens"))),
        "cost": _amount(called.get("cost", content.get("cost"))),
        "latency": _amount(called.get("latency", content.get("latency"))),
        "revision": _text(content.get("revision")),
        "attempt": _count(content.get("delivery")),
        "turn": _count(content.get("turn")),
        "call": _count(content.get("index")),
        "tool": _text(content.get("name")),
    }


def _object(data: bytes) -> Mapping[str, Any]:
    """The object in a message; anything else as its content."""
    body = _parsed(data)
    return body if isinstance(body, dict) else {"payload": {"content": body}}


def _parsed(data: bytes) -> Any:
    """The JSON in `data`; of bytes that are none, what they say as text."""
    try:
        if len(data) > _CHECKED:
            check_size(data)
        return from_json(data)
    except (ValueError, DecodeError):
        return data[: 4 * LONGEST].decode(errors="replace")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST else None


def _amount(value: Any) -> float | None:
    is_number = type(value) in (int, float)
    return float(value) if is_number and 0 <= value < _MOST else None


def _reference(value: Any) -> str:
    """The digest of a content in the object store; "" for any other content."""
    if not isinstance(value, dict) or value.keys() != {MARK}:
        return ""
    return _digest(_mapping(value[MARK]).get("digest"))


def _digest(value: Any) -> str:
    return value if isinstance(value, str) and _DIGEST(value) else ""


def _trace(headers: Mapping[str, str]) -> str:
    parent = headers.get("traceparent") or headers.get("Traceparent") or ""
    trace = parent[3:35]
    return trace if len(trace) == 32 and trace.isalnum() else ""
