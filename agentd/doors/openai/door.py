"""The OpenAI-compatible door: agents as models, tasks as completions and responses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentd.doors.backend import Backend
from agentd.doors.openai import chat_request, errors, follow, models, responses_request
from agentd.doors.openai.ask import Asking, Order
from agentd.doors.openai.chat_response import Chunks, completion
from agentd.doors.openai.errors import BadRequest
from agentd.doors.openai.fields import flag, text
from agentd.doors.openai.long_response import AnswerStream
from agentd.doors.openai.question import Question, conversation
from agentd.doors.openai.responses import Responses
from agentd.doors.openai.responses_response import PREFIX, Events
from agentd.doors.openai.responses_response import Response as Made
from agentd.doors.openai.serving import TASK, body_of, caller_of, key_of, stream, whole
from agentd.doors.refusal import Refusal
from agentd.routing.stream import opened

# Some programs are given the address with `/v1`, and some without.
BASES = ("/v1", "")
# The paths whose errors have the shape of OpenAI.
PATHS = ("/v1/", "/models", "/chat/completions", "/responses")

# The conversation that a question belongs to. A client that sends it lets agentd keep the history.
CONVERSATION = "X-Conversation-Id"

Handler = Callable[[Request], Awaitable[Response]]


def routes(backend: Backend) -> list[Route]:
    """The routes of the door, with and without `/v1`."""
    door = _Door(backend)
    handlers: Mapping[str, tuple[str, Handler]] = {
        "/models": ("GET", door.models),
        "/models/{model}": ("GET", door.model),
        "/chat/completions": ("POST", door.chat),
        "/responses": ("POST", door.respond),
        "/responses/{response}": ("GET", door.response),
        "/responses/{response}/cancel": ("POST", door.cancel),
    }
    return [
        Route(base + path, handler, methods=[method])
        for base in BASES
        for path, (method, handler) in handlers.items()
    ]


class _Door:
    def __init__(self, backend: Backend) -> None:
        self._bus = backend.bus
        self._subjects = backend.subjects
        self._asking = Asking(backend)
        self._responses = Responses(backend.bus, backend.subjects)

    async def models(self, request: Request) -> Response:
        """Every agent and capability."""
        return JSONResponse({"object": "list", "data": await self._listed(request)})

    async def model(self, request: Request) -> Response:
        """One agent or capability."""
        name = request.path_params["model"]
        for model in await self._listed(request):
            if model["id"] == name:
                return JSONResponse(model)
        raise Refusal(404, "no_taker", f"no agent and no capability is called {name[:100]!r}")

    async def chat(self, request: Request) -> Response:
        """A completion. The messages of the client are the history; only a client that names a
        conversation, and sends no earlier answers, has agentd remember."""
        body = await body_of(request)
        question, task = chat_request.question(body), key_of(request)
        named = conversation(request.headers.get(CONVERSATION), CONVERSATION)
        memory = named is not None and not question.keeps_history
        caller = caller_of(request)
        order = Order.under(task, question, caller, conversation=named, memory=memory)
        if question.stream:
            usage = chat_request.wants_usage(body)
            return stream(self._asking, order, Chunks(order.task, question.model, usage=usage))
        return whole(
            self._asking, order, lambda answer: completion(order.task, question.model, answer)
        )

    async def respond(self, request: Request) -> Response:
        """A response. agentd remembers it, unless the client sends earlier answers itself."""
        body = await body_of(request)
        order = await self._order(request, responses_request.question(body))
        made = Made(order.task, order.question.model, body)
        background = flag(body, "background")
        if order.question.stream:
            events = Events(made)
            begin = events.begin()
            return stream(self._asking, order, events, begin=begin, until_gone=not background)
        if background:
            await self._asking.send(order)
            return JSONResponse(made.open("queued"), headers={TASK: order.task})
        return whole(self._asking, order, made.closed)

    async def response(self, request: Request) -> Response:
        """A response that was sent before, as it is now, or as a stream."""
        name = request.path_params["response"]
        found = await self._responses.status(name, caller_of(request))
        if request.query_params.get("stream") != "true":
            return JSONResponse(await self._responses.shown(name, found))
        made = await self._responses.response(name, found)
        return await self._again(made, after=_number(request.query_params.get("starting_after")))

    async def cancel(self, request: Request) -> Response:
        """Cancels a response, unless it has ended."""
        name, caller = request.path_params["response"], caller_of(request)
        found = await self._responses.status(name, caller)
        if found.result is not None:
            return JSONResponse(await self._responses.shown(name, found))
        mine = found.acceptance is not None and found.acceptance.by == caller.name
        caller.require("ask" if mine else "operate")
        await self._asking.cancel(name.removeprefix(PREFIX), caller)
        made = await self._responses.response(name, found)
        return JSONResponse(made.open("cancelled"))

    async def _listed(self, request: Request) -> list[dict[str, Any]]:
        caller = caller_of(request)
        if "read" not in caller.may:
            caller.require("ask")  # who may ask must know whom
        return models.listed(await self._asking.directory.online(), caller)

    async def _order(self, request: Request, question: Question) -> Order:
        body, caller = question.body, caller_of(request)
        named = responses_request.conversation_of(body)
        named = named or conversation(request.headers.get(CONVERSATION), CONVERSATION)
        if body.get("previous_response_id") is not None:
            if named:
                problem = "cannot be combined with a conversation: it is one"
                raise BadRequest("previous_response_id", problem)
            response = text(body["previous_response_id"], "previous_response_id")
            previous = await self._responses.previous(response, caller)
            question, named = previous.continued(question), previous.conversation
        memory = named is not None or not (question.keeps_history or body.get("store") is False)
        how: dict[str, Any] = {"conversation": named, "memory": memory, "kept": True}
        return Order.under(key_of(request), question, caller, **how)

    async def _again(self, made: Made, *, after: int) -> Response:
        """The stream of a response that may have begun long ago."""
        events = Events(made, after=after)
        begin = list(events.begin())

        async def written() -> AsyncIterator[bytes]:
            for event in begin:
                yield event
            async with opened(self._bus, self._subjects, made.task) as happening:
                async for event in follow.written(made.task, happening, events, whole=False):
                    yield event

        async def nothing() -> None: ...

        return AnswerStream(
            written(),
            farewell=lambda: events.failed(follow.ending(made.task)),
            gone=nothing,
            close=nothing,
            headers={TASK: made.task},
            drained=self._asking.drained,
        )


def _number(given: str | None) -> int:
    """The event behind which a client wants to go on; -1 for all.

    Raises:
        BadRequest: it is no number.
    """
    if given is None:
        return -1
    if not given.isdecimal():
        raise BadRequest("starting_after", "must be the `sequence_number` of an event")
    return int(given)


SHAPES = dict.fromkeys(PATHS, errors.response)
