"""An OpenAI-compatible model server whose answers, delays and faults a test chooses.

    python -m agentd.testing.stub_model --port 0 --latency 1.0

prints its base URL (`http://127.0.0.1:PORT/v1`) and serves until SIGINT or SIGTERM. A `Behaviour`
decides how a request is answered. It comes from the first of these sources that has one:

* `"stub": {"fault": "429", "latency": 0.2}` in the body (a manifest's `parameters` arrive there),
* a model whose name ends in `fault-NAME`, such as `openai/fault-429`,
* the server's `plan(number, body)`,
* the server's default.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, get_args

from aiohttp import web

from agentd.testing.stub_reply import HUGE, Behaviour, Fault, StubReply

__all__ = ["HUGE", "Behaviour", "Fault", "StubModel"]

_FAULT_NAME = re.compile(r"fault-([a-z0-9-]+)$")
Plan = Callable[[int, Mapping[str, Any]], Behaviour | None]


class StubModel:
    """The server.

    Attributes:
        behaviour: how requests are answered by default.
        plan: a function of a request's number (from 1) and body that may choose another behaviour.
        count, in_flight, peak: requests so far, now, and the most at one time.
        sent: bytes of `huge` answers so far.
        last, headers: the bodies and the headers of the newest 1,000 requests.
        url: the base URL, while it serves.
    """

    def __init__(self, behaviour: Behaviour | None = None, *, plan: Plan | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.plan = plan
        self.count = self.in_flight = self.peak = 0
        self.sent = 0
        self.last: deque[dict[str, Any]] = deque(maxlen=1000)
        self.headers: deque[Mapping[str, str]] = deque(maxlen=1000)
        self.url = ""

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[StubModel]:
        """Serves until the block ends. Port 0 takes a free port."""
        app = web.Application(client_max_size=64 * 1024 * 1024)  # bytes; images are large
        app.router.add_post("/v1/chat/completions", self.answer)
        app.router.add_get("/stats", self._stats)
        # A caller that gives up cancels its handler; otherwise `in_flight` would count it further.
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        # With the default backlog of 128, some connections of a thousand take a second to open.
        site = web.TCPSite(runner, host, port, backlog=4096)
        try:
            await site.start()
            self.url = f"http://{host}:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            await runner.cleanup()

    async def _stats(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {"calls": self.count, "in_flight": self.in_flight, "peak": self.peak}
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Handles `POST /v1/chat/completions`."""
        body = await request.json()
        self.count += 1
        self.last.append(body)
        self.headers.append(request.headers)
        behaviour = self._behaviour(body)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if behaviour.latency:
                await asyncio.sleep(behaviour.latency)
            return await StubReply(request, body, behaviour, self._on_sent).send()
        finally:
            self.in_flight -= 1

    def _on_sent(self, size: int) -> None:
        self.sent += size

    def _behaviour(self, body: Mapping[str, Any]) -> Behaviour:
        requested = body.get("stub")
        if requested:
            return replace(self.behaviour, **requested)
        named = _FAULT_NAME.search(str(body.get("model", "")))
        if named and named[1] in get_args(Fault):
            return replace(self.behaviour, fault=named[1])
        return (self.plan and self.plan(self.count, body)) or self.behaviour


async def _main(arguments: argparse.Namespace) -> None:
    stub = StubModel(
        Behaviour(
            tokens=arguments.tokens,
            latency=arguments.latency,
            interval=arguments.interval,
            fault=arguments.fault,
        )
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with stub.serve(arguments.host, arguments.port):
        print(stub.url, flush=True)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible stub model.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before the response")
    parser.add_argument("--tokens", type=int, default=20, help="words in an answer")
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between two chunks")
    parser.add_argument("--fault", choices=get_args(Fault), help="the fault of every answer")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
