"""`agent: factchecker`: another agent, or all agents with a capability, as a tool."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.errors import TaskError
from agentd.manifest import tools as manifest_tools
from agentd.nats.bus import Bus
from agentd.protocol.destination import GENERAL, Destination
from agentd.protocol.fields import Constraints
from agentd.protocol.message import AgentIdentity, AgentMessage, Payload, Routing
from agentd.protocol.subjects import AGENT_DOMAIN, Subjects, digest
from agentd.routing import registry
from agentd.routing.ask import ask
from agentd.routing.gather import Gathered, gather
from agentd.tools.port import Call, ToolError, ToolSource

PARAMETERS = {
    "type": "object",
    "properties": {
        "instruction": {
            "type": "string",
            "description": "The complete task. The agent sees nothing of this conversation.",
        }
    },
    "required": ["instruction"],
    "additionalProperties": False,
}


class AgentTools:
    """All `agent:` tools of this process."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    def open(self, entry: manifest_tools.ToolEntry, spec: AgentSpec) -> ToolSource:
        """The tool of an entry."""
        del spec
        return AgentTool(self._bus, self._subjects, entry)

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class AgentTool:
    """An agent as a tool, and also the source of this tool.

    The id of the task comes from the key of the call. So a repeated call is the same task and gets
    the result that is already stored.
    """

    bus: Bus
    subjects: Subjects
    entry: manifest_tools.ToolEntry

    trouble = ""  # an agent that is offline now may be online when it is called
    takes_key = True
    parameters = PARAMETERS

    @property
    def name(self) -> str:
        """The name of the agent, or of the capability."""
        assert self.entry.agent is not None
        return self.entry.agent

    @property
    def tools(self) -> Sequence[AgentTool]:
        return (self,)

    @property
    def description(self) -> str:
        whom = "every agent with the capability" if self.entry.gather else "the agent"
        return f"Asks {whom} `{self.name}` and returns the answer."

    async def call(self, call: Call) -> Any:
        """The answer of the agent.

        Raises:
            ToolError: there is no such agent, it failed, or it gave no answer in time.
        """
        task = await self._task(call)
        try:
            if self.entry.gather:
                return _answer(await self._gather(task, call.timeout), self.entry.gather)
            to = await self._destination()
            try:
                return await self._ask(to, task, call.timeout)
            except TaskError as error:
                if error.code != "invalid_input":
                    raise
                # Refused before it was stored, so the same id can be sent again.
                return await self._ask(to, _as_json(task, error), call.timeout)
        except TaskError as error:
            raise ToolError(f"{self.name}: {error}", final=not error.retryable) from error

    async def _ask(self, to: Destination, task: AgentMessage, timeout: float) -> Any:
        async for part in ask(self.bus, self.subjects, to, task, timeout=timeout):
            if isinstance(part, AgentMessage):
                return _data(part.payload.content)
        raise ToolError(f"{self.name} gave no answer")

    async def _task(self, call: Call) -> AgentMessage:
        """The task for the other agent. It gets the time and money that our task has left."""
        payload = Payload(
            content=call.arguments["instruction"],
            constraints=Constraints(max_cost=await call.money()),
        )
        return call.task.child(
            "task",
            payload,
            source=AgentIdentity(id=call.agent, type="agent"),
            routing=Routing(timeout=max(1, int(call.timeout * 1000))),
            # The same call makes the same id. Results are create-only, so a call that is repeated
            # after a crash finds the first result instead of paying for another.
            id=digest(call.key),
        )

    async def _destination(self) -> Destination:
        """The agent of this name if one is online; else any agent with this capability."""
        online = await registry.online(self.bus, self.subjects.env)
        if any(replica.agent == self.name for replica in online):
            return Destination(AGENT_DOMAIN, self.name)
        return Destination(self.name, GENERAL)

    async def _gather(self, task: AgentMessage, timeout: float) -> Gathered:
        assert self.entry.gather is not None
        return await gather(
            self.bus, self.subjects, self.name, task, mode=self.entry.gather, timeout=timeout
        )


def _as_json(task: AgentMessage, refusal: TaskError) -> AgentMessage:
    """The task with the JSON value that its text holds, for an agent that accepts no text.

    Raises:
        TaskError: the text is no JSON object or list; the refusal says what the agent accepts.
    """
    text = str(task.payload.content).strip()
    try:
        value = json.loads(text) if text[:1] in ("{", "[") else None
    except (ValueError, RecursionError):
        value = None
    if value is None:
        hint = "; write the instruction as the JSON that it accepts"
        raise TaskError(f"{refusal}{hint}", code=refusal.code)
    return task.model_copy(update={"payload": task.payload.model_copy(update={"content": value})})


def _data(content: dict[str, Any]) -> Any:
    if not content["success"]:
        error = content["error"]
        text = f"{error['code']}: {error['message']}"
        raise ToolError(text, final=not error.get("retryable"))
    return content["data"]


def _answer(gathered: Gathered, mode: str) -> Any:
    """The one answer that counts; or all answers by agent, with `all` or without a majority."""
    if gathered.agreed:
        return gathered.agreed.content["data"]
    answers = {vote.agent: vote.content["data"] for vote in gathered.votes if vote.success}
    if mode == "all" and answers:
        return answers
    if mode == "majority" and answers:
        return {"majority": None, "answers": answers}
    reasons = {vote.agent: vote.content["error"]["message"] for vote in gathered.votes}
    if not reasons:
        raise ToolError("no agent answered in time")
    failures = "; ".join(f"{agent}: {reason}" for agent, reason in reasons.items())
    raise ToolError(f"no agent succeeded: {failures}")
