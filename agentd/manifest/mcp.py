"""An MCP server, as a manifest declares it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from agentd.manifest.strict_model import StrictModel


def _template_names(declared: dict[str, Any]) -> dict[str, Any]:
    """`declared`, whose keys must be usable as names in a template."""
    for name in declared:
        # As in Jinja2: `{{ mcp.read-me }}` would be a subtraction.
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
            raise ValueError(
                f"has `{name}`, which cannot be a name in a template", "use letters, digits and _"
            )
    return declared


def _with_short_form(key: str, whole: type[BaseModel]) -> BeforeValidator:
    """Accepts a text in place of a mapping `whole` with only the field `key`."""

    def expand(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: {key: item} if isinstance(item, str) else item for name, item in value.items()
        }

    return BeforeValidator(expand, json_schema_input_type=dict[str, str | whole])


class McpText(StrictModel):
    """The fields that a resource and a prompt share."""

    default: str | None = Field(
        default=None,
        description="The text to use if the server does not provide it. Without a default, the "
        "task is tried again later.",
        examples=[""],
    )


class McpResource(McpText):
    """A resource of the server. A text is short for `uri`."""

    uri: str = Field(
        min_length=1, description="The URI of the resource.", examples=["file:///README.md"]
    )


class McpPrompt(McpText):
    """A prompt of the server. A text is short for `prompt`."""

    prompt: str = Field(
        min_length=1, description="The name of the prompt.", examples=["code-review"]
    )
    arguments: dict[str, str] = Field(
        default={}, description="The arguments of the prompt.", examples=[{"language": "python"}]
    )


class McpServer(StrictModel):
    """An MCP server: either a program or a URL. Agents with equal entries share one server."""

    command: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="A program and its arguments. agentd starts it and speaks to it over stdio.",
        examples=[["mcp-server-time"]],
    )
    env: dict[str, str] = Field(
        default={},
        description="Environment variables of the program, besides `PATH`, `HOME`, `LANG` and the "
        "like. It gets no other variables of agentd.",
        examples=[{"API_KEY": "${API_KEY}"}],
    )
    cwd: Path | None = Field(
        default=None,
        description="The working directory of the program. Default: that of agentd.",
        examples=["/srv/work"],
    )
    url: str | None = Field(
        default=None,
        description="The URL of a server that speaks streamable HTTP.",
        examples=["http://127.0.0.1:9000/mcp"],
    )
    headers: dict[str, str] = Field(
        default={},
        description="Headers of every request to the server.",
        examples=[{"Authorization": "Bearer ${TOKEN}"}],
    )
    resources: Annotated[
        dict[str, McpResource],
        AfterValidator(_template_names),
        _with_short_form("uri", McpResource),
    ] = Field(
        default={},
        description="Resources of the server by the name that the agent's prompt uses: `{{ "
        "mcp.readme }}`.",
        examples=[{"readme": "file:///README.md"}],
    )
    prompts: Annotated[
        dict[str, McpPrompt],
        AfterValidator(_template_names),
        _with_short_form("prompt", McpPrompt),
    ] = Field(
        default={},
        description="Prompts of the server by the name that the agent's prompt uses: `{{ "
        "mcp.review }}`.",
        examples=[{"review": {"prompt": "code-review", "arguments": {"language": "python"}}}],
    )

    @property
    def texts(self) -> dict[str, McpText]:
        """The resources and prompts, by the name that the agent's prompt uses."""
        return {**self.resources, **self.prompts}

    @model_validator(mode="after")
    def _either_command_or_url(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("needs either `command` or `url`", "")
        if self.command is None and (self.env or self.cwd):
            raise ValueError("has `env` or `cwd` without `command`", "")
        if self.url is None and self.headers:
            raise ValueError("has `headers` without `url`", "")
        if self.url is not None and not _is_http(self.url):
            raise ValueError("has a `url` that does not begin with http:// or https://", "")
        # Both are `mcp.NAME` in a prompt.
        for name in self.resources.keys() & self.prompts.keys():
            raise ValueError(f"has `{name}` under both `resources` and `prompts`", "rename one")
        return self


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
