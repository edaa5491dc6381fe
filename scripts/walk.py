"""Prints which files of agentd an echo task runs through, from its delivery to its settlement.

    .venv/bin/python scripts/walk.py               # the first function called in each file
    .venv/bin/python scripts/walk.py --functions   # every function, in the order of its first call

The script starts an embedded nats-server and one agent with the model mock/echo in this process. It
sends a few tasks with a plain NATS client and records every call of a function of agentd. Only the
calls that all tasks have in common are the walk: work that a timer does meanwhile is left out.

A file counts when a function that is written in it runs. A file whose dataclasses are constructed,
and nothing else, is listed apart. `docs/architecture.md` explains the steps.
"""

from __future__ import annotations

import argparse
import asyncio
import dis
import json
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import nats
from nats.aio.client import Client

from agentd import log
from agentd.runtime.host import Hosted, hosting
from agentd.settings import Settings

TASKS = 5  # walks that are compared
WARM_UP = 2  # tasks before them, which still fill caches
PATIENCE = 30.0  # seconds
MANIFEST = "capabilities: [echo]\ninstructions: Repeat the message.\nmodel: mock/echo\n"
ENV = "walk"
_RESUME = dis.opmap["RESUME"]
# It looks at the files ten times a second: on a slow machine that is in every walk.
_BESIDE = "agentd.runtime.watch"


@dataclass(frozen=True)
class Step:
    """The first call of a function. `generated`: it is not written in the file of its module."""

    module: str
    function: str
    generated: bool = False

    @property
    def package(self) -> str:
        """`agentd.queue` of `agentd.queue.delivery`; `agentd` of a file beside the packages."""
        parts = self.module.split(".")
        return ".".join(parts[:2]) if len(parts) > 2 else parts[0]


class Tracer:
    """Records the first call of each function of agentd, in order, while `recording` is true."""

    def __init__(self) -> None:
        self.recording = False
        self._steps: dict[Step, None] = {}

    def __enter__(self) -> Tracer:
        # A profile function belongs to one thread. Threads that start later get it from threading.
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type] # typeshed does not know that None ends

    def take(self) -> list[Step]:
        """Returns the steps since the last `take`."""
        steps, self._steps = list(self._steps), {}
        return steps

    def _on_event(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or not self.recording:
            return
        module = str(frame.f_globals.get("__name__"))
        if not module.startswith("agentd.") or _is_resumed(frame):
            return
        if frame.f_back and frame.f_back.f_code.co_filename == __file__:
            return  # this script calls it, not the task
        code = frame.f_code
        # dataclasses compile their methods from a string: the file has no such lines to read.
        self._steps[Step(module, code.co_qualname, code.co_filename.startswith("<"))] = None


def _is_resumed(frame: FrameType) -> bool:
    """Whether a coroutine goes on behind an `await`: that is no call.

    What a coroutine awaits is resumed through it, although none of its lines runs.
    """
    code, at = frame.f_code.co_code, frame.f_lasti
    # The argument of RESUME is 0 at the start of a function, and not 0 behind an `await` (`dis`).
    return at >= 0 and code[at] == _RESUME and bool(code[at + 1] & 3)


def common(walks: Sequence[Sequence[Step]]) -> list[Step]:
    """The steps that every walk has, in the order of the last walk."""
    everywhere = set(walks[0]).intersection(*walks[1:])
    return [step for step in walks[-1] if step in everywhere and step.module != _BESIDE]


def by_file(steps: Iterable[Step]) -> list[Step]:
    """The first step into each file in which a written function runs."""
    first: dict[str, Step] = {}
    for step in steps:
        if not step.generated:
            first.setdefault(step.module, step)
    return list(first.values())


def only_constructed(steps: Iterable[Step]) -> list[str]:
    """The modules whose dataclasses are constructed, but none of whose written functions run."""
    steps = list(steps)
    run = {step.module for step in steps if not step.generated}
    return list(dict.fromkeys(step.module for step in steps if step.module not in run))


def report(steps: Sequence[Step], *, functions: bool) -> Iterable[str]:
    """The lines to print: the counts, the walk, and the files of which only data is constructed."""
    files = by_file(steps)
    packages = {step.package for step in files}
    yield f"{len(files)} files in {len(packages)} packages, from delivery to settlement"
    written = [step for step in steps if not step.generated]
    for number, step in enumerate(written if functions else files, 1):
        yield f"{number:3}  {step.module}:{step.function}"
    yield f"only dataclasses constructed: {' '.join(only_constructed(steps)) or 'none'}"


async def walk() -> list[Step]:
    """Runs the tasks one after the other, and returns the steps that they have in common."""
    with tempfile.TemporaryDirectory(prefix="agentd-walk-") as name, Tracer() as tracer:
        folder = Path(name)
        (folder / "manifests").mkdir()
        (folder / "manifests" / "echo.yaml").write_text(MANIFEST)
        settings = Settings(
            env=ENV,
            nats="embedded",
            state=folder / ".agentd",
            http="off",
            heartbeat=3600,  # seconds: no heartbeat between the tasks
            durability="relaxed",
        )
        with (folder / "log").open("w") as lines:
            handler = log.configure(stream=lines)
            async with hosting(settings, folder / "manifests", None) as hosted:
                walks = await _walks(hosted, settings, tracer)
            handler.close()
    return common(walks[WARM_UP:])


async def _walks(hosted: Hosted, settings: Settings, tracer: Tracer) -> list[list[Step]]:
    server = json.loads((settings.state / "server.json").read_text())
    client = await nats.connect(server["url"], token=server["token"])
    try:
        return [
            await _one_task(hosted, client, tracer, f"walk-{number}")
            for number in range(WARM_UP + TASKS)
        ]
    finally:
        await client.close()


async def _one_task(hosted: Hosted, client: Client, tracer: Tracer, task_id: str) -> list[Step]:
    body = json.dumps({"id": task_id, "payload": {"content": "hello"}}).encode()
    tracer.take()
    tracer.recording = True
    # The reply is the acknowledgement of the log: the task is stored.
    await client.request(f"agents.{ENV}.task.echo.general", body, timeout=PATIENCE)
    async with asyncio.timeout(PATIENCE):
        await _at_rest(hosted, client, task_id)
    tracer.recording = False
    return tracer.take()


async def _at_rest(hosted: Hosted, client: Client, task_id: str) -> None:
    """Returns when the task is settled, for the server and for the agent."""
    while True:
        if await _settled(client, task_id) and not hosted.runtime.agents["echo"].in_flight:
            return
        await asyncio.sleep(0.01)


async def _settled(client: Client, task_id: str) -> bool:
    """Whether the task has its result on the log and is no longer in the work queue."""
    jetstream = client.jetstream(timeout=PATIENCE)
    # The server copies a task to the work queue after the log has acknowledged it. An empty queue
    # alone could be the moment before the copy.
    result = f"agents.{ENV}.result.echo.general.{task_id}"
    log_info = await jetstream.stream_info("AGENTD_LOG", subjects_filter=result)
    work_info = await jetstream.stream_info("AGENTD_WORK")
    return bool(log_info.state.subjects) and not work_info.state.messages


def main() -> None:
    """Prints the walk."""
    parser = argparse.ArgumentParser(description="Print the files that an echo task runs through.")
    parser.add_argument("--functions", action="store_true", help="print every function")
    arguments = parser.parse_args()
    print(*report(asyncio.run(walk()), functions=arguments.functions), sep="\n")


if __name__ == "__main__":
    main()
