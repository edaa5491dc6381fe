"""Runs with tools whose replicas die between two steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from agentd import crash_points
from agentd.testing.stub_reply import Behaviour
from agentd.testing.torture.harness import World
from agentd.testing.torture.oracle import Allowed
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.scenarios.kills import die_at
from agentd.testing.torture.sender import TaskDraft

_TOOL = '''
    """A tool whose effect must not happen twice."""

    import os


    def note(word: str) -> str:
        """Appends a word to a file."""
        file = os.open({file!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(file, f"{{word}}\\n".encode())
        os.close(file)
        return "noted"
'''


async def turns(world: World, size: Size) -> None:
    """Replicas die between model and tool: no stored turn is paid again, no effect is repeated."""
    noted = world.folder / "noted.txt"
    (world.folder / "tools").mkdir()
    (world.folder / "tools" / "note.py").write_text(dedent(_TOOL.format(file=str(noted))))
    tools = [{"python": "note.py:note", "effects": True}]
    world.agent(tools=tools, limits={"concurrency": 1})
    world.behave = _call_then_answer
    explained = tasks = lost = 0
    for point in crash_points.OF_TOOLS:
        before = world.calls.extra
        names, deaths = await die_at(world, point, size, draft=lambda _: TaskDraft())
        # Each task has a second turn. A first turn is paid again if the replica died before it was
        # stored.
        extra = world.calls.extra - before - len(names)
        allowed = deaths if point == "after-turn" else 0
        world.findings.figures[point] = deaths
        world.findings.require(extra <= allowed, f"{point}: {extra} extra calls in {deaths} deaths")
        world.findings.require(deaths >= size.shocks, f"{point}: died only {deaths} times")
        tasks, explained = tasks + len(names), explained + allowed
        lost += deaths if point == "before-tool" else 0
    words = _words(noted)
    twice = [word for word, times in words.items() if times > 1]
    world.findings.require(not twice, f"{len(twice)} effects happened twice: {twice[:3]}")
    missing = tasks - len(words)
    world.findings.require(
        missing <= lost, f"{missing} effects never happened; {lost} deaths explain this"
    )
    await world.judge(Allowed(extra_calls=tasks + explained))


def _call_then_answer(task: str, body: Mapping[str, Any]) -> Behaviour:
    if any(message["role"] == "tool" for message in body["messages"]):
        return Behaviour(text="done", latency=0.01)
    call = {"name": "note", "arguments": {"word": task}}
    return Behaviour(text="", latency=0.01, tool_calls=[call])


def _words(file: Path) -> Counter[str]:
    return Counter(file.read_text().split() if file.exists() else ())
