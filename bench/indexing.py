"""The index of the log: how fast it is built, how long a question takes, and the memory."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agentd.nats import streams
from agentd.nats.bus import Bus
from agentd.protocol.server_subjects import api
from agentd.protocol.subjects import Subjects
from agentd.record import queries
from agentd.record.index.index import Index
from agentd.record.queries import Filter
from agentd.settings import Settings
from bench.figures import Figure, Section
from bench.rig import AGENTD, ENV, Rig, clean_environ, rig

_SUBJECTS = Subjects(ENV)
_AGENTS = ("analyst", "researcher", "writer", "checker")
_WORDS = Path(__file__).read_text().split()
_AT_ONCE = 2_000  # messages between two looks at what the server has stored
_RARE = "unheard"  # a word of one message in ten thousand

Question = Callable[[Any], Any]


async def measure(*, messages: int, repeats: int) -> list[Section]:
    """One section."""
    async with rig("relaxed") as ground:
        bus = await Bus.connect({"servers": ground.server.url, "token": ground.server.token})
        try:
            await streams.ensure(bus, Settings())
            await _fill(bus, messages)
            builds = [await _command(ground, cold=True) for _ in range(repeats)]
            warm = [await _command(ground, cold=False) for _ in range(max(3, repeats))]
            asked = await _ask(Index(bus, _folder(ground)))
        finally:
            await bus.close()
    seconds = [wall for wall, _, _ in builds]
    slowest = max(asked, key=lambda name: asked[name])
    return [
        Section(
            title=f"Index of {messages:,} messages",
            figures=[
                Figure(
                    name="messages indexed in a second",
                    unit="/s",
                    samples=tuple(messages / each for each in seconds),
                    at_least=20_000,
                ),
                Figure(
                    name="CPU to index a message",
                    unit="us",
                    samples=tuple(1e6 * cpu / messages for _, cpu, _ in builds),
                ),
                Figure(
                    name="memory of the command that builds it",
                    unit="MB",
                    samples=tuple(memory for _, _, memory in builds),
                    at_most=150,
                ),
                Figure(
                    name=f"slowest question ({slowest})",
                    unit="ms",
                    samples=(1000 * asked[slowest],),
                    at_most=200,
                ),
                Figure(
                    name="`agentd log`, index up to date",
                    unit="s",
                    samples=tuple(wall for wall, _, _ in warm),
                ),
            ],
            notes=[", ".join(f"{name} {1000 * each:.0f} ms" for name, each in asked.items())],
        )
    ]


def _folder(ground: Rig) -> Path:
    return ground.folder / "index"


async def _fill(bus: Bus, messages: int) -> None:
    """Stores so many messages in the log."""
    made = _messages()
    for number in range(messages):
        subject, data = next(made)
        await bus.publish(subject, data)
        if number % _AT_ONCE == 0:
            await bus.request(api(f"STREAM.INFO.{streams.LOG}"), timeout=60)
    while True:
        info = await bus.request(api(f"STREAM.INFO.{streams.LOG}"), timeout=60)
        if json.loads(info.data)["state"]["messages"] >= messages:
            return
        await asyncio.sleep(0.2)


def _messages() -> Iterator[tuple[str, bytes]]:
    """Tasks with a turn, an answer of a tool and a result, without end."""
    dice = random.Random(11)
    for number in range(1 << 62):
        task, conversation = (f"{dice.getrandbits(128):032x}" for _ in range(2))
        agent = dice.choice(_AGENTS)
        said = " ".join(dice.choices(_WORDS, k=40)) + (_RARE if number % 2500 == 0 else "")
        entry = {"task": task, "life": number, "delivery": 1, "turn": 1, "index": 0}
        usage = {"input_tokens": 120, "output_tokens": 30}
        completion = {"text": "", "model": "openai/m", "usage": usage, "cost": 0.0001}
        result = {
            "success": number % 50 > 0,
            "data": said,
            "error": None,
            "model": "openai/m",
            "cost": 0.0003,
            "latency": 812.0,
            "revision": "3f2a9c1d77aa",
            "usage": {"inputTokens": 240, "outputTokens": 60},
        }
        for subject, content in (
            (_SUBJECTS.task(agent, "general"), said),
            (_SUBJECTS.event("run", task), {"event": "turn", **entry, "completion": completion}),
            (_SUBJECTS.event("run", task), {"event": "tool_answered", **entry, "text": said}),
            (_SUBJECTS.result(agent, "general", task), result),
        ):
            first = content is said
            body = {
                "id": task if first else f"{dice.getrandbits(128):032x}",
                "source": {"id": "client" if first else agent, "type": "agent"},
                "context": {
                    "conversationId": conversation,
                    "parentMessageId": None if first else task,
                    "metadata": {},
                },
                "payload": {"content": content},
            }
            yield subject, json.dumps(body).encode()


async def _command(ground: Rig, *, cold: bool) -> tuple[float, float, float]:
    """The seconds, the CPU seconds and the MB of one `agentd log`."""
    folder = _folder(ground)
    if cold:
        shutil.rmtree(folder, ignore_errors=True)
    environ = {
        **clean_environ(),
        "NATS_URL": ground.server.url,
        "NATS_TOKEN": ground.server.token,
        "AGENTD_INDEX": str(folder),
    }
    return await asyncio.to_thread(_run, [str(AGENTD), "log", "-n", "1", "--env", ENV], environ)


def _run(command: list[str], environ: dict[str, str]) -> tuple[float, float, float]:
    """The seconds, the CPU seconds and the MB of a command."""
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    started = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environ, file_actions=quiet)
    _, code, used = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


async def _ask(index: Index) -> dict[str, float]:
    """The seconds of each question, the best of three."""
    [one] = await index.ask(lambda db: queries.messages(db, Filter(env=ENV, kind="task"), limit=1))
    return {
        name: min([await _seconds(index, question) for _ in range(3)])
        for name, question in _questions(one.id, one.conversation).items()
    }


def _questions(task: str, conversation: str) -> dict[str, Question]:
    def listed(**where: Any) -> Question:
        return lambda db: queries.messages(db, Filter(env=ENV, **where), limit=100)

    return {
        "newest": listed(),
        "of an agent": listed(agent="writer"),
        "failed": listed(failed=True),
        "common word": listed(text="number"),
        "rare word": listed(text=_RARE),
        "beginning of an id": lambda db: queries.named(db, ENV, task[:8]),
        "task": lambda db: queries.of_task(db, ENV, task),
        "conversation": lambda db: queries.of_conversation(db, ENV, conversation),
        "cost by agent": lambda db: queries.costs(db, ENV, "agent"),
        "cost by day": lambda db: queries.costs(db, ENV, "day"),
    }


async def _seconds(index: Index, question: Question) -> float:
    started = time.perf_counter()
    await index.ask(question)
    return time.perf_counter() - started
