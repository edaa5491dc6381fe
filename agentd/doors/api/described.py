"""Routes that describe themselves, and the OpenAPI document that they add up to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Response]]
Model = type[BaseModel]

EVENTS = "text/event-stream"
_REFS = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)\}")


class Problem(BaseModel):
    """Why a request is not served (RFC 9457)."""

    status: int
    title: str
    code: str = Field(description="One word for programs.")
    detail: str = Field(description="What is wrong, and how to mend it.")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A header or a field of the query."""

    name: str
    place: str
    text: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a route does.

    Attributes:
        name: its `operationId`.
        takes: its body.
        gives: the body of each status, or only what it means; `EVENTS` where `streams`.
        right: what a key needs for it.
    """

    name: str
    summary: str
    text: str = ""
    takes: Model | None = None
    gives: Mapping[int, tuple[str, Model | None]]
    parameters: Sequence[Parameter] = ()
    streams: bool = False
    right: str


class DescribedRoute(Route):
    """A route with its description."""

    def __init__(self, method: str, path: str, handler: Handler, operation: Operation) -> None:
        super().__init__(path, handler, methods=[method])
        self.app = _served(handler)
        self.method = method.lower()
        self.operation = operation


def _served(handler: Handler) -> ASGIApp:
    """A handler as an application. Starlette's own one also looks for handlers of errors, which the
    guard answers."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)

    return serve


def document(routes: Iterable[BaseRoute], *, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of all routes that describe themselves."""
    described = [each for each in routes if isinstance(each, DescribedRoute)]
    models = {model for each in described for model in _models(each.operation)} | {Problem}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation") for model in ordered], ref_template=_REFS, by_alias=True
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "agentd",
            "version": version,
            "description": "Tasks for agents: sent, followed, read and cancelled.",
        },
        "security": [{"key": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _models(operation: Operation) -> list[Model]:
    bodies = [operation.takes, *(model for _, model in operation.gives.values())]
    return [model for model in bodies if model is not None]


def _operation(route: DescribedRoute) -> dict[str, Any]:
    operation = route.operation
    path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    other = [
        {"name": each.name, "in": each.place, "description": each.text, "schema": each.schema}
        for each in operation.parameters
    ]
    text = f"{operation.text}\n\nNeeds the right `{operation.right}`.".strip()
    body = {"requestBody": _request_body(operation.takes)} if operation.takes else {}
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": text,
        "parameters": [*path, *other],
        **body,
        "responses": _responses(operation),
    }


def _request_body(model: Model) -> dict[str, Any]:
    return {"required": True, "content": _content(model)}


def _responses(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, (text, model) in operation.gives.items():
        content = _content(model) if model else {}
        if operation.streams and status == 200:
            content[EVENTS] = {"schema": {"type": "string"}}
        found[str(status)] = {"description": text, **({"content": content} if content else {})}
    problem = {"application/problem+json": {"schema": _ref(Problem)}}
    found["default"] = {"description": "The request is not served.", "content": problem}
    return found


def _content(model: Model) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(model)}}


def _ref(model: Model) -> dict[str, str]:
    return {"$ref": _REFS.format(model=model.__name__)}
