"""A stub model that calls the first tool of a request, then answers: two calls for a task."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from typing import Any

from agentd.testing.stub_model import Behaviour, StubModel

# The arguments of each tool, by its name.
ARGUMENTS = {
    "add": '{"a": 1, "b": 2}',
    "helper": '{"instruction": "Help."}',
}


def plan(_number: int, body: Mapping[str, Any]) -> Behaviour | None:
    """Calls a tool in the first turn. None, a plain answer, in the second turn or without tools."""
    if not body.get("tools") or body["messages"][-1]["role"] == "tool":
        return None
    name = body["tools"][0]["function"]["name"]
    return Behaviour(tool_calls=[{"name": name, "arguments": ARGUMENTS[name]}])


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with StubModel(plan=plan).serve() as stub:
        print(stub.url, flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
