"""agentd from outside: a project folder, commands in subprocesses, a plain NATS client."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

import forks
import nats
from forks import AGENTD
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from tests.waiting import PATIENCE, SLOWNESS

_Found = TypeVar("_Found")


def until(condition: Callable[[], _Found], what: str, seconds: float = PATIENCE) -> _Found:
    """Returns what `condition` returns, once that is true. It blocks the event loop."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return found


async def eventually(
    condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE
) -> Any:
    """Returns what `condition` (or the coroutine that it returns) returns, once that is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        await asyncio.sleep(0.03)


@dataclass(frozen=True)
class Done:
    """The exit code and the output of a command that has ended."""

    code: int
    out: str
    err: str


class Daemon:
    """A running `agentd up`. Its output goes to files, so that it never fills a pipe."""

    def __init__(self, project: Project, arguments: Sequence[str], number: int) -> None:
        self.project = project
        self._asked = arguments[-1]
        self.out_file = project.root / f"up{number}.out"
        self.err_file = project.root / f"up{number}.err"
        with (
            Path(os.devnull).open("rb") as nothing,
            self.out_file.open("wb") as out,
            self.err_file.open("wb") as err,
        ):
            self.process = forks.start(
                ["up", *arguments],
                cwd=project.root,
                environ=project.environ,
                streams=(nothing, out, err),
                fresh=project.fresh,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    @property
    def err(self) -> str:
        return self.err_file.read_text()

    @property
    def http(self) -> str:
        """The URL of health and metrics."""
        found = re.search(r"health and metrics (http://\S+)", self.out)
        return found[1] if found else f"http://{self._asked}"

    def ready(self) -> Daemon:
        """Waits until it takes tasks; returns itself."""
        until(lambda: "ready in" in self.out or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.err
        return self

    def get(self, path: str) -> tuple[int, str]:
        """The status and the body of a page of its HTTP server."""
        try:
            with urllib.request.urlopen(self.http + path, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Waits until it has ended, and returns its exit code."""
        return self.process.wait(seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal that ends it, and returns its exit code."""
        self.send_signal(number)
        return self.wait()


@dataclass
class Project:
    """A folder with `manifests/` and `prompts/`, in which commands are run.

    Commands are forks of a process that has imported agentd, unless they are to be `fresh`.
    """

    root: Path
    environ: dict[str, str]
    fresh: bool = False
    daemons: list[Daemon] = field(default_factory=list[Daemon])

    def write(self, path: str, text: str) -> Path:
        """Writes a file, and creates its folders."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def swap(self, path: str, text: str) -> None:
        """Writes a file as editors do: under another name, then renamed."""
        draft = self.write(f"{path}.tmp", text)
        draft.replace(self.root / path)

    def agent(self, name: str, *fields: str, prompt: str | None = None) -> None:
        """Writes an agent. `fields` are lines of its manifest.

        Without a line for `capabilities`, its capability is its name.
        """
        lines = list(fields)
        if not any(line.startswith("capabilities:") for line in lines):
            lines.insert(0, f"capabilities: [{name}]")
        self.write(f"prompts/{name}.md", prompt or f"You are {name}.")
        self.write(f"manifests/{name}.yaml", "\n".join([*lines, ""]))

    def slow_agent(self, name: str, latency: str, *fields: str, text: str = "done") -> None:
        """Writes an agent that answers `text` after `latency`, such as `1s`."""
        script = f"model: {{name: mock/script, script: [{{text: {text}, latency: {latency}}}]}}"
        self.agent(name, script, *fields)

    def up(self, *arguments: str, http: str = "127.0.0.1:0", **environ: str) -> Daemon:
        """Starts `agentd up` without waiting until it is ready."""
        before = self.environ
        self.environ = before | environ
        daemon = Daemon(self, [*arguments, "--http", http], len(self.daemons))
        self.environ = before
        self.daemons.append(daemon)
        return daemon

    async def spawn(
        self, *arguments: str, folder: str = ".", out: int = subprocess.PIPE
    ) -> asyncio.subprocess.Process:
        """Starts a command. `out` is a file descriptor for its output and its errors."""
        return await asyncio.create_subprocess_exec(
            AGENTD,
            *arguments,
            cwd=self.root / folder,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
        )

    async def run(self, *arguments: str, stdin: str = "", folder: str = ".") -> Done:
        """Runs a command until it ends."""
        with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
            given.write(stdin.encode())
            given.seek(0)
            process = forks.start(
                arguments,
                cwd=self.root / folder,
                environ=self.environ,
                streams=(given, out, err),
                fresh=self.fresh,
            )
            try:
                code = await asyncio.to_thread(process.wait, PATIENCE)
            finally:
                process.kill()
                process.wait()
            out.seek(0)
            err.seek(0)
            return Done(code, out.read().decode(), err.read().decode())

    async def ask(self, target: str, text: str = "hello", *more: str) -> str:
        """Runs `agentd ask`, which must succeed, and returns its output."""
        done = await self.run("ask", target, text, *more)
        assert done.code == 0, done.err
        return done.out

    def server(self) -> dict[str, Any]:
        """The `url`, `token` and `pid` of the project's embedded nats-server."""
        return json.loads((self.root / ".agentd" / "server.json").read_text())

    @asynccontextmanager
    async def wire(self) -> AsyncGenerator[Wire]:
        """Opens a connection as a program does that knows nothing about agentd."""
        if url := self.environ.get("NATS_URL"):
            env, options = self.environ["AGENTD_ENV"], {"servers": url}
        else:
            server = self.server()
            env, options = "dev", {"servers": server["url"], "token": server["token"]}
        client = await nats.connect(
            max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_quiet, **options
        )
        try:
            yield Wire(env, client)
        finally:
            await client.close()

    def end(self) -> None:
        """Kills the daemons that still run."""
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()


@dataclass(frozen=True)
class Seen:
    """A message that was received, or read from the log."""

    subject: str
    headers: Mapping[str, str]
    data: bytes

    @classmethod
    def of(cls, msg: Msg) -> Seen:
        return cls(msg.subject, msg.headers or {}, msg.data)

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.data)

    @property
    def content(self) -> Any:
        return self.body["payload"]["content"]


class Wire:
    """A plain nats-py client. Subjects are given without their `agents.{env}.`."""

    def __init__(self, env: str, client: Client) -> None:
        self.env = env
        self.client = client
        # Short: a request that is lost while the server is down is repeated after this time.
        self._jetstream = client.jetstream(timeout=2 * SLOWNESS)

    async def publish(
        self, subject: str, data: bytes | Mapping[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        """Publishes bytes, or an object as JSON. Like `nats pub`, it awaits no acknowledgement."""
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        await self.client.publish(f"agents.{self.env}.{subject}", raw, headers=headers)

    async def task(self, domain: str, task_id: str, content: Any = "hello", **more: Any) -> None:
        """Publishes a task, and waits until the log has stored it."""
        body = {"id": task_id, "payload": {"content": content}, **more}
        await self._jetstream.publish(
            f"agents.{self.env}.task.{domain}.general", json.dumps(body).encode()
        )

    async def watch(self, pattern: str, *, root: str | None = None) -> list[Seen]:
        """Subscribes to `pattern`; returns a list to which every message is added."""
        seen: list[Seen] = []

        async def add(msg: Msg) -> None:
            seen.append(Seen.of(msg))

        await self.client.subscribe(f"{root or f'agents.{self.env}'}.{pattern}", cb=add)
        await self.client.flush()
        return seen

    async def recorded(self, pattern: str, at_least: int = 0) -> list[Seen]:
        """The messages of the log on `pattern`, oldest first, once there are `at_least` so many."""
        subject = f"agents.{self.env}.{pattern}"

        async def enough() -> list[int]:
            count = await self.count(pattern)
            return [count] if count >= at_least else []

        [count] = await eventually(enough, f"{at_least} of {subject} in the log")
        subscription = await self._jetstream.subscribe(
            subject, stream="AGENTD_LOG", ordered_consumer=True
        )
        found = [Seen.of(await subscription.next_msg(timeout=PATIENCE)) for _ in range(count)]
        await subscription.unsubscribe()
        return found

    async def erase(self, subject: str) -> None:
        """Deletes the newest message on a subject from the log."""
        name = f"agents.{self.env}.{subject}"
        found = await self._jetstream.get_last_msg("AGENTD_LOG", name)
        assert found.seq is not None
        await self._jetstream.delete_msg("AGENTD_LOG", found.seq)

    async def count(self, pattern: str) -> int:
        """How many messages the log holds on `pattern`."""
        return await self._count("AGENTD_LOG", f"agents.{self.env}.{pattern}")

    async def waiting(self) -> int:
        """How many tasks are not settled."""
        return await self._count("AGENTD_WORK", f"work.{self.env}.>")

    async def _count(self, stream: str, pattern: str) -> int:
        while True:
            try:
                info = await self._jetstream.stream_info(stream, subjects_filter=pattern)
            except (NoRespondersError, NatsTimeout):
                continue  # the server is down; the timeout of the test ends this
            return sum((info.state.subjects or {}).values())

    async def result(self, task_id: str, domain: str = "*", seconds: float = PATIENCE) -> Seen:
        """The only result of a task, once the log holds it."""
        pattern = f"result.{domain}.*.{task_id}"
        await eventually(lambda: self.count(pattern), f"a result of {task_id}", seconds)
        [result] = await self.recorded(pattern)
        return result

    async def events(self, kind: str, agent: str) -> list[dict[str, Any]]:
        """The contents of all events `event.status.{kind}` about `agent`, oldest first."""
        events = [event.content for event in await self.recorded(f"event.status.{kind}")]
        return [content for content in events if content["agent"] == agent]

    async def event(self, kind: str, agent: str, count: int = 1) -> dict[str, Any]:
        """The content of the newest such event, once there are `count` of them."""

        async def enough() -> list[dict[str, Any]]:
            found = await self.events(kind, agent)
            return found if len(found) >= count else []

        return (await eventually(enough, f"{count} {kind} of {agent}"))[-1]


async def _quiet(_: Exception) -> None:
    """Ignores connection errors: some tests stop the server."""


def projects(root: Path, **environ: str) -> Iterator[Project]:
    """Yields a project in `root`, for a fixture."""
    (root / "manifests").mkdir(parents=True)
    (root / "prompts").mkdir()
    project = Project(root, {**os.environ, "AGENTD_DURABILITY": "relaxed", **environ})
    yield project
    project.end()
