"""What a client asks, whichever interface it uses, and the task that this is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentd.doors.openai import content
from agentd.doors.openai.errors import BadRequest
from agentd.doors.openai.fields import Object, flag, made, obj, text
from agentd.nats.bus import Bus
from agentd.protocol.fields import Context, HistoryMessage, Payload, SendersTool
from agentd.protocol.message import AgentIdentity, AgentMessage, new

_NUMBER, _COUNT, _TEXT = (int, float), (int,), (str,)
_PARAMETERS: Mapping[str, tuple[type, ...]] = {
    "frequency_penalty": _NUMBER,
    "max_completion_tokens": _COUNT,
    "max_tokens": _COUNT,
    "presence_penalty": _NUMBER,
    "reasoning_effort": _TEXT,
    "seed": _COUNT,
    "stop": (str, list),
    "temperature": _NUMBER,
    "top_p": _NUMBER,
}
_INSTRUCTIONS = ("system", "developer")
_LONGEST_CONVERSATION = 256


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a client asks.

    Attributes:
        model: the agent or the capability, as the client names it.
        turns: all turns, oldest first, with images and files as parts.
        tools: functions of the client.
        parameters: of the model.
        schema: the JSON Schema that the answer must fit.
        stream: the answer is wanted in pieces.
        body: the whole request.
    """

    model: str
    turns: Sequence[HistoryMessage]
    tools: tuple[SendersTool, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    schema: Mapping[str, Any] | None = None
    stream: bool = False
    body: Object = field(default_factory=dict[str, Any])

    @property
    def keeps_history(self) -> bool:
        """Whether the client keeps the conversation itself: it sends earlier answers again."""
        return any(turn.role == "assistant" and not turn.calls for turn in self.turns)

    async def with_objects(self, bus: Bus) -> Question:
        """The question with large images and files in the object store.

        Raises:
            BusError: the store did not take one.
        """
        turns = [
            turn.model_copy(update={"content": await content.with_objects(bus, turn.content)})
            for turn in self.turns
        ]
        return replace(self, turns=turns)

    def task(
        self,
        *,
        id: str,  # noqa: A002  (as in the protocol)
        sender: str,
        conversation: str | None,
        memory: bool,
        as_content: Callable[[Any], Any],
    ) -> AgentMessage:
        """The task. `as_content` decides what the content is, from text or text with parts.

        Raises:
            BadRequest: it has more turns or tools than a task may have.
        """
        history, asked, after = _divided(self.turns)
        about: dict[str, Any] = {
            "conversation_id": conversation or id,
            "history": tuple(history),
            "memory": memory,
            "metadata": _metadata(self.body),
        }
        context = made(Context, about, "the request")
        fields: dict[str, Any] = {
            "content": as_content(content.task_content(asked)),
            "parameters": dict(self.parameters),
            "tools": self.tools,
            "continuation": tuple(after),
        }
        if self.schema is not None:
            fields["answer_schema"] = dict(self.schema)
        given = {name: value for name, value in fields.items() if value or name == "content"}
        identity = AgentIdentity(id=sender)
        return new(
            "task", made(Payload, given, "the request"), source=identity, context=context, id=id
        )


def parameters(body: Object, names: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of the model in a request: what each of these fields is called by agentd.

    Raises:
        BadRequest: one has the wrong type.
    """
    found: dict[str, Any] = {}
    for name, ours in names.items():
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, _PARAMETERS[ours]) or isinstance(value, bool):
            raise BadRequest(name, f"cannot be {str(value)[:100]!r}")
        found[ours] = value
    return found


PARAMETERS: Mapping[str, str] = {name: name for name in _PARAMETERS}


def tool(function: Object, param: str) -> SendersTool:
    """A function of the client.

    Raises:
        BadRequest: it cannot be one.
    """
    stated = {name: function.get(name) for name in ("name", "description", "parameters")}
    known = {name: value for name, value in stated.items() if value is not None}
    return made(SendersTool, known, param)


def tool_choice(
    choice: Any, tools: tuple[SendersTool, ...], body: Object
) -> tuple[tuple[SendersTool, ...], dict[str, Any]]:
    """The tools that may be called, and the parameters of the model that say how.

    Raises:
        BadRequest: the choice is none that agents know.
    """
    if not tools or choice == "none":
        return (), {}
    found: dict[str, Any] = {}
    if body.get("parallel_tool_calls") is not None:
        found["parallel_tool_calls"] = flag(body, "parallel_tool_calls")
    match choice:
        case None | "auto":
            return tools, found
        case "required":
            return tools, {**found, "tool_choice": "required"}
        case {"type": "function", "function": {"name": str(name)}} | {
            "type": "function",
            "name": str(name),
        } if name in [each.name for each in tools]:
            wanted = {"type": "function", "function": {"name": name}}
            return tools, {**found, "tool_choice": wanted}
        case _:
            problem = 'must be "none", "auto", "required", or a function of `tools`'
            raise BadRequest("tool_choice", problem)


def schema(form: Object, stated: Any, param: str) -> Mapping[str, Any] | None:
    """The JSON Schema that an answer must fit, by `response_format` or `text.format`; the schema
    and its name are in `stated`.

    Raises:
        BadRequest: it is no form of an answer.
    """
    match form.get("type"):
        case None | "text":
            return None
        case "json_object":
            return {"type": "object"}
        case "json_schema":
            found = obj(obj(stated, param).get("schema"), f"{param}.schema")
            return found or {"type": "object"}
        case kind:
            raise BadRequest(f"{param}.type", f"cannot be {str(kind)[:100]!r}")


def conversation(value: Any, param: str) -> str | None:
    """The name of a conversation; None if there is none.

    Raises:
        BadRequest: it cannot be one.
    """
    if value is None:
        return None
    name = text(value, param)
    if not 0 < len(name) <= _LONGEST_CONVERSATION or not name.isprintable():
        problem = f"must be one line of 1 to {_LONGEST_CONVERSATION} characters"
        raise BadRequest(param, problem)
    return name


def _divided(
    turns: Sequence[HistoryMessage],
) -> tuple[list[HistoryMessage], str | content.Parts, list[HistoryMessage]]:
    """The turns before the last one of the user, its content, and what followed it.

    The instructions of a client become turns of the user: only a manifest writes prompts. Behind
    the last turn of the user there would be no place for them, so they come before it.
    """
    users = [i for i, turn in enumerate(turns) if turn.role == "user"]
    if not users:
        users = [i for i, turn in enumerate(turns) if turn.role in _INSTRUCTIONS]
    if not users:
        raise BadRequest("messages", "must have a turn of the user")
    last = users[-1]
    late = [turn for turn in turns[last + 1 :] if turn.role in _INSTRUCTIONS]
    after = [turn for turn in turns[last + 1 :] if turn.role not in _INSTRUCTIONS]
    history = [_as_user(turn) for turn in (*turns[:last], *late)]
    return [turn for turn in history if _says(turn)], turns[last].content or "", after


def _as_user(turn: HistoryMessage) -> HistoryMessage:
    return turn.model_copy(update={"role": "user"}) if turn.role in _INSTRUCTIONS else turn


def _says(turn: HistoryMessage) -> bool:
    return bool(turn.content or turn.calls or turn.call_id)


def _metadata(body: Object) -> dict[str, Any]:
    """What the client says about the request: its own data, and its user."""
    user = body.get("user") or body.get("safety_identifier")
    stated = dict(obj(body.get("metadata"), "metadata"))
    return {**stated, "user": user} if isinstance(user, str) else stated
