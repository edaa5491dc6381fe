"""Starts the processes of tools for the daemon, and kills them when the daemon ends.

The daemon runs it as `python -I -S spawner.py`: a small program with no other thread and nothing
imported but the standard library. Its standard input is a Unix socket to the daemon. Both sides
write one JSON object a line:

    {"id": 7, "argv": […], "env": {…}, "cwd": "/…"}  request: start this program; the descriptors of
                                                     its stdin, stdout and stderr are sent with it
    {"id": 7, "pid": 123}                            it runs and leads its own process group
    {"id": 7, "errno": 2, "text": "…", "file": "…"}  it could not be started
    {"id": 7, "code": -9}                            it has ended; the rest of its group is killed

When the daemon ends, in whatever way, the kernel closes the socket. The spawner then kills every
group that still runs. No process can be missed: the program that starts it also kills it.
"""

import json
import os
import select
import signal
import socket
import subprocess
from contextlib import suppress
from typing import Any

_PIECE = 1 << 16
_STANDARD_STREAMS = 3  # descriptors that come with a request
_MOST_DESCRIPTORS = 64  # in one read; the kernel does not merge those of two requests

Request = dict[str, Any]


class Spawner:
    """Serves one daemon."""

    def __init__(self, daemon: socket.socket) -> None:
        self._daemon = daemon
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._descriptors: list[int] = []
        self._unread = b""

    def serve(self, wakeup: int) -> None:
        """Starts programs and reports their ends until the daemon ends. The descriptor `wakeup` is
        readable when a child may have ended."""
        try:
            while True:
                ready, _, _ = select.select([self._daemon, wakeup], [], [])
                if wakeup in ready:
                    os.read(wakeup, _PIECE)
                    self._report_ended()
                if self._daemon in ready and not self._receive():
                    return
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            for process in self._running.values():
                _kill_group(process.pid)

    def _receive(self) -> bool:
        """Reads requests and starts their programs; False when the daemon has ended."""
        data, descriptors, flags, _ = socket.recv_fds(self._daemon, _PIECE, _MOST_DESCRIPTORS)
        if flags & socket.MSG_CTRUNC:
            raise OSError("descriptors of a request were lost")
        self._descriptors += descriptors
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            # Requests and their descriptors arrive in the same order.
            streams = self._descriptors[:_STANDARD_STREAMS]
            del self._descriptors[:_STANDARD_STREAMS]
            self._start(json.loads(line), streams)
        return bool(data)

    def _start(self, request: Request, streams: list[int]) -> None:
        stdin, stdout, stderr = streams
        try:
            process = subprocess.Popen(
                request["argv"],
                env=request["env"],
                cwd=request["cwd"],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            self._tell(request, errno=error.errno, text=error.strerror, file=error.filename)
        except ValueError as error:  # an argument has a zero byte, or half a surrogate pair
            self._tell(request, errno=None, text=str(error), file=None)
        else:
            self._running[request["id"]] = process
            self._tell(request, pid=process.pid)
        finally:
            for stream in streams:
                os.close(stream)

    def _report_ended(self) -> None:
        for number, process in list(self._running.items()):
            code = process.poll()
            if code is not None:
                # Its children are still in the group. As long as the group has a member, the kernel
                # does not give its id to another process.
                _kill_group(process.pid)
                del self._running[number]
                self._tell({"id": number}, code=code)

    def _tell(self, request: Request, **what: Any) -> None:
        self._daemon.sendall(json.dumps({"id": request["id"], **what}).encode() + b"\n")


def _kill_group(leader: int) -> None:
    # macOS answers EPERM, not ESRCH, for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _wake_on_signals() -> int:
    """A descriptor that is readable after a signal.

    A service manager may send SIGTERM to the daemon and to the spawner. The spawner must outlive
    the daemon, which still finishes its tasks; so it handles the signal and does nothing. A handler
    does, SIG_IGN would not: the programs that it starts would inherit it.
    """
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    return readable


def main() -> None:
    """Returns when the daemon has ended."""
    with socket.socket(fileno=os.dup(0)) as daemon:
        Spawner(daemon).serve(_wake_on_signals())


if __name__ == "__main__":
    main()
