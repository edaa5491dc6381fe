"""The OpenAPI document: complete, and true of what is answered."""

from __future__ import annotations

import json
from typing import Any, cast

import jsonschema
import pytest
from starlette.routing import Route

from agentd.doors.api.described import DescribedRoute, document
from agentd.doors.api.models import task_document
from agentd.doors.api.tasks import routes
from agentd.doors.backend import Backend
from agentd.doors.problem import problem
from agentd.doors.refusal import Refusal
from agentd.protocol.message import AgentIdentity, new
from agentd.protocol.subjects import Subjects
from agentd.queue.decisions import ApprovalRequest
from agentd.routing.status import TaskStatus

BACKEND = Backend(
    bus=cast("Any", None),
    subjects=Subjects("dev"),
    settings=cast("Any", None),
    metrics=cast("Any", None),
    specs=dict,
    draining=cast("Any", None),
)
ROUTES = routes(BACKEND)
DOCUMENT = document([*ROUTES, Route("/other", lambda _: None)], version="1.2")


def conforms(name: str, value: object) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema.validate(value, schema, jsonschema.Draft202012Validator)


def references(value: Any) -> list[str]:
    match value:
        case {"$ref": str(ref)}:
            return [ref]
        case {**fields}:
            return [ref for each in fields.values() for ref in references(each)]
        case [*items]:
            return [ref for each in items for ref in references(each)]
        case _:
            return []


def test_every_route_describes_itself() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == "1.2"
    described = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}
    assert described == {(each.path, each.method) for each in ROUTES}
    names = [op["operationId"] for item in DOCUMENT["paths"].values() for op in item.values()]
    assert len(set(names)) == len(names)


def test_all_it_refers_to_is_there() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    found = references(DOCUMENT)
    assert found
    assert {ref.removeprefix("#/components/schemas/") for ref in found} <= schemas.keys()
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            assert all(response["description"] for response in operation["responses"].values())
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_the_names_of_a_path_are_its_parameters() -> None:
    (name,) = DOCUMENT["paths"]["/api/tasks/{id}"]["get"]["parameters"]
    assert (name["name"], name["in"], name["required"]) == ("id", "path", True)
    assert isinstance(ROUTES[0], DescribedRoute)


@pytest.mark.parametrize(
    "task",
    [
        {"target": "x", "content": "hi"},
        {
            "target": "@a",
            "content": {"n": [1, None]},
            "conversation": "c",
            "priority": 9,
            "timeout": "5m",
            "constraints": {"maxCost": 1.5, "timeout": 1000},
            "files": [{"name": "a.png", "data": "eA=="}],
            "capabilities": ["b"],
            "exclusions": ["c"],
        },
    ],
)
def test_what_it_takes(task: dict[str, Any]) -> None:
    conforms("NewTask", task)
    for wrong in ({"content": 1}, {**task, "priority": 10}, {**task, "other": 1}):
        with pytest.raises(jsonschema.ValidationError):
            conforms("NewTask", wrong)


def test_what_it_gives() -> None:
    task = new("task", "hi", source=AgentIdentity(id="you"))
    error = {"code": "budget", "message": "too dear", "retryable": False}
    content = {"success": False, "data": None, "error": error, "model": "mock/echo", "cost": 0.1}
    result = task.reply("result", content, source=AgentIdentity(id="a"))
    calls = [{"index": 0, "name": "refund", "arguments": {"amount": 1}}]
    request = ApprovalRequest(
        sequence=1, task="t", agent="a", life=1, turn=1, calls=calls, expires=2e9
    )
    for status in (
        TaskStatus(state="queued", attempts=0),
        TaskStatus(state="running", attempts=1, delay="waiting: no server"),
        TaskStatus(state="suspended", attempts=1, request=request),
        TaskStatus(state="done", result=result),
    ):
        conforms("Task", task_document("t1", status))
    conforms("Problem", json.loads(bytes(problem(Refusal(404, "unknown_task", "no")).body)))
    conforms("Ended", {"task": "t1", "ended": {"running": 1}})
