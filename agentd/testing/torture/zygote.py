"""A process that has imported agentd and forks replicas, because a fork starts faster.

A forked replica starts in 50 ms instead of a second of CPU time, so that a scenario can kill
hundreds. Every line of standard input is a JSON object that starts a replica:

    {"argv": ["up", ...], "environ": {...}, "log": "/tmp/…/1.log", "seed": 7,
     "without": ["lookup"], "ack_wait": null}

Every line of standard output is a JSON object, too: `{"pid": 4711}` for each replica that was
started, in the order of the requests, and `{"pid": 4711, "status": -9}` for each that has ended.
When standard input ends, the zygote kills all replicas and ends.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import random
import selectors
import signal
import socket
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any, NoReturn

_PRELOADED = (
    "agentd.cli",
    "agentd.cli.shared.console",
    "agentd.crash_points",
    "agentd.runtime.host",
    "agentd.log",
    "agentd.models.mock",
    "agentd.models.openai_http",
    "agentd.testing.torture.unsafe",
    "anyio._backends._asyncio",  # watchfiles imports it late
)


def main() -> None:
    """Serves requests until standard input ends."""
    for module in _PRELOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that the collections of a replica do not copy the pages of these objects
    wakeup, alarm = socket.socketpair()
    alarm.setblocking(False)
    signal.set_wakeup_fd(alarm.fileno())
    # With a handler, SIGCHLD writes to `wakeup`, which wakes the select.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Ctrl-C goes to the whole process group; the parent decides what to do with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    selector.register(wakeup, selectors.EVENT_READ)
    _Zygote().serve(selector, wakeup)


class _Zygote:
    """The loop of the process. It uses no asyncio, because a fork would copy the event loop."""

    def __init__(self) -> None:
        self._alive: set[int] = set()
        self._unread = b""

    def serve(self, selector: selectors.BaseSelector, wakeup: socket.socket) -> None:
        while True:
            for key, _ in selector.select():
                if key.fileobj is wakeup:
                    wakeup.recv(4096)
                    self._reap()
                elif not self._read():
                    self._end()
                    return

    def _read(self) -> bool:
        arrived = os.read(sys.stdin.fileno(), 65536)
        *requests, self._unread = (self._unread + arrived).split(b"\n")
        for request in requests:
            pid = os.fork()
            if pid == 0:
                _become_replica(json.loads(request))
            self._alive.add(pid)
            _report({"pid": pid})
        return bool(arrived)

    def _reap(self) -> None:
        while self._alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._alive.discard(pid)
            _report({"pid": pid, "status": os.waitstatus_to_exitcode(status)})

    def _end(self) -> None:
        for pid in self._alive:
            os.kill(pid, signal.SIGKILL)
        for pid in self._alive:
            os.waitpid(pid, 0)


def _report(report: Mapping[str, int]) -> None:
    try:
        print(json.dumps(report), flush=True)
    except BrokenPipeError:
        return  # the parent was killed; standard input ends next


def _become_replica(request: Mapping[str, Any]) -> NoReturn:
    """Runs `agentd` in the forked child. It never returns, or the child would fork as well."""
    status = 1
    try:
        _leave_zygote(request)
        status = _run(request["argv"])
    finally:
        sys.stdout.flush()
        os._exit(status)


def _leave_zygote(request: Mapping[str, Any]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    os.closerange(3, 256)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(source, target)
    os.closerange(3, 256)
    os.environ.update(request["environ"])
    random.seed(request["seed"])  # otherwise all replicas would draw the same numbers
    # It reads AGENTD_CRASH when it is imported, and the zygote has imported it without.
    importlib.reload(importlib.import_module("agentd.crash_points"))
    unsafe = importlib.import_module("agentd.testing.torture.unsafe")
    unsafe.obey_content()
    unsafe.remove(request["without"])
    if request["ack_wait"] is not None:
        unsafe.quicken(request["ack_wait"])
    signal.signal(signal.SIGUSR2, lambda *_: _write_tasks(request["log"]))


def _write_tasks(log: str) -> None:
    """Writes the number of asyncio tasks and the stack of each to a file beside the log."""
    tasks = asyncio.all_tasks()
    with open(f"{log}.tasks.new", "w") as file:
        print(len(tasks), file=file)
        for task in tasks:
            task.print_stack(file=file)
    os.replace(f"{log}.tasks.new", f"{log}.tasks")


def _run(argv: list[str]) -> int:
    [command] = metadata.entry_points(group="console_scripts", name="agentd")
    sys.argv = ["agentd", *argv]
    try:
        command.load()()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


if __name__ == "__main__":
    main()
