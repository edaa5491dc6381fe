"""Edits, many of them broken, while tasks run."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

from agentd.catalog.catalog import load, read_files
from agentd.testing.torture.harness import World
from agentd.testing.torture.scenario import Size

_GAP = 0.1  # seconds between two edits: 600 a minute
_GOOD = re.compile(r"Edit (\d+), whole\.")
_BROKEN_PROMPTS = ("BROKEN {% if %}", "BROKEN {{ contnt }}", "BROKEN {% include 'none.md' %}")
_BROKEN_MANIFESTS = ("capabilities: [work", "capabilities: [work]\ntemprature: 1", "")


async def reload(world: World, size: Size) -> None:
    """600 edits a minute, every fifth broken: no task lost, no answer by a broken revision."""
    editor = _Editor(world)
    world.behave = editor.check_prompt
    editor.edit(0)
    await world.up(1)
    async with asyncio.TaskGroup() as group:
        group.create_task(world.sender.send(size.tasks, over=size.shocks * _GAP))
        started = time.monotonic()
        for number in range(1, size.shocks + 1):
            await asyncio.sleep(max(0.0, started + number * _GAP - time.monotonic()))
            editor.edit_badly() if number % 5 == 0 else editor.edit(number)
    seen = await world.judge()
    used = {outcome.revision for outcomes in seen.outcomes.values() for outcome in outcomes}
    world.findings.figures |= {"edits": size.shocks, "revisions_used": len(used)}
    world.findings.require(used <= editor.revisions, "a result names a revision of a broken edit")
    world.findings.met["an edit"] += len(used) - 1
    world.findings.require(
        not editor.strange, f"the model received the prompts {editor.strange[:3]}"
    )
    world.limit("longest_on_an_old_revision", editor.stalest, 1.0)


class _Editor:
    """Edits the agent of a world, and checks which prompts the model receives.

    Attributes:
        revisions: the revisions of the good edits.
        strange: prompts that no good edit contains.
        stalest: the longest time, in seconds, after which a new task still ran on a replaced
            revision.
    """

    def __init__(self, world: World) -> None:
        self.revisions: set[str] = set()
        self.strange: list[str] = []
        self.stalest = 0.0
        self._world = world
        self._written: list[tuple[int, float]] = []

    def edit(self, number: int) -> None:
        """Makes a good edit."""
        world = self._world
        prompts = world.folder / "prompts"
        prompts.mkdir(exist_ok=True)
        world.agent(instructions=None, prompt="worker.md")
        (prompts / "worker.md").write_text(f"Edit {number}, whole.")
        # Before the catalog is loaded: a replica may read the files at once.
        self._written.append((number, time.time()))
        catalog = load(read_files(world.manifests, None))
        self.revisions.add(catalog.agents["worker"].revision)

    def edit_badly(self) -> None:
        """Makes a broken edit, of the prompt or of the manifest."""
        world = self._world
        if world.random.random() < 0.5:
            text = world.random.choice(_BROKEN_PROMPTS)
            (world.folder / "prompts" / "worker.md").write_text(text)
        else:
            text = world.random.choice(_BROKEN_MANIFESTS)
            (world.manifests / "worker.yaml").write_text(text)

    def check_prompt(self, _task: str, body: Mapping[str, Any]) -> None:
        """Checks the prompt of a request to the model."""
        prompt = str(body["messages"][0]["content"])
        found = _GOOD.fullmatch(prompt)
        if found is None:
            self.strange.append(prompt)
            return
        # The time at which the next good edit was written.
        replaced = [at for number, at in self._written if number > int(found[1])]
        if replaced:
            self.stalest = max(self.stalest, time.time() - replaced[0])
