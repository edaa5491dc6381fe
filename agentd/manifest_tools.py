"""Tools as a manifest declares them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from agentd.json_schema import mistake_of
from agentd.manifest_parts import Part
from agentd.quantities import (
    Duration,
    Flag,
    Name,
    Names,
    either,
)


class HttpTool(Part):
    """A request that the model can make."""

    url: str = Field(
        min_length=1,
        description="The address, a template over the arguments.",
        examples=["https://api.example.org/weather?city={{ city }}"],
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(
        default="GET", description="The HTTP method.", examples=["POST"]
    )
    headers: dict[str, str] = Field(
        default={}, description="Headers.", examples=[{"Authorization": "Bearer ${TOKEN}"}]
    )
    body: Any = Field(
        default=None, description="The body, sent as JSON.", examples=[{"city": "{{ city }}"}]
    )
    pick: str | None = Field(
        default=None,
        description="The path to the part of the answer that counts.",
        examples=["data.temperature"],
    )


class Command(Part):
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


class McpServer(Part):
    """An MCP server: a command of ours, or an address."""

    command: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="A program and its arguments, speaking over stdio.",
        examples=[["mcp-server-time"]],
    )
    url: str | None = Field(
        default=None,
        description="The address of a server over streamable HTTP.",
        examples=["http://127.0.0.1:9000/mcp"],
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("needs either `command` or `url`", "")
        return self


TOOL_KINDS = ("python", "command", "http", "openapi", "mcp", "agent")


class Tool(Part):
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
    openapi: str | None = Field(
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
    approval: Annotated[Any, either("true, false or an expression", bool, str)] = Field(
        default=False,
        description="A person must agree first: always, or when the expression holds.",
        examples=[True],
        json_schema_extra={"type": ["boolean", "string"]},
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
        wrong = mistake_of(parameters)
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
        if self.parameters is not None and given[0] not in ("command", "http"):
            raise ValueError("`parameters` goes with `command` and `http`", "")
        return self
