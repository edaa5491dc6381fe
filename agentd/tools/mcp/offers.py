"""The tools of an MCP server as agents can use them: with names and schemas that models take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentd.manifest.json_schema.check import MOST_STEPS, schema_error
from agentd.manifest.json_schema.steps import at_most
from agentd.models.wire.tool_names import fitting
from agentd.tools.tool_schema import modern

MOST_TOOLS = 500  # of one server
_LONGEST_DESCRIPTION = 8_000  # characters


@dataclass(frozen=True)
class Described:
    """A tool as the server describes it.

    Attributes:
        again: it may be called again, because a second call has no further effect.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    again: bool


@dataclass(frozen=True)
class Offer:
    """A tool that a model can use, under a `name` of its own: `tool` is as the server describes it,
    with a description and a schema that models take."""

    name: str
    tool: Described


@dataclass(frozen=True)
class Offers:
    """The tools of a server at one moment, and why others are left out."""

    tools: tuple[Offer, ...] = ()
    left_out: tuple[str, ...] = ()


def offers(described: Sequence[Described]) -> Offers:
    """What a server offers. To check all schemas may take seconds: it belongs into a thread."""
    found: dict[str, Offer] = {}
    left_out: list[str] = []
    with at_most(2 * MOST_STEPS):
        for each in described[:MOST_TOOLS]:
            name = fitting(each.name, found)
            parameters, problem = _checked(each.parameters)
            if name in found:
                left_out.append(f"{name} is left out, the server has it twice")
            elif problem:
                left_out.append(f"{name} is left out, its schema is not valid: {problem}")
            else:
                text = each.description[:_LONGEST_DESCRIPTION]
                tool = replace(each, description=text, parameters=parameters)
                found[name] = Offer(name, tool)
    if len(described) > MOST_TOOLS:
        left_out.append(f"has more than {MOST_TOOLS} tools; only the first {MOST_TOOLS} are used")
    return Offers(tuple(found.values()), tuple(left_out))


def _checked(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """A schema in the current draft, and why it is not valid."""
    try:
        made = {"type": "object", **modern(schema)}
    except RecursionError:
        return schema, "it is nested too deeply"
    if isinstance(made["type"], str) and made["type"] != "object":
        return schema, "it does not describe an object"
    return made, schema_error(made)
