"""A small MCP server that can fail in many ways: `faulty.py [FAULT]`. It starts quickly.

Faults at the start: `mute`, `banner`, `exits`, `stubborn`. Faults of its list of tools: `endless`
(each page has a cursor), `restless` (it reports a change after each list). The others are tools.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

fault = sys.argv[1] if len(sys.argv) > 1 else ""
cancelled: list[Any] = []
lists = 0
tools = ["echo", "pid", "environment", "die", "slow", "block", "huge", "garbage", "loud"]
tools += ["cancellations", "lists", "grow", "mute"]
writing = threading.Lock()


def say(**message: Any) -> None:
    with writing:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def answer(request: int, text: str, *values: Any) -> None:
    content = [{"type": "text", "text": text}]
    more = {"structuredContent": {"values": values}} if values else {}
    say(id=request, result={"content": content, "isError": False, **more})


def call(request: int, name: str, arguments: dict[str, Any]) -> None:
    match name:
        case "echo":
            answer(request, str(arguments.get("text")))
        case "pid":
            answer(request, f"{os.getpid()}")
        case "environment":
            answer(request, json.dumps(dict(os.environ)))
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "slow":
            threading.Timer(arguments["seconds"], answer, (request, "at last")).start()
        case "block":
            time.sleep(1000)
        case "huge":
            answer(request, "x" * arguments["size"], *[[]] * arguments.get("values", 0))
        case "garbage":
            sys.stdout.write("Hello!\n{\n\xff[1,2\n\n" * arguments["times"])
            answer(request, "that was garbage")
        case "loud":
            sys.stderr.write("no end of it\n" * arguments["times"])
            answer(request, "that was loud")
        case "cancellations" | "lists":
            answer(request, json.dumps(cancelled if name == "cancellations" else lists))
        case "grow":
            tools.append("grown")
            say(method="notifications/tools/list_changed")
            answer(request, "done")
        case _:
            globals()["fault"] = "mute"


def listed(cursor: str | None) -> dict[str, Any]:
    """Five tools a page."""
    global lists  # noqa: PLW0603 (the program is one script)
    lists += 1
    if fault == "endless":
        schema = {"type": "object"}
        some = [{"name": name, "inputSchema": schema} for name in tools]
        return {"tools": some, "nextCursor": f"{lists}"}
    first = int(cursor or 0)
    schema = {"type": "object"}
    page = [{"name": name, "inputSchema": schema} for name in tools[first : first + 5]]
    more = {"nextCursor": str(first + 5)} if len(tools) > first + 5 else {}
    return {"tools": page, **more}


def take(message: dict[str, Any]) -> None:
    request, params = message.get("id"), message.get("params", {})
    match message["method"]:
        case "initialize":
            server = {"name": "faulty", "version": "1"}
            capabilities = {"tools": {"listChanged": True}}
            version = params["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": capabilities}
            say(id=request, result={**result, "serverInfo": server})
        case "tools/list":
            say(id=request, result=listed(params.get("cursor")))
            if fault == "restless":
                say(method="notifications/tools/list_changed")
        case "tools/call":
            call(request or 0, params["name"], params.get("arguments", {}))
        case "notifications/cancelled":
            cancelled.append(params.get("requestId"))
        case _ if request is not None:
            say(id=request, error={"code": -32601, "message": "no such method"})
        case _:
            pass


if fault == "exits":
    sys.exit("there is no database")
if fault == "banner":
    print("Welcome to faulty 1.0!\n\nListening...")
if fault == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "300"])
for line in sys.stdin:
    if fault != "mute":
        take(json.loads(line))
if fault == "stubborn":
    time.sleep(300)
