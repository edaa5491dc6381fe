"""What there is, as an OpenAPI document: made from the routes and their models."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from agentd.doors.api.described import document
from agentd.doors.backend import Backend
from agentd.doors.caller import Caller
from agentd.routing import registry

PATH = "/openapi.json"


def routes(backend: Backend) -> Sequence[Route]:
    """`/openapi.json`."""

    async def describe(request: Request) -> Response:
        router: Router = request.scope["router"]
        found = document(router.routes, version=version("agentd-nats"))
        caller: Caller = request.state.caller
        online = registry.by_agent(await registry.online(backend.bus, backend.subjects.env))
        contents = {
            each["agent"]: each["accepts"]
            for each in online
            if each["accepts"] is not None and caller.reaches(each["agent"])
        }
        # A schema of an agent, for the `content` of the tasks that it takes.
        found["components"]["schemas"]["NewTask"]["x-agentd-content"] = contents
        return JSONResponse(found)

    return [Route(PATH, describe)]
