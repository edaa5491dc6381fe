"""The manifest: one agent as its YAML file describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agentd.manifest.flow import Emit, EmitRule, FactPatterns, Join, Subscribe
from agentd.manifest.limits import History, Limits, Output, Retry
from agentd.manifest.model import ModelRef, Models, Parameters
from agentd.manifest.quantities import (
    Flag,
    Names,
    one_of_types,
    subject_name,
)
from agentd.manifest.schedule import Schedule
from agentd.manifest.strict_model import StrictModel
from agentd.manifest.tools import DirectCall, ToolEntry
from agentd.manifest.triggers.trigger import Trigger
from agentd.protocol.subjects import AGENT_DOMAIN

# Fields in which `$` belongs to another language: templates, expressions, patterns of JSON Schemas.
NOT_INTERPOLATED = frozenset({"instructions", "input", "emit", "output", "accepts"})

# What only a model needs: an agent with `call` has none of these, also not from its defaults.
OF_MODELS = (
    "prompt",
    "instructions",
    "input",
    "model",
    "parameters",
    "output",
    "history",
    "client_tools",
)

_RENAME = "give one of them another `name`"

__all__ = ["Limits", "Manifest", "ModelRef"]


def _as_emit(value: Any) -> Any:
    """A list of rules as the mapping that it is short for."""
    return {"rules": value} if isinstance(value, list) else value


def _as_subscribe(value: Any) -> Any:
    """Patterns as the mapping that they are short for."""
    return {"to": value} if isinstance(value, str | list) else value


# The validators below turn short forms into full ones before pydantic sees them. The
# `json_schema_input_type` of each lists the forms that the published schema allows.
Subscription = Annotated[
    Subscribe | None,
    BeforeValidator(_as_subscribe, json_schema_input_type=FactPatterns | Subscribe | None),
]
Schema = Annotated[Any, one_of_types("a JSON Schema or a file name", dict, str, type(None))]
Emission = Annotated[Emit, BeforeValidator(_as_emit, json_schema_input_type=list[EmitRule] | Emit)]


class Manifest(StrictModel):
    """One agent. Only `capabilities` is required; the reader fills in the name.

    An empty `model` means the model of the process. If `prompt` and `instructions` are both None,
    the prompt is `{name}.md`. Durations are in seconds.
    """

    name: str = Field(
        default="",
        description="The name of the agent, also in subjects and messages. Default: the name of "
        "the file without its extension.",
        examples=["analyst"],
    )
    description: str = Field(
        default="",
        max_length=2000,
        description="What the agent does, in one sentence. People read it, and so do agents that "
        "look for help.",
        examples=["Finds the sentiment and the themes of a text."],
    )
    capabilities: Names = Field(
        description="The domains whose tasks the agent takes: with `analysis` it takes "
        "`task.analysis.sentiment`, for example. With an empty list it gets only tasks that are "
        "sent to it by name.",
        examples=[["analysis", "sentiment"]],
    )
    model: Models = Field(
        default=(),
        description="The model: a name, a mapping, or a list. If a model of a list fails, agentd "
        "calls the next one. A model with `when` is called only if that expression is true for "
        "the message. `{routes: [...]}` is another form of the list. Default: `AGENTD_MODEL`, or "
        "else `mock/echo`.",
        examples=["openai/gpt-4o-mini"],
    )
    parameters: Parameters = Field(
        default={},
        description="Parameters that are sent to the model unchanged.",
        examples=[{"temperature": 0.2, "max_tokens": 800}],
    )
    prompt: str | None = Field(
        default=None,
        description="The template in `prompts/` that makes the system message. Default: "
        "`{name}.md`.",
        examples=["analyst.md"],
    )
    instructions: str | None = Field(
        default=None,
        min_length=1,
        description="The text of the template, in place of `prompt`.",
        examples=["You are {{ agent.name }}. Answer in one sentence."],
    )
    accepts: Schema = Field(
        default=None,
        description="The JSON Schema of the content that the agent takes, or the name of the file "
        "that holds it. A message with another content ends with the error `invalid_input`, before "
        "a model is called. Default: any content.",
        examples=[{"type": "object", "required": ["order"]}],
        json_schema_extra={"type": ["object", "string", "null"]},
    )
    input: str | None = Field(
        default=None,
        min_length=1,
        description="The template that makes the user message from a task. Default: the content "
        "if it is text, or else its field `instruction`, or else the content as JSON.",
        examples=["{{ content.instruction }}"],
    )
    output: Output | None = Field(
        default=None,
        description="The form that the answer must have. If an answer does not fit, the model "
        "receives the error and answers again. The result's `data` is then the parsed value "
        "instead of text.",
        examples=[{"schema": {"type": "object", "required": ["score"]}, "retries": 2}],
    )
    tools: tuple[ToolEntry, ...] = Field(
        default=(),
        description="The tools that the model can call.",
        examples=[[{"python": "weather.py:forecast"}, {"mcp": {"command": ["mcp-server-time"]}}]],
    )
    client_tools: Flag = Field(
        default=False,
        description="If true, the sender of a task may bring tools of its own, as clients of "
        "OpenAI do. If the model calls one, the task ends with the call as its answer, and the "
        "client runs the function.",
        examples=[True],
    )
    call: DirectCall | None = Field(
        default=None,
        description="The tool that the agent calls for each message, in place of a model. Its "
        "answer is the answer of the agent. Such an agent has no prompt.",
        examples=[{"tool": "notify", "arguments": {"text": "content.title"}}],
    )
    subscribe: Subscription = Field(
        default=None,
        description="The results and events that the agent runs for, besides its tasks.",
        examples=[["result.research.*", "event.review.requested"]],
    )
    emit: Emission = Field(
        default=Emit(),
        description="The tasks and events that the agent sends after an answer.",
        examples=[[{"task": "factcheck.claims", "for_each": "output.claims", "content": "item"}]],
    )
    join: Join | None = Field(
        default=None,
        description="Waits for several facts, then runs once with all of them.",
        examples=[{"wait_for": ["result.analysis.*", "result.research.*"], "timeout": "60s"}],
    )
    history: History | None = Field(
        default=None,
        description="How much of the conversation the model sees: the messages with the same "
        "`conversationId`, from all agents. Without `history`, the model sees only the messages "
        "that the sender attaches.",
        examples=[{"max_messages": 20}],
    )
    limits: Limits = Field(
        default=Limits(),
        description="The limits of the agent: tasks, time, turns, hops, cost and rate.",
        examples=[{"concurrency": 8, "timeout": "120s"}],
    )
    retry: Retry = Field(
        default=Retry(),
        description="How a task is tried again after an error that may pass.",
        examples=[{"attempts": 5, "backoff": "1s"}],
    )
    schedule: Schedule | None = Field(
        default=None,
        description="A task that agentd publishes regularly, once for all replicas.",
        examples=[{"every": "1h", "task": "Collect the news."}],
    )
    triggers: tuple[Trigger, ...] = Field(
        default=(),
        description="What starts a task from outside: a webhook, a message on NATS, a new file.",
        examples=[[{"nats": "orders.created", "when": "body.total > 1000"}]],
    )
    stream: Flag = Field(
        default=True,
        description="If true, the answer is published in pieces while the model writes it.",
        examples=[False],
    )
    record: Literal["full", "digests", "off"] = Field(
        default="full",
        description="What goes on record of each call of a model: everything that was sent "
        "(`full`), digests of the messages (`digests`), or no call (`off`).",
        examples=["digests"],
    )

    @field_validator("name")
    @classmethod
    def _is_subject_token(cls, name: str) -> str:
        return subject_name(name)

    @field_validator("tools")
    @classmethod
    def _unique_mcp_names(cls, tools: tuple[ToolEntry, ...]) -> tuple[ToolEntry, ...]:
        # A prompt writes `{{ mcp.readme }}` without the server, so no two servers can share a name.
        names = [name for tool in tools if tool.mcp for name in tool.mcp.texts]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has two servers that define `mcp.{name}`", "rename one of them")
        return tools

    @field_validator("triggers")
    @classmethod
    def _unique_triggers(cls, triggers: tuple[Trigger, ...]) -> tuple[Trigger, ...]:
        # Two of one name would be one consumer, and each message would go to one of the two.
        names = [(trigger.kind, trigger.name) for trigger in triggers]
        for index, (kind, name) in enumerate(names):
            if (kind, name) in names[:index]:
                raise ValueError(f"has two triggers for {kind} `{name}`", "remove one", index)
        return triggers

    @model_validator(mode="after")
    def _not_addressed_to_itself(self) -> Self:
        # Routing never gives a task to the agent that emitted it, so nothing would take this task.
        itself = "is this agent itself, which cannot take a task that it has just emitted"
        for index, rule in enumerate(self.emit.rules):
            if self.name in rule.target:
                place = ("emit", "rules", index, "target", rule.target.index(self.name))
                raise ValueError(itself, "name another agent", *place)
        for index, tool in enumerate(self.tools):
            if tool.agent == self.name and not tool.gather:
                raise ValueError(itself, "name another agent", "tools", index, "agent")
        return self

    @model_validator(mode="after")
    def _unique_tool_names(self) -> Self:
        # The model calls a tool by its name, so it could never call the second one.
        seen = {"emit"} if self.emit.allow else set[str]()
        for index, tool in enumerate(self.tools):
            several = tool.mcp or tool.openapi
            name = "" if several else tool.name or tool.own_name
            if name in seen:
                raise ValueError(f"has two tools named `{name}`", _RENAME, "tools", index)
            seen |= {name} if name else set()
        return self

    def fact_topic(self, specificity: str) -> tuple[str, str]:
        """Domain and specificity of the results of a run for facts.

        The domain is the agent's first capability, so that such results are found where the other
        results of the agent are.
        """
        if self.capabilities:
            return self.capabilities[0], specificity
        return AGENT_DOMAIN, self.name

    @model_validator(mode="after")
    def _call_without_a_model(self) -> Self:
        if self.call is None:
            return self
        for name in OF_MODELS:
            if name in self.model_fields_set:
                hint = "remove it, or remove `call`"
                raise ValueError("is for a model, and `call` runs a tool without one", hint, name)
        if self.emit.allow:
            hint = "write a rule in place of the pattern"
            raise ValueError("is for a model, and `call` needs none", hint, "emit", "allow")
        return self

    @model_validator(mode="after")
    def _accepts_without_join(self) -> Self:
        if self.accepts is not None and self.join:
            hint = "let one agent take tasks with `accepts`, and another one join"
            text = "cannot be combined with `join`, whose content is the facts"
            raise ValueError(text, hint, "accepts")
        return self

    @field_validator("prompt")
    @classmethod
    def _inside_prompts(cls, prompt: str | None) -> str | None:
        if prompt is None:
            return None
        if prompt.startswith("prompts/"):
            hint = f"the path is relative to prompts/: write {prompt.removeprefix('prompts/')}"
            raise ValueError("must not begin with prompts/", hint)
        # The name is a key of the prompt library, whose paths have forward slashes on every system.
        parts = prompt.split("/")
        if not prompt or "\\" in prompt or any(part in ("", ".", "..") for part in parts):
            raise ValueError("must be a file in prompts/", "for example analyst.md or team/lead.md")
        return prompt

    @field_validator("instructions")
    @classmethod
    def _instead_of_prompt(cls, instructions: str | None, info: ValidationInfo) -> str | None:
        # `info.data` has only the fields declared above, so `prompt` must stay above this one.
        if instructions is not None and info.data.get("prompt") is not None:
            raise ValueError("cannot be combined with `prompt`", "keep one of them")
        return instructions
