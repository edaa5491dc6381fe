"""The record over HTTP: tasks, traces, costs, revisions. The index is made when somebody asks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import cast, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agentd.doors.api import record_models as models
from agentd.doors.api.described import DescribedRoute, Operation, Parameter
from agentd.doors.backend import Backend
from agentd.doors.caller import Caller
from agentd.doors.refusal import Refusal
from agentd.errors import UsageError
from agentd.manifest.quantities import seconds
from agentd.protocol.subjects import is_token
from agentd.record import changes, queries, task_calls, tasks
from agentd.record.index.index import Index
from agentd.record.queries import Filter, Group
from agentd.record.trace import reader

_MOST = 500  # tasks or groups in one answer


def _field(name: str, text: str, kind: str = "string") -> Parameter:
    return Parameter(name=name, place="query", text=text, schema={"type": kind})


_SINCE = _field("since", "Only what is newer: `2h`, `7d`.")

TASKS = Operation(
    name="listRecordedTasks",
    summary="Find tasks",
    gives={200: ("The newest tasks that fit, the newest first.", models.RecordedTasks)},
    parameters=[
        _field("text", "Words of the question or the answer."),
        _field("agent", "Those that it sent, answered or is asked for."),
        _field("state", "`failed`, or `waiting` for those without a result."),
        _SINCE,
        _field("limit", f"How many, at most {_MOST}.", "integer"),
    ],
    right="read",
)
TRACE = Operation(
    name="getTrace",
    summary="Read what happened in a task or a conversation",
    gives={200: ("The tree, as `agentd trace --json`.", models.Trace)},
    parameters=[_field("prompts", "`true`: with what each model was sent.", "boolean")],
    right="read",
)
CALLS = Operation(
    name="listCalls",
    summary="Read what the models of a task were sent",
    gives={200: ("The calls, in their order, each with all its messages.", models.Calls)},
    right="read",
)
RECORD = Operation(
    name="getRecord",
    summary="Read a record of the log",
    gives={200: ("The record.", models.Record)},
    right="read",
)
COSTS = Operation(
    name="listCosts",
    summary="Read what tasks have cost",
    gives={200: ("The dearest group first; days in their order.", models.Costs)},
    parameters=[_field("by", f"One of {', '.join(get_args(Group))}."), _SINCE],
    right="read",
)
REVISIONS = Operation(
    name="listRevisions",
    summary="List the revisions of an agent",
    gives={200: ("Those on record, the newest first.", models.Revisions)},
    right="read",
)
CHANGES = Operation(
    name="getChanges",
    summary="Read what changed with a revision",
    gives={200: ("The files that differ.", models.Changes)},
    parameters=[_field("since", "The revision to compare with; left out, the one before.")],
    right="read",
)


def routes(backend: Backend) -> Sequence[DescribedRoute]:
    """`/api/record`."""
    door = _RecordDoor(backend)
    return [
        DescribedRoute("GET", "/api/record/tasks", door.tasks, TASKS),
        DescribedRoute("GET", "/api/record/tasks/{id}/calls", door.calls, CALLS),
        DescribedRoute("GET", "/api/record/traces/{id}", door.trace, TRACE),
        DescribedRoute("GET", "/api/record/messages/{sequence}", door.message, RECORD),
        DescribedRoute("GET", "/api/record/costs", door.costs, COSTS),
        DescribedRoute("GET", "/api/record/revisions/{agent}", door.revisions, REVISIONS),
        DescribedRoute(
            "GET", "/api/record/revisions/{agent}/{revision}/changes", door.changes, CHANGES
        ),
    ]


class _RecordDoor:
    def __init__(self, backend: Backend) -> None:
        self._bus, self._env = backend.bus, backend.subjects.env
        settings = backend.settings
        self._index = Index(backend.bus, settings.index_folder, apart=settings)

    async def tasks(self, request: Request) -> Response:
        """The tasks that fit."""
        _require_all(request)
        given = request.query_params
        state = given.get("state", "")
        where = Filter(
            env=self._env,
            since=_since(given),
            agent=given.get("agent") or None,
            failed=state == "failed",
            text=given.get("text") or None,
        )
        limit, waiting = _limit(given), state == "waiting"
        found = await self._index.ask(
            lambda db: tasks.tasks(db, where, limit=limit, waiting=waiting)
        )
        return JSONResponse({"tasks": [asdict(each) for each in found]})

    async def trace(self, request: Request) -> Response:
        """The tree of a task or a conversation."""
        _require_all(request)
        name = request.path_params["id"]
        try:
            found = await reader.trace(self._index, self._bus, self._env, name)
        except UsageError as error:
            raise Refusal(404, "not_on_record", str(error)) from None
        tree = found.tree.as_json(prompts=request.query_params.get("prompts") == "true")
        return JSONResponse({"tree": tree, "asked": found.asked, "missing": found.missing})

    async def calls(self, request: Request) -> Response:
        """The calls of the models of a task."""
        _require_all(request)
        found = await task_calls.calls(self._index, self._bus, self._env, request.path_params["id"])
        shown = [
            {**e.details, "life": life, "turn": e.turn, "messages": list(e.messages)}
            for life, e in found
        ]
        return JSONResponse({"calls": shown})

    async def message(self, request: Request) -> Response:
        """One record."""
        _require_all(request)
        name = request.path_params["sequence"]
        entry = None
        if name.isascii() and name.isdecimal() and len(name) < 19:
            entry = await reader.record(self._bus, self._env, int(name))
        if entry is None:
            raise Refusal(404, "not_on_record", f"the log has no record {name[:40]!r}")
        found = {"sequence": entry.sequence, "at": entry.at, "subject": str(entry.subject)}
        return JSONResponse({**found, "message": entry.message})

    async def costs(self, request: Request) -> Response:
        """What groups of tasks have cost."""
        _require_all(request)
        given = request.query_params
        by = given.get("by", "day")
        if by not in get_args(Group):
            raise UsageError(f"`by` must be one of {', '.join(get_args(Group))}")
        since, group = _since(given), cast("Group", by)
        found = await self._index.ask(
            lambda db: queries.costs(db, self._env, group, since=since, limit=_MOST)
        )
        groups = [asdict(each) for each in found.groups]
        total = asdict(found.total)
        return JSONResponse({"costs": groups, "total": total, "more": found.more})

    async def revisions(self, request: Request) -> Response:
        """The revisions of an agent."""
        found = await changes.of_agent(self._bus, self._env, _agent(request))
        return JSONResponse({"revisions": [asdict(each) for each in reversed(found)]})

    async def changes(self, request: Request) -> Response:
        """What changed with a revision."""
        agent, name = _agent(request), request.path_params["revision"]
        every = await changes.of_agent(self._bus, self._env, agent)
        places = {each.revision: place for place, each in enumerate(every)}
        if name not in places:
            raise Refusal(404, "not_on_record", f"{agent} has no revision {name[:40]!r} on record")
        after, since = every[places[name]], request.query_params.get("since")
        if since is not None and since not in places:
            raise Refusal(404, "not_on_record", f"{agent} has no revision {since[:40]!r} on record")
        place = places[name] - 1 if since is None else places[since]
        if place < 0:
            return JSONResponse({"before": None, "after": name, "changes": []})
        found = await changes.between(self._bus, self._env, every[place], after)
        shown = [asdict(each) for each in found]
        return JSONResponse({"before": every[place].revision, "after": name, "changes": shown})


def _require_all(request: Request) -> None:
    """Returns if the key may read what all agents did: a conversation may be of any of them.

    Raises:
        Refusal: 403.
    """
    caller: Caller = request.state.caller
    caller.require("read")
    if caller.agents is not None:
        text = f"{caller.name!r} may not read the record: its key is for some agents only"
        raise Refusal(403, "forbidden", text)


def _agent(request: Request) -> str:
    """The agent of the path, if the key is for it."""
    name = request.path_params["agent"]
    if not is_token(name):
        raise Refusal(404, "not_on_record", f"{name[:100]!r} is no name of an agent")
    request.state.caller.require("read", agent=name)
    return name


def _since(given: Mapping[str, str]) -> float | None:
    stated = given.get("since")
    if not stated:
        return None
    try:
        return time.time() - seconds(stated)
    except ValueError as error:
        raise UsageError(f"`since`: {error}") from None


def _limit(given: Mapping[str, str]) -> int:
    stated = given.get("limit", "100")
    if not (stated.isascii() and stated.isdecimal() and 0 < len(stated) < 6):
        raise UsageError("`limit` must be a number")
    return max(1, min(int(stated), _MOST))
