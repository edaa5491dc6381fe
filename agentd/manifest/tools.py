"""Tools as a manifest declares them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from agentd.manifest.http import HttpTool, OpenApi
from agentd.manifest.json_schema import schema_error
from agentd.manifest.mcp import McpServer
from agentd.manifest.quantities import Duration, Flag, Name, Names, one_of_types
from agentd.manifest.strict_model import StrictModel


class Command(StrictModel):
    """A program that the model can run; never through a shell."""

    argv: tuple[str, ...] = Field(
        description="The program and its arguments, all but the first templates over what the "
        "model gives.",
        examples=[["git", "log", "-n", "{{ count }}"]],
    )
    stdin: str | None = Field(
        default=None,
        description="What it reads from its standard input, a template too. Default: nothing.",
        examples=["{{ text }}"],
    )
    env: dict[str, str] = Field(
        default={},
        description="Its environment, besides PATH, HOME, LANG and TZ.",
        examples=[{"GIT_PAGER": "cat"}],
    )
    cwd: str | None = Field(
        default=None,
        description="The folder in which it runs, relative to the one that holds `manifests/`, "
        "which is the default.",
        examples=["data"],
    )

    @field_validator("argv")
    @classmethod
    def _fixed_program(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if not argv:
            raise ValueError("is empty", "")
        if "{{" in argv[0] or "{%" in argv[0] or not argv[0].strip():
            raise ValueError("must begin with a program", "a model cannot choose which one", 0)
        return argv


def _argv_alone(value: Any) -> Any:
    return {"argv": value} if isinstance(value, list | tuple) else value


def _document_alone(value: Any) -> Any:
    return {"document": value} if isinstance(value, str) else value


TOOL_KINDS = ("python", "command", "http", "openapi", "mcp", "agent")


class ToolEntry(StrictModel):
    """Something that the model can call: exactly one of the first six fields says what."""

    python: str | None = Field(
        default=None,
        description="A function in a file of `tools/`.",
        examples=["weather.py:forecast"],
    )
    command: Annotated[
        Command | None,
        BeforeValidator(_argv_alone, json_schema_input_type=list[str] | Command | None),
    ] = Field(
        default=None,
        description="A program with its arguments, or a mapping that says more.",
        examples=[["git", "log", "-n", "{{ count }}"]],
    )
    http: HttpTool | None = Field(
        default=None,
        description="A request.",
        examples=[{"url": "https://api.example.org/weather?city={{ city }}"}],
    )
    openapi: Annotated[
        OpenApi | None,
        BeforeValidator(_document_alone, json_schema_input_type=str | OpenApi | None),
    ] = Field(
        default=None,
        description="The operations of an OpenAPI document: a file or a URL.",
        examples=["petstore.yaml"],
    )
    mcp: McpServer | None = Field(
        default=None,
        description="The tools of an MCP server.",
        examples=[{"command": ["mcp-server-time"]}],
    )
    agent: Name | None = Field(
        default=None,
        description="Another agent, by its name or a capability.",
        examples=["factchecker"],
    )
    gather: Literal["all", "first", "majority"] | None = Field(
        default=None,
        description="With `agent`, a capability: asks every agent that has it, and gives `all` "
        "answers, the `first`, or what the `majority` says.",
        examples=["majority"],
    )
    name: Name | None = Field(
        default=None, description="What the model calls it.", examples=["forecast"]
    )
    description: str | None = Field(
        default=None,
        description="What the model is told about it.",
        examples=["The weather of tomorrow."],
    )
    parameters: dict[str, Any] | None = Field(
        default=None,
        description="The JSON Schema of the arguments of a `command` or `http` tool. Default: each "
        "name in its templates is a text.",
        examples=[{"properties": {"count": {"type": "integer", "maximum": 50}}}],
    )
    allow: Names | None = Field(
        default=None,
        description="Only these tools of an `mcp` server or `openapi` document.",
        examples=[["get_current_time"]],
    )
    deny: Names | None = Field(
        default=None, description="All tools of it but these.", examples=[["convert_time"]]
    )
    timeout: Duration | None = Field(
        default=None, description="The longest that a call may take.", examples=["10s"]
    )
    isolate: Flag = Field(
        default=False, description="Runs a `python` tool in a process of its own.", examples=[True]
    )
    effects: Flag = Field(
        default=False,
        description="It changes something outside: never called twice for one request.",
        examples=[True],
    )
    approval: Annotated[Any, one_of_types("true, false or an expression", bool, str)] = Field(
        default=False,
        description="A person must agree first: always, or when the expression holds.",
        examples=[True],
        json_schema_extra={"type": ["boolean", "string"]},
    )
    approval_timeout: Duration | None = Field(
        default=None,
        description="How long a call waits for that; then it is denied. Default: 24h.",
        examples=["30m"],
    )
    required: Flag = Field(
        default=False, description="Without this tool the agent is not ready.", examples=[True]
    )

    @field_validator("python")
    @classmethod
    def _file_and_function(cls, python: str | None) -> str | None:
        if python is not None and not re.fullmatch(r"[\w/-]+\.py:[A-Za-z_]\w*", python):
            raise ValueError("must be `file.py:function`", "for example weather.py:forecast")
        return python

    @field_validator("parameters")
    @classmethod
    def _schema(cls, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        if parameters is None:
            return None
        wrong = schema_error(parameters)
        if wrong:
            raise ValueError(f"is no JSON Schema: {wrong}", "")
        if parameters.get("type", "object") != "object":
            raise ValueError("must describe an object", "its `properties` are the arguments")
        return {"type": "object", "additionalProperties": False, **parameters}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in TOOL_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(TOOL_KINDS)}", "")
        if (self.allow or self.deny) and given[0] not in ("mcp", "openapi"):
            raise ValueError("`allow` and `deny` go with `mcp` and `openapi`", "")
        if self.gather and given[0] != "agent":
            raise ValueError("`gather` goes with `agent`", "")
        if self.parameters is not None and given[0] not in ("command", "http"):
            raise ValueError("`parameters` goes with `command` and `http`", "")
        return self
