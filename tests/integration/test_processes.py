"""Processes of tools: how they are started, what they get, and that none outlives the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from agentd import crash_points
from agentd.tools.processes.process import Process, how_it_ended
from agentd.tools.processes.processes import Processes
from tests.integration.workshop import gone, pids_in
from tests.waiting import until

SHOW = """
import json, os, sys
print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), sys.stdin.read()]))
"""


class Started:
    """A process with what it has written."""

    def __init__(self) -> None:
        self.written: dict[int, bytes] = {1: b"", 2: b""}
        self.process: Process

    def take(self, pipe: int, data: bytes) -> None:
        self.written[pipe] += data

    async def code(self) -> int:
        return await self.process.ended()


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    processes = Processes()
    yield processes
    await processes.close()


async def start(
    processes: Processes,
    *argv: str,
    stdin: bytes = b"",
    env: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Started:
    started = Started()
    started.process = await processes.start(argv, started.take, env=env, cwd=cwd)
    started.process.write(stdin, end=True)
    return started


async def test_a_process_gets_its_arguments_environment_folder_and_input(
    processes: Processes, tmp_path: Path
) -> None:
    arguments = ["two words", "", "ü…🙂", "'\"\\\n", "\udcff", "x" * 100_000]
    environment = {"NAME": "ü", "with-dash": "1"}

    argv = [sys.executable, "-c", SHOW, *arguments]
    ran = await start(processes, *argv, stdin=b"in\n" * 100_000, env=environment, cwd=tmp_path)

    assert await ran.code() == 0
    argv, env, cwd, read = json.loads(ran.written[1])
    assert argv == arguments
    assert {name: env[name] for name in environment} == environment
    assert set(env) - set(environment) <= {"LC_CTYPE"}  # Python itself sets it
    assert (cwd, read) == (str(tmp_path), "in\n" * 100_000)
    assert ran.written[2] == b""


async def test_without_its_own_environment_a_process_gets_ours(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await (await start(processes, "true")).code()
    monkeypatch.setenv("MADE_UP", "after the first process")
    monkeypatch.chdir(tmp_path)

    ran = await start(processes, "sh", "-c", 'echo "$MADE_UP"; pwd; echo oops >&2')

    assert await ran.code() == 0
    assert ran.written == {1: f"after the first process\n{tmp_path}\n".encode(), 2: b"oops\n"}


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("exit 0", 0, "exited with code 0"),
        ("exit 7", 7, "exited with code 7"),
        ("kill -SEGV $$", -signal.SIGSEGV, "was killed by SIGSEGV"),
        ("kill -TERM $$", -signal.SIGTERM, "was killed by SIGTERM"),
    ],
)
async def test_the_exit_code_says_how_it_ended(
    processes: Processes, program: str, code: int, words: str
) -> None:
    ended = await (await start(processes, "sh", "-c", program)).code()

    assert ended == code
    assert how_it_ended(ended) == words


async def test_a_process_has_the_signal_settings_of_a_direct_child(processes: Processes) -> None:
    program = """
import signal
ignored = [s.name for s in signal.valid_signals() if signal.getsignal(s) == signal.SIG_IGN]
print(sorted(ignored), sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""
    direct = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdout=asyncio.subprocess.PIPE
    )
    expected, _ = await direct.communicate()

    ran = await start(processes, sys.executable, "-c", program)
    await ran.code()

    assert ran.written[1] == expected


@pytest.mark.parametrize(
    ("argv", "cwd", "error"),
    [
        (["no-such-program"], None, FileNotFoundError),
        (["/"], None, PermissionError),
        (["true"], Path("/no/such/folder"), FileNotFoundError),
        (["true", "x\0y"], None, ValueError),
        (["true", "\ud800"], None, ValueError),  # half a surrogate pair: a model can write it
        (["true", "x" * (3 << 20)], None, OSError),  # longer than the kernel takes
    ],
)
async def test_a_program_that_cannot_be_started_is_an_error(
    processes: Processes, argv: list[str], cwd: Path | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await start(processes, *argv, cwd=cwd)

    assert await (await start(processes, "true")).code() == 0


async def test_many_processes_start_at_once(processes: Processes) -> None:
    many = await asyncio.gather(
        *(start(processes, "echo", str(number), "x" * 50_000) for number in range(50))
    )

    assert await asyncio.gather(*(each.code() for each in many)) == [0] * 50
    assert [int(each.written[1].split()[0]) for each in many] == list(range(50))


async def test_one_that_writes_much_is_read_no_faster_than_we_take_it(
    processes: Processes,
) -> None:
    ran = await start(processes, "sh", "-c", "head -c 20000000 /dev/zero; echo done >&2")
    output = ran.process.pipe(1)
    assert isinstance(output, asyncio.ReadTransport)

    output.pause_reading()
    await asyncio.sleep(0.2)
    assert ran.written[2] == b""
    output.resume_reading()

    assert await ran.code() == 0
    assert len(ran.written[1]) == 20_000_000


async def test_terminate_asks_and_kill_ends_the_group(processes: Processes, tmp_path: Path) -> None:
    stubborn = "trap 'echo asked' TERM; sleep 60 & echo $$ $! . > pids; wait; wait"
    ran = await start(processes, "sh", "-c", stubborn, cwd=tmp_path)
    await until(lambda: bool(pids_in(tmp_path / "pids")))

    ran.process.terminate()
    await until(lambda: ran.written[1] == b"asked\n")
    assert not ran.process.exited.done()
    ran.process.kill()

    assert await ran.code() == -signal.SIGKILL
    await gone(*pids_in(tmp_path / "pids"))
    ran.process.terminate()  # it is no error that it has ended
    ran.process.kill()


async def test_a_start_that_is_cancelled_leaves_nothing_behind(
    processes: Processes, tmp_path: Path
) -> None:
    # The first one waits for the spawner itself, the others for its answer.
    for number in range(20):
        program = f"echo $$ . > {number}; sleep 60"
        starting = asyncio.create_task(start(processes, "sh", "-c", program, cwd=tmp_path))
        await asyncio.sleep(0.002 * (number % 5))
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await starting).process.kill()

    await processes.close()

    await gone(*(pid for number in range(20) for pid in pids_in(tmp_path / str(number))))


async def test_close_ends_all(processes: Processes) -> None:
    many = [await start(processes, "sleep", "60") for _ in range(5)]

    await processes.close()

    assert [await each.code() for each in many] == [-signal.SIGKILL] * 5
    await gone(*(each.process.pid for each in many))
    assert await (await start(processes, "true")).code() == 0


def marked(mark: str) -> list[int]:
    """The processes with this mark among their arguments or in their environment."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if folder.name.isdecimal() and mark.encode() in text:
                found.append(int(folder.name))
    return found


async def test_when_the_spawner_is_killed_its_processes_end_and_the_next_start_works(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = uuid4().hex
    monkeypatch.setenv("MARK", mark)
    ran = await start(processes, "sleep", "60", env={"PATH": os.environ["PATH"]})
    [spawner] = marked(mark)

    os.kill(spawner, signal.SIGTERM)
    await asyncio.sleep(0.1)
    assert marked(mark) == [spawner]  # only the end of the daemon ends it, not a polite signal
    os.kill(spawner, signal.SIGKILL)

    assert await ran.code() == -signal.SIGKILL
    await gone(ran.process.pid)
    assert await (await start(processes, "true")).code() == 0


DAEMON = """
import asyncio, os, sys
from pathlib import Path
from agentd.tools.processes.processes import Processes

async def main():
    processes = Processes()
    program = "sleep 60 & sleep 60"
    await processes.start(["sh", "-c", program, sys.argv[1]], lambda *_: None, env=os.environ)
    print("started", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("point", [*crash_points.OF_PROCESSES, ""])
async def test_a_daemon_that_is_killed_while_it_starts_a_process_leaves_none(point: str) -> None:
    """The kill falls on a point between the start and all that the daemon does about it."""
    for _ in range(5):
        mark = uuid4().hex
        daemon = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", DAEMON, mark),
            env={**os.environ, "MARK": mark, "AGENTD_CRASH": point},
            stdout=asyncio.subprocess.PIPE,
        )
        assert daemon.stdout is not None
        assert await daemon.stdout.readline() == (b"" if point else b"started\n")
        if not point:
            daemon.kill()
        assert await daemon.wait() == -signal.SIGKILL

        # The spawner has the mark, too: while it runs, it might still start the process.
        await until(lambda mark=mark: not marked(mark))
