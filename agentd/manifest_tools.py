"""Tools as a manifest declares them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

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


TOOL_KINDS = ("python", "http", "openapi", "mcp", "agent")


class Tool(Part):
    """Something that the model can call: exactly one of the first five fields says what."""

    python: str | None = Field(
        default=None,
        description="A function in a file of `tools/`.",
        examples=["weather.py:forecast"],
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

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in TOOL_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(TOOL_KINDS)}", "")
        if (self.allow or self.deny) and given[0] not in ("mcp", "openapi"):
            raise ValueError("`allow` and `deny` go with `mcp` and `openapi`", "")
        return self
