"""An MCP server with every feature, made with the mcp library: `everything.py [PORT]`.

Over stdio, or with a port over streamable HTTP.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

from mcp.server.mcpserver import (
    AcceptedElicitation,
    Context,
    Elicit,
    ElicitationResult,
    Image,
    MCPServer,
    Resolve,
)
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import EmbeddedResource, ResourceLink, TextResourceContents, ToolAnnotations
from pydantic import BaseModel

server = MCPServer("everything")
_readme = "Read me."


class Sum(BaseModel):
    """A structured answer."""

    value: int


class Confirmed(BaseModel):
    """The form for the user."""

    ok: bool


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def echo(text: str) -> str:
    """Says it again."""
    return text


@server.tool(structured_output=True)
def add(a: int, b: int) -> Sum:
    """Adds two numbers."""
    return Sum(value=a + b)


@server.tool(structured_output=False)
def picture() -> list[Any]:
    """A text, an image, a resource and the link to another."""
    resource = TextResourceContents(uri="note://1", text="a note")
    return [
        "Here:",
        Image(data=b"\x89PNG" + bytes(12_000)),
        EmbeddedResource(type="resource", resource=resource),
        ResourceLink(type="resource_link", name="readme", uri="file:///readme"),
    ]


@server.tool()
async def long(steps: int, ctx: Context[Any, Any]) -> str:
    """Reports progress."""
    for step in range(steps):
        await ctx.report_progress(step, steps, f"step {step}")
        await asyncio.sleep(0)
    return f"{steps} steps"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ToolError("no luck today")


@server.tool()
async def ask(ctx: Context[Any, Any]) -> str:
    """Asks the client for features, and returns its refusals."""
    capabilities = ctx.client_capabilities
    assert capabilities is not None
    can = [name for name in ("sampling", "elicitation", "roots") if getattr(capabilities, name)]
    return f"the client offers {can}"


async def _question() -> Elicit[Confirmed]:
    return Elicit("May I?", Confirmed)


@server.tool()
async def confirm(answer: Annotated[ElicitationResult[Confirmed], Resolve(_question)]) -> str:
    """Asks a person first."""
    return "confirmed" if isinstance(answer, AcceptedElicitation) else "not confirmed"


@server.tool()
async def grow(ctx: Context[Any, Any]) -> str:
    """Adds a tool, and notifies the client."""
    server.add_tool(lambda: "grown", name="grown", description="Was not there before.")
    await ctx.notify_tools_changed()
    return "done"


@server.tool()
async def rewrite(text: str, ctx: Context[Any, Any]) -> str:
    """Changes the readme, and notifies the client."""
    global _readme  # noqa: PLW0603 (the one thing that this server remembers)
    _readme = text
    await ctx.notify_resources_changed()
    return "done"


@server.tool()
def tell(ctx: Context[Any, Any], field: str = "agentd/key") -> str:
    """What comes with the request: its idempotency key, for example."""
    meta = ctx.request_context.meta or {}
    return str(dict(meta).get(field))


@server.resource("file:///readme")
def readme() -> str:
    """A resource."""
    return _readme


@server.resource("file:///logo", mime_type="image/png")
def logo() -> bytes:
    """A resource that is not text."""
    return b"\x89PNG" + bytes(2_000)


@server.prompt()
def review(language: str) -> str:
    """A prompt."""
    return f"Review this {language} code."


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run()
