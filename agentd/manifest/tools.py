"""The tools of an agent, as a manifest declares them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from agentd.manifest.http import HttpTool, OpenApi
from agentd.manifest.json_schema.check import schema_error
from agentd.manifest.mcp import McpServer
from agentd.manifest.quantities import (
    Duration,
    Expression,
    Flag,
    Name,
    Names,
    one_of_types,
)
from agentd.manifest.strict_model import StrictModel


class Command(StrictModel):
    """A program that the model can run. agentd starts it directly, never through a shell."""

    argv: tuple[str, ...] = Field(
        description="The program and its arguments. The arguments are templates over the values "
        "that the model gives.",
        examples=[["git", "log", "-n", "{{ count }}"]],
    )
    stdin: str | None = Field(
        default=None,
        description="The standard input of the program, also a template. Default: empty.",
        examples=["{{ text }}"],
    )
    env: dict[str, str] = Field(
        default={},
        description="Environment variables of the program, besides `PATH`, `HOME`, `LANG` and the "
        "like. It gets no other variables of agentd.",
        examples=[{"GIT_PAGER": "cat"}],
    )
    cwd: str | None = Field(
        default=None,
        description="The working directory of the program, relative to the folder that holds "
        "`manifests/`. Default: that folder.",
        examples=["data"],
    )

    @field_validator("argv")
    @classmethod
    def _fixed_program(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if not argv:
            raise ValueError("is empty", "name a program")
        if "{{" in argv[0] or "{%" in argv[0] or not argv[0].strip():
            raise ValueError(
                "must begin with a program", "the model must not choose the program", 0
            )
        return argv


def _as_command(value: Any) -> Any:
    """A list as the `argv` of a command."""
    return {"argv": value} if isinstance(value, list | tuple) else value


def _as_openapi(value: Any) -> Any:
    """A text as the `document` of an OpenAPI entry."""
    return {"document": value} if isinstance(value, str) else value


_LONGEST_NAME = 64  # characters of a tool's name


def _name_of_request(method: str, url: str) -> str:
    """The last fixed word of the path, or else the host."""
    fixed = re.sub(r"\{\{.*?\}\}", "", url.partition("?")[0].partition("://")[2])
    host, _, path = fixed.partition("/")
    words = [word for word in re.split(r"[^A-Za-z0-9-]+", path) if word]
    noun = words[-1] if words else re.sub(r"[^A-Za-z0-9-]+", "_", host).strip("_")
    return (noun if method == "GET" else f"{method.lower()}_{noun}")[:_LONGEST_NAME]


TOOL_KINDS = ("python", "command", "http", "openapi", "mcp", "agent", "ask")


class ToolEntry(StrictModel):
    """An entry under `tools`. Exactly one of its first seven fields sets the kind of the tool."""

    python: str | None = Field(
        default=None,
        description="A function in a file of `tools/`.",
        examples=["weather.py:forecast"],
    )
    command: Annotated[
        Command | None,
        BeforeValidator(_as_command, json_schema_input_type=list[str] | Command | None),
    ] = Field(
        default=None,
        description="A program with its arguments, as a list or as a mapping with more fields.",
        examples=[["git", "log", "-n", "{{ count }}"]],
    )
    http: HttpTool | None = Field(
        default=None,
        description="An HTTP request.",
        examples=[{"url": "https://api.example.org/weather?city={{ city }}"}],
    )
    openapi: Annotated[
        OpenApi | None,
        BeforeValidator(_as_openapi, json_schema_input_type=str | OpenApi | None),
    ] = Field(
        default=None,
        description="The operations of an OpenAPI document, given as a file name, a URL or a "
        "mapping.",
        examples=["petstore.yaml"],
    )
    mcp: McpServer | None = Field(
        default=None,
        description="The tools of an MCP server.",
        examples=[{"command": ["mcp-server-time"]}],
    )
    agent: Name | None = Field(
        default=None,
        description="Another agent, by its name or by a capability.",
        examples=["factchecker"],
    )
    ask: Literal["person"] | None = Field(
        default=None,
        description="A person, to whom the model puts a question. The task is suspended until the "
        "answer comes.",
        examples=["person"],
    )
    gather: Literal["all", "first", "majority"] | None = Field(
        default=None,
        description="Asks every agent that has the capability in `agent`, and returns `all` "
        "answers, the `first` answer, or the answer of the `majority`.",
        examples=["majority"],
    )
    name: Name | None = Field(
        default=None,
        description="The name by which the model calls the tool.",
        examples=["forecast"],
    )
    description: str | None = Field(
        default=None,
        description="The description of the tool for the model.",
        examples=["The weather of tomorrow."],
    )
    parameters: dict[str, Any] | None = Field(
        default=None,
        description="The JSON Schema of the arguments of a `command` or `http` tool. Default: "
        "each name in its templates is a required text.",
        examples=[{"properties": {"count": {"type": "integer", "maximum": 50}}}],
    )
    allow: Names | None = Field(
        default=None,
        description="The tools of an `mcp` server or `openapi` document that the model gets. "
        "Default: all.",
        examples=[["get_current_time"]],
    )
    deny: Names | None = Field(
        default=None,
        description="The tools of an `mcp` server or `openapi` document that the model does not "
        "get.",
        examples=[["convert_time"]],
    )
    choices: tuple[str, ...] | None = Field(
        default=None,
        min_length=2,
        description="The answers that the person of `ask` can give. Default: any text, or the "
        "choices that the model offers.",
        examples=[["refund", "replace"]],
    )
    default: str | None = Field(
        default=None,
        min_length=1,
        description="The answer if the person of `ask` gives none in time. Without it, the model "
        "receives an error.",
        examples=["replace"],
    )
    timeout: Duration | None = Field(
        default=None,
        description="The longest time that a call may take. For `ask`: how long the question "
        "waits, by default 24h.",
        examples=["10s"],
    )
    env: dict[str, str] | None = Field(
        default=None,
        description="Environment variables of a `python` tool, besides `PATH`, `HOME`, `LANG` and "
        "the like. It gets no other variables of agentd.",
        examples=[{"API_KEY": "${API_KEY}"}],
    )
    isolate: Flag = Field(
        default=False,
        description="If true, each call of a `python` tool has a process to itself.",
        examples=[True],
    )
    effects: Flag = Field(
        default=False,
        description="If true, the tool changes something outside agentd. A call that may have "
        "happened before a crash is then repeated only if the tool accepts an idempotency key.",
        examples=[True],
    )
    approval: Annotated[Any, one_of_types("true, false or an expression", bool, str)] = Field(
        default=False,
        description="Whether a person must approve a call first: `true` for every call, or an "
        "expression for those calls for which it is true.",
        examples=[True],
        json_schema_extra={"type": ["boolean", "string"]},
    )
    approval_timeout: Duration | None = Field(
        default=None,
        description="How long a call waits for the approval. Then it is denied. Default: 24h.",
        examples=["30m"],
    )
    required: Flag = Field(
        default=False,
        description="If true, the agent is ready only while this tool is available.",
        examples=[True],
    )

    @property
    def kind(self) -> str:
        """The field that sets the kind of the tool: one of `TOOL_KINDS`."""
        return next(kind for kind in TOOL_KINDS if getattr(self, kind) is not None)

    @property
    def own_name(self) -> str:
        """The name of the tool if the manifest gives it none.

        "" for `mcp` and `openapi`, whose tools have names of their own.
        """
        if self.python is not None:
            return self.python.partition(":")[2]
        if self.command is not None:
            program = self.command.argv[0].rpartition("/")[2]
            return re.sub(r"[^A-Za-z0-9_-]", "_", program)[:_LONGEST_NAME]
        if self.http is not None:
            return _name_of_request(self.http.method, self.http.url)
        return "ask_person" if self.ask else self.agent or ""

    @field_validator("python")
    @classmethod
    def _file_and_function(cls, python: str | None) -> str | None:
        # The pattern has no dots in folder names, so the file cannot lie outside of `tools/`.
        if python is not None and not re.fullmatch(r"[\w/-]+\.py:[A-Za-z_]\w*", python):
            raise ValueError("must be `file.py:function`", "for example weather.py:forecast")
        return python

    @field_validator("parameters")
    @classmethod
    def _is_object_schema(cls, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        if parameters is None:
            return None
        error = schema_error(parameters)
        if error:
            raise ValueError(f"is not a valid JSON Schema: {error}", "")
        if parameters.get("type", "object") != "object":
            raise ValueError("must describe an object", "list the arguments under `properties`")
        # A model that invents an argument gets an error, instead of having it ignored.
        return {"type": "object", "additionalProperties": False, **parameters}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in TOOL_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(TOOL_KINDS)}", "")
        if (self.allow or self.deny) and given[0] not in ("mcp", "openapi"):
            raise ValueError("has `allow` or `deny` without `mcp` or `openapi`", "")
        if self.env is not None and given[0] != "python":
            hint = "write it inside `command` or `mcp`" if given[0] in ("command", "mcp") else ""
            raise ValueError("has `env` without `python`", hint)
        if self.gather and given[0] != "agent":
            raise ValueError("has `gather` without `agent`", "")
        if self.parameters is not None and given[0] not in ("command", "http"):
            raise ValueError("has `parameters` without `command` or `http`", "")
        return self

    @model_validator(mode="after")
    def _about_a_person(self) -> Self:
        if self.ask is None:
            for name in ("choices", "default"):
                if getattr(self, name) is not None:
                    raise ValueError(f"has `{name}` without `ask`", "", name)
        elif self.approval is not False or self.approval_timeout is not None:
            raise ValueError("cannot be combined with `ask`", "a person answers anyway", "approval")
        elif self.choices and self.default is not None and self.default not in self.choices:
            raise ValueError("is none of the `choices`", "add it there", "default")
        return self


class DirectCall(StrictModel):
    """`call`: a tool that the agent calls for each message, without a model."""

    tool: Name = Field(
        description="The name of a tool under `tools`.",
        examples=["notify"],
    )
    arguments: Annotated[Any, one_of_types("a mapping, or an expression", dict, str)] = Field(
        default={},
        description="The arguments of the call. Each text is an expression over the message, at "
        "any depth; numbers, true and false stay as they are. A text in place of the mapping is an "
        "expression that gives all arguments.",
        examples=[{"text": "'New: ' ~ content.title", "urgent": True}],
        json_schema_extra={"type": ["object", "string"]},
    )

    when: Expression | None = Field(
        default=None,
        description="The tool is called only if this expression is true for the message. If not, "
        "the answer is null.",
        examples=["content.event == 'approval_requested'"],
    )

    @property
    def expressions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Its expressions, each with its place below `call`."""
        if self.when is not None:
            yield ("when",), self.when
        yield from _texts(("arguments",), self.arguments)


def _texts(loc: tuple[str | int, ...], value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, dict | list | tuple):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for key, member in members:
            yield from _texts((*loc, key), member)
