"""The time of one tool call, beyond the two model calls before and after it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import aiohttp
from nats.aio.client import Client

from bench.batch import at_once, lane
from bench.child import Child, running
from bench.figures import Figure, Section
from bench.rig import ROOT, STUB_KEY, Rig, manifest, rig, write_project

_ADDING = '''"""A tool that takes almost no time."""


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b
'''
_TOOLS: Mapping[str, str] = {
    "none": "[]",
    "python": "[{python: adding.py:add}]",
    "mcp": f"[{{mcp: {{command: [{sys.executable}, {ROOT}/bench/adding_server.py]}}}}]",
    "agent": "[{agent: helper}]",
}


@dataclass(frozen=True)
class Sample:
    """The medians of a round, in ms.

    Attributes:
        call: one bare call of the model.
        task: by kind of tool, a task from its publish to its result.
        cpu: by kind of tool, the CPU of agentd for a task.
    """

    call: float
    task: Mapping[str, float]
    cpu: Mapping[str, float]

    def trip(self, kind: str) -> float:
        """The time of the tool: that of its task less a task without a tool and a model call."""
        return self.task[kind] - self.task["none"] - self.call


async def measure(*, repeats: int, asks: int) -> list[Section]:
    """One section: one task at a time, with each kind of tool and without a tool."""
    async with rig("relaxed") as ground:
        command = [sys.executable, "-m", "bench.calling_stub"]
        environ = ground.environ() | {"PYTHONPATH": str(ROOT)}
        async with (
            running(command, ready="http://", folder=ground.folder, environ=environ) as stub,
            ground.agents(_project(ground, stub.line)) as child,
            ground.connect() as client,
            aiohttp.ClientSession() as http,
        ):
            await _round(client, child, http, stub.line, 5)
            samples = [await _round(client, child, http, stub.line, asks) for _ in range(repeats)]
    return [_section(samples, asks)]


def _project(ground: Rig, stub_url: str) -> Path:
    model = f"{{name: openai/stub, api_base: '{stub_url}', api_key: {STUB_KEY}}}"
    manifests = {
        kind: manifest(kind, model, tools=tools, stream="false") for kind, tools in _TOOLS.items()
    }
    helper = manifest("helping", "mock/echo", stream="false")
    project = write_project(ground.folder / "project", {**manifests, "helper": helper})
    (project / "tools").mkdir()
    (project / "tools" / "adding.py").write_text(_ADDING)
    return project


async def _round(
    client: Client, child: Child, http: aiohttp.ClientSession, url: str, asks: int
) -> Sample:
    tasks: dict[str, float] = {}
    used: dict[str, float] = {}
    call = median([await _bare_call(http, url) for _ in range(asks)])
    for kind in _TOOLS:
        before = child.cpu()
        where = lane(kind)
        took = [max(await at_once(client, [where.tasks], where.results)) for _ in range(asks)]
        tasks[kind] = median(took) * 1000
        used[kind] = (child.cpu() - before) * 1000 / asks
    return Sample(call, tasks, used)


async def _bare_call(http: aiohttp.ClientSession, url: str) -> float:
    body = {"model": "stub", "messages": [{"role": "user", "content": "Go on."}]}
    started = time.perf_counter()
    async with http.post(f"{url}/chat/completions", json=body) as response:
        await response.read()
    return (time.perf_counter() - started) * 1000


def _section(samples: list[Sample], asks: int) -> Section:
    figures = [
        Figure(name="a bare call of the model", unit="ms", samples=tuple(s.call for s in samples))
    ]
    for kind in _TOOLS:
        what = "without a tool" if kind == "none" else f"with a tool, {kind}"
        tasks = tuple(sample.task[kind] for sample in samples)
        cpu = tuple(sample.cpu[kind] for sample in samples)
        figures.append(Figure(name=f"a task {what}", unit="ms", samples=tasks))
        figures.append(Figure(name="its CPU in agentd", unit="ms", samples=cpu))
        if kind != "none":
            over = tuple(sample.task[kind] - 2 * sample.call for sample in samples)
            figures.append(Figure(name="over two bare calls", unit="ms", samples=over))
            trips = tuple(sample.trip(kind) for sample in samples)
            figures.append(Figure(name="of that, the tool's round trip", unit="ms", samples=trips))
    return Section(
        title="A tool's round trip, durability relaxed",
        figures=figures,
        notes=[
            f"Medians of {asks} tasks, one at a time. The stub answers immediately, and calls the "
            "tool in the first of two turns. The tool's round trip is the time of such a task less "
            "that of a task without a tool and of a second bare call. It consists of the call "
            "itself and of three entries in the journal. `agent` is an agent with mock/echo."
        ],
    )
