"""The manifest: one agent as its YAML file describes it."""

from __future__ import annotations

from typing import Annotated, Any, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agentd.manifest.flow import Emit, EmitRule, FactPatterns, Join, Schedule, Subscribe
from agentd.manifest.limits import History, Limits, Output, Retry
from agentd.manifest.model import ModelChoice, ModelRef, ModelRoutes, Parameters
from agentd.manifest.quantities import Flag, Names, not_empty, seconds, subject_name
from agentd.manifest.strict_model import StrictModel
from agentd.manifest.tools import ToolEntry

__all__ = ["Limits", "Manifest", "ModelRef"]


def _several(value: Any) -> Any:
    """One model, or routes to several, as the list of them."""
    if isinstance(value, list | tuple):
        return value
    if not isinstance(value, dict) or "routes" not in value:
        return [value]
    shared: dict[str, Any] = {**value}
    routes = shared.pop("routes")
    for name in shared.keys() - {"cache"}:
        raise ValueError("stands beside `routes`", "it belongs to one of them", name)
    if not isinstance(routes, list):
        raise ValueError("must be a list of models", "", "routes")
    try:
        shared |= {"cache": seconds(shared["cache"])} if "cache" in shared else {}
    except ValueError as error:
        raise ValueError(*error.args, "cache") from None  # here, not at each of the routes
    return [_shared(route, shared) for route in cast("list[Any]", routes)]


def _shared(route: Any, fields: dict[str, Any]) -> Any:
    """A route with the fields that are given for all."""
    whole = {"name": route} if isinstance(route, str) else route
    return {**fields, **whole} if isinstance(whole, dict) else whole


def _rules(value: Any) -> Any:
    """A list of rules as the mapping that it stands for."""
    return {"rules": value} if isinstance(value, list) else value


def _facts(value: Any) -> Any:
    """Patterns as the mapping that they stand for."""
    return {"to": value} if isinstance(value, str | list) else value


_ModelForms = (
    str | ModelRoutes | ModelChoice | Annotated[list[str | ModelChoice], Field(min_length=1)]
)

Models = Annotated[
    tuple[ModelChoice, ...],
    AfterValidator(not_empty),
    BeforeValidator(_several, json_schema_input_type=_ModelForms),
]
Subscription = Annotated[
    Subscribe | None,
    BeforeValidator(_facts, json_schema_input_type=FactPatterns | Subscribe | None),
]
Emission = Annotated[Emit, BeforeValidator(_rules, json_schema_input_type=list[EmitRule] | Emit)]


class Manifest(StrictModel):
    """One agent. Only `capabilities` must be given; the catalog fills in the name.

    `model` is empty where the process's own model is to be used; `prompt` and `instructions` are
    both None where the prompt is `{name}.md`. Durations are seconds.
    """

    name: str = Field(
        default="",
        description="What the agent is called, here and on the wire. Default: the file's name "
        "without its ending.",
        examples=["analyst"],
    )
    description: str = Field(
        default="",
        max_length=2000,
        description="What the agent does, in a sentence: for people, and for agents that look for "
        "help.",
        examples=["Finds the sentiment and the themes of a text."],
    )
    capabilities: Names = Field(
        description="The domains whose tasks the agent takes: `analysis` takes "
        "`task.analysis.anything`. With an empty list it gets only what is sent to its name.",
        examples=[["analysis", "sentiment"]],
    )
    model: Models = Field(
        default=(),
        description="The model: a name, a mapping, or a list of which the later ones stand in for "
        "the first. Entries with `when` are only asked where it holds; `{routes: [...]}` is the "
        "same list. Default: `AGENTD_MODEL`, else `mock/echo`.",
        examples=["openai/gpt-4o-mini"],
    )
    parameters: Parameters = Field(
        default={},
        description="Passed to the model as they are.",
        examples=[{"temperature": 0.2, "max_tokens": 800}],
    )
    prompt: str | None = Field(
        default=None,
        description="The template in `prompts/` that becomes the system turn. Default: "
        "`{name}.md`.",
        examples=["analyst.md"],
    )
    instructions: str | None = Field(
        default=None,
        min_length=1,
        description="The template itself, instead of `prompt`.",
        examples=["You are {{ agent.name }}. Answer in one sentence."],
    )
    input: str | None = Field(
        default=None,
        min_length=1,
        description="The template that makes the user turn of a task. Default: a content that is "
        "text as it is, its `instruction` where it has one, else the content as JSON.",
        examples=["{{ content.instruction }}"],
    )
    output: Output | None = Field(
        default=None,
        description="What the answer must look like. The model is told its mistake and asked "
        "again; the result's `data` is then the value, not its text.",
        examples=[{"schema": {"type": "object", "required": ["score"]}, "retries": 2}],
    )
    tools: tuple[ToolEntry, ...] = Field(
        default=(),
        description="What the model can call.",
        examples=[[{"python": "weather.py:forecast"}, {"mcp": {"command": ["mcp-server-time"]}}]],
    )
    subscribe: Subscription = Field(
        default=None,
        description="Results and events that the agent runs for, besides its tasks.",
        examples=[["result.research.*", "event.review.requested"]],
    )
    emit: Emission = Field(
        default=Emit(),
        description="Tasks and events that follow an answer.",
        examples=[[{"task": "factcheck.claims", "for_each": "output.claims", "content": "item"}]],
    )
    join: Join | None = Field(
        default=None,
        description="Waits for several facts and runs once for all of them.",
        examples=[{"wait_for": ["result.analysis.*", "result.research.*"], "timeout": "60s"}],
    )
    history: History | None = Field(
        default=None,
        description="How much of the conversation the model sees: what was said under the same "
        "`conversationId`, by whichever agent. Without it, only what the sender attaches.",
        examples=[{"max_messages": 20}],
    )
    limits: Limits = Field(
        default=Limits(),
        description="What the agent may use up.",
        examples=[{"concurrency": 8, "timeout": "120s"}],
    )
    retry: Retry = Field(
        default=Retry(),
        description="What happens to a task that may succeed later.",
        examples=[{"attempts": 5, "backoff": "1s"}],
    )
    schedule: Schedule | None = Field(
        default=None,
        description="Work that comes by itself, once for all replicas.",
        examples=[{"every": "1h", "task": "Collect the news."}],
    )
    stream: Flag = Field(
        default=True,
        description="Sends the answer piece by piece while it is made.",
        examples=[False],
    )

    @field_validator("name")
    @classmethod
    def _subject_name(cls, name: str) -> str:
        return subject_name(name)

    @field_validator("tools")
    @classmethod
    def _one_text_a_name(cls, tools: tuple[ToolEntry, ...]) -> tuple[ToolEntry, ...]:
        names = [name for tool in tools if tool.mcp for name in tool.mcp.texts]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has two servers that give `mcp.{name}`", "rename one of them")
        return tools

    @model_validator(mode="after")
    def _not_to_itself(self) -> Self:
        itself = "is this agent itself, which takes nothing that it has just handed on"
        for index, rule in enumerate(self.emit.rules):
            if rule.target == self.name:
                raise ValueError(itself, "name another", "emit", "rules", index, "target")
        for index, tool in enumerate(self.tools):
            if tool.agent == self.name and not tool.gather:
                raise ValueError(itself, "name another", "tools", index, "agent")
        return self

    @field_validator("prompt")
    @classmethod
    def _inside_prompts(cls, prompt: str | None) -> str | None:
        if prompt is None:
            return None
        if prompt.startswith("prompts/"):
            mend = f"names are relative to prompts/ already: {prompt.removeprefix('prompts/')}"
            raise ValueError("must not begin with prompts/", mend)
        parts = prompt.split("/")
        if not prompt or "\\" in prompt or any(part in ("", ".", "..") for part in parts):
            raise ValueError("must be a file in prompts/", "for example analyst.md or team/lead.md")
        return prompt

    @field_validator("instructions")
    @classmethod
    def _instead_of_prompt(cls, instructions: str | None, info: ValidationInfo) -> str | None:
        if instructions is not None and info.data.get("prompt") is not None:
            raise ValueError("stands beside `prompt`", "keep one of them")
        return instructions
