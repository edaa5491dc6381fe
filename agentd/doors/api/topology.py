"""Who asks, and how work flows between the agents of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.graph import Graph
from agentd.catalog.topology.members import Member
from agentd.doors.api.described import DescribedRoute, Operation
from agentd.doors.backend import Backend
from agentd.doors.caller import Caller


class Me(BaseModel):
    """Who asks."""

    name: str = Field(description="The name of the key; `local` where none is needed.")
    may: list[str] = Field(description="Some of `ask`, `read`, `approve` and `operate`.")
    agents: list[str] | None = Field(description="The agents that the key is for; null for all.")
    env: str = Field(description="The environment.")
    version: str = Field(description="That of agentd.")


class Nodes(BaseModel):
    """The graph, as `agentd graph --json`."""

    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]


ME = Operation(
    name="getCaller",
    summary="Read what the key may do",
    gives={200: ("Who asks.", Me)},
    right="any",
)
GRAPH = Operation(
    name="getTopology",
    summary="Read how work flows between agents",
    text="Of the agents of the process that answers, as `agentd graph --json` of their files.",
    gives={200: ("The graph.", Nodes)},
    right="read",
)


def routes(backend: Backend) -> Sequence[DescribedRoute]:
    """`/api/me` and `/api/topology`."""

    async def me(request: Request) -> Response:
        caller: Caller = request.state.caller
        return JSONResponse(
            {
                "name": caller.name,
                "may": sorted(caller.may),
                "agents": None if caller.agents is None else sorted(caller.agents),
                "env": backend.subjects.env,
                "version": version("agentd-nats"),
            }
        )

    async def topology(request: Request) -> Response:
        caller: Caller = request.state.caller
        caller.require("read")
        specs = backend.specs()
        members = {
            name: Member(spec.manifest, spec.root)
            for name, spec in specs.items()
            if caller.reaches(name)
        }
        # In a thread: it takes a second for a thousand agents.
        graph = await asyncio.to_thread(Graph.of, Topology(members), backend.settings.model)
        return JSONResponse(graph.as_json())

    return [
        DescribedRoute("GET", "/api/me", me, ME),
        DescribedRoute("GET", "/api/topology", topology, GRAPH),
    ]
