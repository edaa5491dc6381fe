"""A process that has imported agentd and forks commands, because a fork starts faster.

`forks.py` starts it with one end of a socket pair as its argument. Each message on it is the
description of a command as JSON, with four file descriptors: a socket for its pid and its exit
status, and its standard streams. When the other end closes, it kills all commands and ends.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import random
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

_LARGEST = 1 << 20  # bytes of a description
# Imported late, by libraries; agentd's own modules are found.
_LIBRARIES = ("anyio._backends._asyncio", "uvicorn.lifespan.off", "encodings.idna", "ctypes")


def main(control: socket.socket) -> None:
    preload()
    wakeup, alarm = socket.socketpair()
    alarm.setblocking(False)
    signal.set_wakeup_fd(alarm.fileno())
    # With a handler, SIGCHLD writes to `wakeup`, which wakes the select.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to pytest, which closes the socket
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wakeup, selectors.EVENT_READ)
    commands: dict[int, socket.socket] = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj is wakeup:
                wakeup.recv(4096)
                reap(commands)
            elif not fork(control, commands):
                for pid in commands:
                    os.kill(pid, signal.SIGKILL)
                return


def preload() -> None:
    """Imports all of agentd whose libraries are here, and none of the libraries that it defers."""
    package = importlib.import_module("agentd")
    for module in pkgutil.walk_packages(package.__path__, "agentd."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(module.name)
    for library in _LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()  # so that the collections of a fork do not copy these pages


def fork(control: socket.socket, commands: dict[int, socket.socket]) -> bool:
    """Forks the next command; False if there will be no more."""
    message, (*descriptors,), _, _ = socket.recv_fds(control, _LARGEST, 4)
    if not message:
        return False
    pid = os.fork()
    if pid == 0:
        become(json.loads(message), descriptors[1:])
    for each in descriptors[1:]:
        os.close(each)
    commands[pid] = socket.socket(fileno=descriptors[0])
    report(commands[pid], pid)
    return True


def reap(commands: dict[int, socket.socket]) -> None:
    while commands:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with commands.pop(pid) as reports:
            report(reports, os.waitstatus_to_exitcode(status))


def report(reports: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # the test has ended
        reports.send(str(number).encode())


def become(command: Mapping[str, Any], streams: Sequence[int]) -> NoReturn:
    """Runs the command in the forked child, as a process of its own. It never returns."""
    status = 1
    try:
        prepare(command, streams)
        status = run(command["argv"])
    except BaseException:  # noqa: BLE001 the process ends here
        traceback.print_exc()
    finally:
        # As at the end of Python, which would also take all modules apart.
        threading._shutdown()  # pyright: ignore
        atexit._run_exitfuncs()  # pyright: ignore
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def prepare(command: Mapping[str, Any], streams: Sequence[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    for target, source in enumerate(streams):
        os.dup2(source, target)
    os.closerange(3, 256)
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["environ"])
    time.tzset()
    random.seed()
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", 1 if os.isatty(1) else -1, "utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    # It reads AGENTD_CRASH when it is imported.
    importlib.reload(importlib.import_module("agentd.crash_points"))


def run(argv: Sequence[str]) -> int:
    sys.argv = [*argv]
    try:
        importlib.import_module("agentd.cli").main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
