"""Agents and capabilities as models: their list, and which one a client names."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentd.doors.caller import Caller
from agentd.errors import TaskError, UsageError
from agentd.protocol.destination import Destination, Recipients
from agentd.routing.registry import Replica


@dataclass(frozen=True)
class Target:
    """Where the questions for a model go, and the agents that may take them."""

    to: Destination
    takers: Sequence[Replica]

    @property
    def gives_values(self) -> bool:
        """Whether answers are JSON values, so that a piece of one is of no use."""
        return any(taker.structured for taker in self.takers)

    def content(self, asked: Any) -> Any:
        """The content of a task for what a client asks: clients of OpenAI can only write text, so
        JSON is read where an agent accepts something else."""
        accepted = [taker.accepts for taker in self.takers if taker.accepts is not None]
        if not isinstance(asked, str) or all(_is_text(schema) for schema in accepted):
            return asked
        try:
            return json.loads(asked)
        except (ValueError, RecursionError):
            return asked


def target(model: str, online: Sequence[Replica], caller: Caller) -> Target:
    """Where the questions for this model go.

    An agent is found by its name or as `@name`, a capability by its name or as
    `domain.specificity`; of an agent and a capability with the same name the agent counts.

    Raises:
        TaskError: it can be neither (`no_taker`).
        Refusal: the caller may not ask it.
    """
    names = {replica.agent for replica in online}
    try:
        to = Destination.parse(f"@{model}" if model in names else model)
    except UsageError as error:
        raise TaskError(str(error), code="no_taker") from None
    caller.require("ask", agent=to.agent)
    recipients = Recipients.among(to)
    takers = [each for each in online if recipients.include(each.agent, each.capabilities)]
    for each in takers:
        caller.require("ask", agent=each.agent)
    return Target(to, takers)


def listed(online: Sequence[Replica], caller: Caller) -> list[dict[str, Any]]:
    """Every agent and every capability that the caller may ask, as models."""
    agents: defaultdict[str, list[Replica]] = defaultdict(list)
    capabilities: defaultdict[str, list[Replica]] = defaultdict(list)
    for replica in online:
        agents[replica.agent].append(replica)
        for capability in replica.capabilities:
            capabilities[capability].append(replica)
    models = [_model(name, group, "agent") for name, group in sorted(agents.items())]
    for name, group in sorted(capabilities.items()):
        # Where an agent has the same name, this is how the capability is asked for.
        models.append(_model(f"{name}.general" if name in agents else name, group, "capability"))
    return [made for made, group in models if all(caller.reaches(each.agent) for each in group)]


def _model(
    name: str, group: Sequence[Replica], kind: str
) -> tuple[dict[str, Any], Sequence[Replica]]:
    newest = max(group, key=lambda replica: replica.seen)
    several = sorted({replica.agent for replica in group})
    description = newest.description if kind == "agent" else f"asks {' or '.join(several)}"
    made = {
        "id": name,
        "object": "model",
        "created": int(min(replica.started for replica in group)),
        "owned_by": "agentd",
        "kind": kind,
        "description": description,
        "accepts": newest.accepts,
    }
    return made, group


def _is_text(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "string"
