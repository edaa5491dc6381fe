"""Serves a question: the answer as one object, or as a stream."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agentd.doors.caller import Caller
from agentd.doors.openai import errors, follow
from agentd.doors.openai.answer import Answer
from agentd.doors.openai.ask import Asking, Order
from agentd.doors.openai.errors import BadRequest
from agentd.doors.openai.fields import Object
from agentd.doors.openai.follow import Writer
from agentd.doors.openai.long_response import AnswerStream, LateResponse
from agentd.errors import BusError, DecodeError
from agentd.nats.objects import MOST
from agentd.protocol.strict_json import parse

log = logging.getLogger(__name__)

TASK = "X-Task-Id"  # a header of each answer: the task that it is
_KEY = "Idempotency-Key"
_LONGEST_KEY = 255


async def body_of(request: Request) -> Object:
    """The JSON object that a request consists of.

    Raises:
        BadRequest: it is none.
    """
    try:
        body = parse(await request.body(), most=MOST)
    except DecodeError as error:
        raise BadRequest("the body", f"cannot be read: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest("the body", "must be a JSON object")
    return body


def caller_of(request: Request) -> Caller:
    """Who asks, as the guard has found out."""
    return request.state.caller


def key_of(request: Request) -> str | None:
    """The key under which a client sends its question once; None if it has none.

    Raises:
        BadRequest: it is too long.
    """
    key = request.headers.get(_KEY)
    if key is not None and not 0 < len(key) <= _LONGEST_KEY:
        raise BadRequest(_KEY, f"must have 1 to {_LONGEST_KEY} characters")
    return key


def whole(asking: Asking, order: Order, made: Callable[[Answer], Any]) -> Response:
    """The response with the whole answer, as the object that is `made` of it."""

    async def respond() -> Response:
        answer = await asking.answer(order)
        if answer.error:
            raise answer.error
        return JSONResponse(made(answer), headers={TASK: order.task})

    farewell = errors.response(follow.ending(order.task))
    return LateResponse(respond, farewell, drained=asking.drained)


def stream(
    asking: Asking,
    order: Order,
    writer: Writer,
    *,
    begin: Iterable[bytes] = (),
    until_gone: bool = True,
) -> Response:
    """The response with the answer in pieces, after what it is to `begin` with. With `until_gone`,
    the task is cancelled when the client goes: nobody waits for the answer any more."""

    async def gone() -> None:
        if not until_gone:
            return
        try:
            await asking.abandon(order.task)
        except BusError as error:
            log.warning("task %s goes on, although its client has gone: %s", order.task, error)

    async def respond() -> Response:
        async with contextlib.AsyncExitStack() as stack:
            sent = await stack.enter_async_context(asking.asked(order))
            first = await follow.first(order.task, sent.events)
            if first.message and (error := Answer.of(first.message).error):
                raise error
            at_once = order.question.schema is not None or sent.target.gives_values
            events = follow.behind(first, sent.events)
            written = follow.written(order.task, events, writer, whole=at_once)
            return AnswerStream(
                _after(begin, written),
                farewell=lambda: writer.failed(follow.ending(order.task)),
                gone=gone,
                close=stack.pop_all().aclose,
                headers={TASK: order.task},
                drained=asking.drained,
            )
        raise AssertionError("unreachable")

    farewell = errors.response(follow.ending(order.task))
    return LateResponse(respond, farewell, drained=asking.drained)


async def _after(begin: Iterable[bytes], others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for event in begin:
        yield event
    async for event in others:
        yield event
