"""Starts `agentd` as a fork of a process that has imported it: a tenth of the CPU of a start.

It is a process of its own nevertheless, with its own pid, streams, folder and environment. Only
what belongs to the start of Python is missing, so `fresh` starts Python where that counts.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

AGENTD = Path(sys.executable).with_name("agentd")


class Forked:
    """A forked command, with the methods of `subprocess.Popen`."""

    def __init__(self, reports: socket.socket) -> None:
        self._reports = reports
        self.returncode: int | None = None
        self.pid = int(reports.recv(32))

    def poll(self) -> int | None:
        return self._result(0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._result(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("agentd", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        self._reports.close()

    def _result(self, seconds: float | None) -> int | None:
        """The exit status, if the command ends within so many seconds."""
        if self.returncode is None and select.select([self._reports], [], [], seconds)[0]:
            self.returncode = int(self._reports.recv(32) or -signal.SIGKILL)
            self._reports.close()
        return self.returncode


Process = Forked | subprocess.Popen[bytes]


def start(
    arguments: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    streams: Sequence[IO[bytes] | int],
    fresh: bool = False,
) -> Process:
    """Starts `agentd` in a session of its own. `streams` are its input, output and errors."""
    if fresh or any(environ.get(name) != os.environ.get(name) for name in of_python(environ)):
        stdin, stdout, stderr = streams
        return subprocess.Popen(
            [AGENTD, *arguments],
            cwd=cwd,
            env=environ,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    command = {"argv": ["agentd", *arguments], "cwd": str(cwd), "environ": dict(environ)}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        numbers = [each if isinstance(each, int) else each.fileno() for each in streams]
        socket.send_fds(server()[0], [json.dumps(command).encode()], [theirs.fileno(), *numbers])
    return Forked(ours)


def of_python(environ: Mapping[str, str]) -> list[str]:
    """The variables that Python reads when it starts."""
    return [name for name in environ if name.startswith(("PYTHON", "LANG", "LC_"))]


@cache
def server() -> tuple[socket.socket, subprocess.Popen[Any]]:
    """The process that forks, for all tests of this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, Path(__file__).with_name("fork_server.py"), str(theirs.fileno())]
        return ours, subprocess.Popen(command, pass_fds=(theirs.fileno(),))


def stop() -> None:
    """Ends the process that forks, with all that it has forked."""
    if server.cache_info().currsize:
        control, process = server()
        control.close()
        process.wait()
        server.cache_clear()
