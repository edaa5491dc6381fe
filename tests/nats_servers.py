"""Servers of NATS with configurations of their own: plain, with users, or three in a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

from agentd.nats.bus import Bus
from agentd.nats.server import find_binary
from tests.waiting import PATIENCE

JETSTREAM = "jetstream {{ store_dir: {folder}/store }}\n"


@contextlib.contextmanager
def server(folder: Path, config: str, *, port: int = -1, **environ: str) -> Generator[str]:
    """The URL of a server with this configuration, by default on a free port, and with these
    variables in its environment. It writes `nats.log`."""
    file = folder / "nats.conf"
    place = f'listen: "127.0.0.1:{port}"\nports_file_dir: {folder}\nlog_file: {folder}/nats.log\n'
    file.write_text(place + config)
    process = subprocess.Popen([find_binary(), "-c", file], env={**os.environ, **environ})
    ports = folder / f"nats-server_{process.pid}.ports"
    deadline = time.monotonic() + PATIENCE
    try:
        while not (ports.exists() and ports.stat().st_size):
            assert process.poll() is None, (folder / "nats.log").read_text()
            assert time.monotonic() < deadline, "nats-server does not listen"
            time.sleep(0.01)
        yield json.loads(ports.read_text())["nats"][0]
    finally:
        _stop(process)


@contextlib.asynccontextmanager
async def connected(url: str, **options: object) -> AsyncGenerator[Bus]:
    """A connection, closed at the end."""
    bus = await Bus.connect({"servers": url, **options}, timeout=PATIENCE)
    try:
        yield bus
    finally:
        await bus.close()


class Cluster:
    """Three servers on loopback, each with a store of its own; none runs at first."""

    def __init__(self, folder: Path) -> None:
        ports = _free_ports(6)
        self._urls = [f"nats://127.0.0.1:{port}" for port in ports[:3]]
        self._processes: list[subprocess.Popen[bytes]] = []
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[3:])
        self._files = [folder / f"n{number}.conf" for number in range(3)]
        for number, file in enumerate(self._files):
            file.write_text(
                f'server_name: n{number}\nlisten: "127.0.0.1:{ports[number]}"\n'
                f"jetstream {{ store_dir: {folder}/store{number} }}\n"
                f'cluster {{ name: c, listen: "127.0.0.1:{ports[number + 3]}", '
                f"routes: [{routes}] }}\n"
            )

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            _stop(process)

    def start(self, *numbers: int) -> None:
        """Starts these of the servers 0, 1 and 2."""
        for number in numbers:
            command = [find_binary(), "-c", self._files[number]]
            self._processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

    @property
    def urls(self) -> list[str]:
        return self._urls


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now. Servers of a cluster must know them before they start."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
