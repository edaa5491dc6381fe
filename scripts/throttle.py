"""Runs a command, and every process that it starts, on a fraction of the CPU.

    .venv/bin/python scripts/throttle.py 0.2 .venv/bin/pytest tests/unit

All processes below the command are stopped and continued ten times a second: with 0.2 they run for
20 ms of every 100 ms. Unlike a cgroup, this needs no rights and no tool: only Python on Linux.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PERIOD = 0.1  # seconds
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def main() -> int:
    """Returns the exit code of the command."""
    parser = argparse.ArgumentParser(description="Run a command on a fraction of the CPU.")
    parser.add_argument("cpu", type=float, help="the fraction, such as 0.2")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not 0 < arguments.cpu <= 1 or not arguments.command:
        parser.error("a fraction above 0 and at most 1, and a command")
    return run(arguments.command, arguments.cpu)


def run(command: list[str], cpu: float) -> int:
    """Runs a command on this fraction of the CPU, and returns its exit code.

    Processes that the command leaves behind are killed.
    """
    # A daemon whose parent ends becomes a child of this process, not of init: without this, it
    # would leave the tree below the command and run at full speed.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(command)
    try:
        while (code := _exit_code(child)) is None:
            time.sleep(PERIOD * cpu)
            _pause(PERIOD * (1 - cpu))
        return code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        _kill_tree(child)


def _exit_code(child: subprocess.Popen[bytes]) -> int | None:
    """Collects all children that have ended. Returns the exit code of `child` if it is among them.

    `child.wait()` alone would leave the daemons that this process has inherited as zombies.
    """
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return child.returncode
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode
        if pid == 0:
            return None


def _kill_tree(child: subprocess.Popen[bytes]) -> None:
    """Kills every process below this one, and returns when all have ended."""
    while alive := _descendants():  # again, for one that was forked meanwhile
        _signal(alive, signal.SIGKILL)
        _exit_code(child)
        time.sleep(0.01)


def _pause(seconds: float) -> None:
    """Stops the whole tree for so long."""
    stopped = _stop_tree()
    try:
        time.sleep(seconds)
    finally:
        _signal(stopped, signal.SIGCONT)


def _stop_tree() -> set[int]:
    """Stops every process below this one; returns those that it stopped.

    A process that is stopped already is not among them: a test has stopped it on purpose, and it
    must stay so. A process that is forked while the tree is read is found in the next round.
    Stopped processes do not fork, so that the rounds end.
    """
    stopped: set[int] = set()
    while True:
        before = len(stopped)
        for pid in _descendants():
            # Parents first, and the state at the last moment: between a look at a child and the
            # stop of its parent, the parent could stop the child itself.
            if pid not in stopped and _runs(pid):
                _signal([pid], signal.SIGSTOP)
                stopped.add(pid)
        if len(stopped) == before:
            return stopped


def _descendants() -> list[int]:
    """The processes below this one, parents before their children, older before younger."""
    children: dict[str, list[int]] = {}
    for pid in sorted(int(entry) for entry in os.listdir("/proc") if entry.isdecimal()):
        children.setdefault(_status(pid).get("PPid", ""), []).append(pid)
    found = [os.getpid()]
    for pid in found:
        found += children.get(str(pid), ())
    return found[1:]


def _runs(pid: int) -> bool:
    """Whether a process runs or sleeps: it is not stopped, about to stop, traced or dead."""
    status = _status(pid)
    # On a busy machine some time passes until a process that was sent SIGSTOP is stopped.
    about_to_stop = int(status.get("ShdPnd", "0"), 16) >> (signal.SIGSTOP - 1) & 1
    return status.get("State", "X")[0] in "RSDI" and not about_to_stop


def _status(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status, see proc(5); empty once the process has ended."""
    try:
        lines = Path("/proc", str(pid), "status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it has ended in the meantime


if __name__ == "__main__":
    sys.exit(main())
