"""The memory of one agent and of each further agent, and the start of many."""

from __future__ import annotations

import asyncio

from bench.figures import Figure, Section
from bench.rig import Rig, manifest, rig, write_project

MANY = 1000
_REST = 3.0  # seconds after the start until a process is idle


async def measure(*, repeats: int) -> list[Section]:
    """One section."""
    one: list[tuple[float, float]] = []
    many: list[tuple[float, float]] = []
    async with rig("always") as ground:
        for number in range(repeats):
            one.append(await _start(ground, f"one{number}", 1))
            many.append(await _start(ground, f"many{number}", MANY))
    first = [memory for memory, _ in one]
    all_of_them = [memory for memory, _ in many]
    further = [(b - a) / (MANY - 1) for a, b in zip(first, all_of_them, strict=True)]
    return [
        Section(
            title="Memory at rest",
            figures=[
                Figure(name="1 agent", unit="MB", samples=tuple(first), at_most=60),
                Figure(name=f"{MANY:,} agents", unit="MB", samples=tuple(all_of_them)),
                Figure(name="each further agent", unit="MB", samples=tuple(further), at_most=0.1),
                Figure(
                    name=f"ready with {MANY:,} agents",
                    unit="s",
                    samples=tuple(seconds for _, seconds in many),
                ),
            ],
            notes=[
                f"VmRSS of the agentd process {_REST:.0f} s after it was ready, before any task. "
                "The agents share one prompt and the model of an OpenAI-compatible endpoint; each "
                "has a different capability.",
            ],
        )
    ]


async def _start(ground: Rig, name: str, agents: int) -> tuple[float, float]:
    """The MB at rest, and the seconds until ready."""
    model = ground.stub_model()
    manifests = {f"agent{n}": manifest(f"work{n}", model) for n in range(agents)}
    project = write_project(ground.folder / name, manifests)
    async with ground.agents(project) as child:
        await asyncio.sleep(_REST)
        return child.rss(), child.seconds
