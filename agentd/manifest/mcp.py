"""An MCP server as a manifest declares it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from agentd.manifest.strict_model import StrictModel


def _named(wanted: dict[str, Any]) -> dict[str, Any]:
    for name in wanted:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
            raise ValueError(f"`{name}` is no name for a template", "write letters, digits and _")
    return wanted


def _spelled_out(key: str) -> BeforeValidator:
    """Takes a mere text for the mapping of which it is the field `key`."""

    def spell_out(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: {key: item} if isinstance(item, str) else item for name, item in value.items()
        }

    return BeforeValidator(spell_out)


class McpText(StrictModel):
    """What a resource and a prompt have in common."""

    default: str | None = Field(
        default=None,
        description="What the prompt gets when the server does not give it. Without it, the task "
        "is tried again later.",
        examples=[""],
    )


class McpResource(McpText):
    """A resource of the server. A mere text is its `uri`."""

    uri: str = Field(
        min_length=1, description="What the server calls it.", examples=["file:///README.md"]
    )


class McpPrompt(McpText):
    """A prompt of the server. A mere text is its `prompt`."""

    prompt: str = Field(
        min_length=1, description="What the server calls it.", examples=["code-review"]
    )
    arguments: dict[str, str] = Field(
        default={}, description="What it is to be about.", examples=[{"language": "python"}]
    )


class McpServer(StrictModel):
    """An MCP server: a command of ours, or an address. Equal ones of several agents are one."""

    command: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="A program and its arguments, speaking over stdio.",
        examples=[["mcp-server-time"]],
    )
    env: dict[str, str] = Field(
        default={},
        description="Environment of the program, besides `PATH`, `HOME`, `LANG` and the like: "
        "it gets nothing else of ours.",
        examples=[{"API_KEY": "${API_KEY}"}],
    )
    cwd: Path | None = Field(
        default=None,
        description="The folder in which the program runs. Default: where agentd runs.",
        examples=["/srv/work"],
    )
    url: str | None = Field(
        default=None,
        description="The address of a server over streamable HTTP.",
        examples=["http://127.0.0.1:9000/mcp"],
    )
    headers: dict[str, str] = Field(
        default={},
        description="Headers of every request to it.",
        examples=[{"Authorization": "Bearer ${TOKEN}"}],
    )
    resources: Annotated[dict[str, McpResource], AfterValidator(_named), _spelled_out("uri")] = (
        Field(
            default={},
            description="Resources that a prompt can name: `{{ mcp.readme }}`.",
            examples=[{"readme": "file:///README.md"}],
        )
    )
    prompts: Annotated[dict[str, McpPrompt], AfterValidator(_named), _spelled_out("prompt")] = (
        Field(
            default={},
            description="Prompts of the server that a prompt can name: `{{ mcp.review }}`.",
            examples=[{"review": {"prompt": "code-review", "arguments": {"language": "python"}}}],
        )
    )

    @property
    def texts(self) -> dict[str, McpText]:
        """Its resources and prompts by the name that the agent's prompt has for them."""
        return {**self.resources, **self.prompts}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("needs either `command` or `url`", "")
        if self.command is None and (self.env or self.cwd):
            raise ValueError("`env` and `cwd` go with `command`", "")
        if self.url is None and self.headers:
            raise ValueError("`headers` go with `url`", "")
        if self.url is not None and not _is_http(self.url):
            raise ValueError("`url` must begin with http:// or https://", "")
        for name in self.resources.keys() & self.prompts.keys():
            raise ValueError(f"has `{name}` twice: among `resources` and `prompts`", "")
        return self


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
