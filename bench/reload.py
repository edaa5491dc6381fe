"""The time from an edit of a prompt to the first answer with it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import time
from pathlib import Path

from nats.aio.client import Client
from nats.aio.msg import Msg

from bench.figures import Figure, Section, percentile
from bench.load import task
from bench.rig import ENV, manifest, rig, write_project

_PATIENCE = 10.0  # seconds after which the measurement fails
_SETTLE = 1.0  # seconds before the first edit, because start-up is measured elsewhere
_REST = (0.02, 0.12)  # seconds between an answer and the next edit, at random


async def measure(*, repeats: int, edits: int) -> list[Section]:
    """One section: the time from the write to the event, and to the first answer."""
    events: list[list[float]] = []
    answers: list[list[float]] = []
    async with rig("always") as ground:
        project = write_project(
            ground.folder / "project", {"edited": manifest("edited", "mock/echo", stream="false")}
        )
        async with ground.agents(project), ground.connect() as client:
            for _ in range(repeats):
                editor = Editor(client, project / "prompts" / "prompt.md")
                event, answer = await editor.run(edits)
                events.append(event)
                answers.append(answer)
    return [
        Section(
            title="Reload",
            figures=[
                *_figures("write to event.status.reloaded", events),
                *_figures("write to first answer", answers, aim=300),
            ],
            notes=[
                f"{edits} edits in a round, {repeats} rounds. The prompt is written under another "
                "name and renamed. A client sends one task after the other; the clock stops when "
                "the first answer with the new prompt arrives.",
            ],
        )
    ]


def _figures(name: str, rounds: list[list[float]], aim: float | None = None) -> list[Figure]:
    return [
        Figure(
            name=f"{name}, {label}",
            unit="ms",
            samples=tuple(percentile(samples, percent) for samples in rounds),
            at_most=aim if percent == 50 else None,
        )
        for percent, label in ((50, "median"), (95, "p95"))
    ]


class Editor:
    """Edits a prompt repeatedly while tasks are answered."""

    def __init__(self, client: Client, prompt: Path) -> None:
        self._client = client
        self._prompt = prompt
        self._mark = ""  # a text of the newest prompt, which the echo model repeats
        self._reloaded = asyncio.Event()
        self._answered = asyncio.Event()
        self._event_at = self._answer_at = 0.0

    async def run(self, edits: int) -> tuple[list[float], list[float]]:
        """The ms of each edit until its event, and until its first answer.

        Raises:
            TimeoutError: an edit had no effect in time.
        """
        subject = f"agents.{ENV}.event.status.reloaded"
        subscription = await self._client.subscribe(subject, cb=self._on_reloaded)
        asking = asyncio.create_task(self._ask_continuously())
        await asyncio.sleep(_SETTLE)
        try:
            times = [await self._edit() for _ in range(edits)]
        finally:
            asking.cancel()
            await subscription.unsubscribe()
        return [event for event, _ in times], [answer for _, answer in times]

    async def _edit(self) -> tuple[float, float]:
        await asyncio.sleep(random.uniform(*_REST))
        self._mark = f"edit {secrets.token_hex(8)}"
        fresh = self._prompt.with_name(".prompt.md.tmp")
        self._reloaded.clear()
        self._answered.clear()
        started = time.perf_counter()
        fresh.write_text(f"{self._mark}: answer in one sentence.\n")
        os.replace(fresh, self._prompt)
        async with asyncio.timeout(_PATIENCE):
            await self._reloaded.wait()
            await self._answered.wait()
        return (self._event_at - started) * 1000, (self._answer_at - started) * 1000

    async def _on_reloaded(self, _msg: Msg) -> None:
        self._event_at = time.perf_counter()
        self._reloaded.set()

    async def _ask_continuously(self) -> None:
        results = f"agents.{ENV}.result.edited.general"
        arrived: asyncio.Queue[Msg] = asyncio.Queue()
        await self._client.subscribe(f"{results}.*", cb=arrived.put)
        while True:
            await self._client.publish(
                f"agents.{ENV}.task.edited.general", task(secrets.token_hex(16), "Go on.")
            )
            answer = json.loads((await arrived.get()).data)["payload"]["content"]["data"]
            if self._mark and self._mark in answer and not self._answered.is_set():
                self._answer_at = time.perf_counter()
                self._answered.set()
