"""Servers of NATS with configurations of their own: plain, with users, or three in a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from pathlib import Path

from agentd.nats.binary import find_binary
from agentd.nats.bus import Bus
from tests.waiting import PATIENCE

JETSTREAM = "jetstream {{ store_dir: {folder}/store }}\n"


@contextlib.asynccontextmanager
async def server(folder: Path, config: str) -> AsyncGenerator[str]:
    """The URL of a server with this configuration, on a free port."""
    file = folder / "nats.conf"
    file.write_text(f'listen: "127.0.0.1:-1"\nports_file_dir: {folder}\n{config}')
    process = await _start(file)
    ports = folder / f"nats-server_{process.pid}.ports"
    try:
        async with asyncio.timeout(PATIENCE):
            while not (os.path.exists(ports) and os.path.getsize(ports)):  # noqa: ASYNC110, ASYNC240
                await asyncio.sleep(0.02)
        yield json.loads(ports.read_text())["nats"][0]
    finally:
        await _stop(process)


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
        self._processes: list[Process] = []
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[3:])
        self._files = [folder / f"n{number}.conf" for number in range(3)]
        for number, file in enumerate(self._files):
            file.write_text(
                f'server_name: n{number}\nlisten: "127.0.0.1:{ports[number]}"\n'
                f"jetstream {{ store_dir: {folder}/store{number} }}\n"
                f'cluster {{ name: c, listen: "127.0.0.1:{ports[number + 3]}", '
                f"routes: [{routes}] }}\n"
            )

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *error: object) -> None:
        for process in self._processes:
            await _stop(process)

    async def start(self, *numbers: int) -> None:
        """Starts these of the servers 0, 1 and 2."""
        self._processes += [await _start(self._files[number]) for number in numbers]

    @property
    def urls(self) -> list[str]:
        return self._urls


async def _start(file: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        find_binary(), "-c", file, stderr=asyncio.subprocess.DEVNULL
    )


async def _stop(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now. Servers of a cluster must know them before they start."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
