"""`POST /hooks/{name}`: the webhooks of the agents that run here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agentd.catalog.spec import AgentSpec
from agentd.doors.backend import Backend
from agentd.doors.refusal import Refusal, refusal_of
from agentd.doors.triggers import signatures
from agentd.doors.triggers.delivery import of_request
from agentd.doors.triggers.draft import TriggerError, draft
from agentd.doors.triggers.intake import Intake
from agentd.doors.triggers.outcome import Work
from agentd.errors import AgentdError, DecodeError, TaskError
from agentd.manifest.triggers.trigger import Trigger
from agentd.nats.shared_value import Secret
from agentd.protocol.message import AgentMessage
from agentd.protocol.result import data_of, error_of, is_success
from agentd.routing.accept import Acceptance

TASK_HEADER = "Agentd-Task"

_IGNORED = {"status": "ignored", "reason": "`when` is not true"}


def routes(backend: Backend) -> list[Route]:
    """The one route of all webhooks. Which of them exist is asked at each request: an edit of a
    manifest counts at once."""
    hooks = _Webhooks(backend)
    return [Route("/hooks/{name}", hooks.serve, methods=["POST"])]


@dataclass(frozen=True)
class _Taken:
    """What became of a delivery: a task, or a response without one."""

    outcome: str
    response: Response | None = None
    accepted: Acceptance | None = None


class _Webhooks:
    """Answers requests to webhooks."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._secret = Secret()
        self._intake: Intake | None = None

    async def serve(self, request: Request) -> Response:
        """Checks the request, stores its task, and answers as the trigger says."""
        stranger: Refusal | None = getattr(request.state, "stranger", None)
        spec, trigger = self._find(request.path_params["name"], stranger)
        try:
            _require_open(trigger, stranger)
            taken = await self._take(request, spec, trigger)
        except AgentdError as error:
            refusal = _refusal(error)
            self._count(trigger, "refused" if refusal.status < 500 else "failed")
            raise refusal from error
        self._count(trigger, taken.outcome)
        if taken.response:
            return taken.response
        assert taken.accepted is not None
        response = await self._answer(trigger, taken.accepted)
        response.headers[TASK_HEADER] = taken.accepted.task
        return response

    def _count(self, trigger: Trigger, outcome: str) -> None:
        self._backend.metrics.trigger(trigger.kind, trigger.name, outcome)

    def _find(self, name: str, stranger: Refusal | None) -> tuple[AgentSpec, Trigger]:
        found = next(
            (each for each in webhooks(self._backend.specs()) if each[1].name == name), None
        )
        if found is None:
            text = f"no agent here has a webhook {name[:64]!r}"
            raise stranger or Refusal(404, "no_webhook", text)
        return found

    async def _take(self, request: Request, spec: AgentSpec, trigger: Trigger) -> _Taken:
        """Verifies the request, and stores the task that it starts."""
        headers, body = _headers(request), await request.body()
        assert trigger.verify is not None
        signatures.check(trigger.verify, headers, body, now=time.time())
        kind = trigger.verify.kind
        delivery = of_request(kind, headers, request.scope["query_string"], body)
        if kind == "slack" and (challenge := _challenge(delivery.content)):
            return _Taken("checked", PlainTextResponse(challenge))
        planned = draft(spec, trigger, delivery)
        if planned is None:
            return _Taken("ignored", JSONResponse(_IGNORED))
        accepted = await (await self._opened()).accept(planned)
        return _Taken("repeated" if accepted.repeated else "accepted", accepted=accepted)

    async def _opened(self) -> Intake:
        """The intake, once the secret of the environment is read."""
        if self._intake is None:
            bus, subjects = self._backend.bus, self._backend.subjects
            await self._secret.read(bus, subjects.env)
            self._intake = Intake(bus, subjects, self._secret)
        return self._intake

    async def _answer(self, trigger: Trigger, accepted: Acceptance) -> Response:
        if trigger.answer == "accepted":
            return _accepted(accepted)
        intake, task = await self._opened(), accepted.task
        # The end of the work is behind its task in the log.
        start = max(accepted.sequence, 1)
        work = Work(
            intake.bus,
            intake.subjects,
            task,
            until=trigger.until,
            start=start,
            acceptance=accepted,
        )
        end = await self._backend.draining.before(work.end(trigger.timeout))
        return _accepted(accepted) if end is None else _result(end, task)


def webhooks(specs: Mapping[str, AgentSpec]) -> Iterator[tuple[AgentSpec, Trigger]]:
    """The webhooks of these agents, in an order that is the same at all processes."""
    for _, spec in sorted(specs.items()):
        for trigger in spec.manifest.triggers:
            if trigger.kind == "webhook":
                yield spec, trigger


def _require_open(trigger: Trigger, stranger: Refusal | None) -> None:
    """Returns if the webhook answers a request that the guard takes for a stranger's.

    Raises:
        Refusal: it does not.
    """
    if stranger is None:
        return
    # A tunnel to this machine keeps its own name in `Host`, and the signature says who sends. But a
    # page in a browser here can send requests too, and nothing tells those without one apart.
    by_tunnel = stranger.code in ("wrong_host", "foreign_origin")
    if trigger.is_unsigned or not (by_tunnel or trigger.public):
        raise stranger


def _headers(request: Request) -> dict[str, str]:
    """The headers by their names in lower case. Of a name that occurs twice, all values count:
    which of two signatures a proxy in front has checked cannot be known."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _challenge(body: Any) -> str:
    """What Slack wants to read before it sends events to a URL; "" if it does not ask.

    https://docs.slack.dev/reference/events/url_verification
    """
    if isinstance(body, dict) and body.get("type") == "url_verification":
        return str(body.get("challenge", ""))[:1_000]
    return ""


def _accepted(accepted: Acceptance) -> Response:
    status = "accepted before" if accepted.repeated else "accepted"
    content = {"status": status, "task": accepted.task, "to": accepted.to}
    return JSONResponse(content, 202, {"Location": f"/api/tasks/{accepted.task}"})


def _result(end: AgentMessage, task: str) -> Response:
    if not is_success(end):
        code, text = error_of(end)
        refusal = refusal_of(TaskError(text, code=code))
        refusal.headers[TASK_HEADER] = task
        raise refusal
    data = data_of(end)
    return PlainTextResponse(data) if isinstance(data, str) else JSONResponse(data)


def _refusal(error: AgentdError) -> Refusal:
    if isinstance(error, TriggerError):
        return Refusal(422, "trigger_failed", str(error))
    if isinstance(error, DecodeError):
        return Refusal(400, "malformed", str(error))
    return refusal_of(error)
