"""Whether the arguments of `call` in a manifest can fit its tool, before anything is called."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.catalog.spec import AgentSpec
from agentd.problems import Problem, did_you_mean
from agentd.tools.toolbox import DeclaredTool


def problems_of_call(spec: AgentSpec, tool: DeclaredTool) -> Iterator[Problem]:
    """The arguments that the tool needs and does not get, and those that it does not take."""
    call = spec.manifest.call
    if call is None or not isinstance(call.arguments, dict):
        return  # an expression gives them all
    schema = tool.tool.parameters
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in call.arguments:
            text = f"`arguments` lacks `{name}`, which {call.tool} needs"
            yield spec.problem("call", text=text, hint="give an expression for it")
    for name in call.arguments if schema.get("additionalProperties") is False else ():
        if name not in known:
            text = f"{call.tool} has no argument `{name}`"
            hint = did_you_mean(name, known) or f"it has {', '.join(sorted(known)) or 'none'}"
            yield spec.problem("call", "arguments", name, text=text, hint=hint)
