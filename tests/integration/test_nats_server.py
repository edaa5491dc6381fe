"""The embedded server, as real processes: started, adopted, killed, and started again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from agentd.errors import StartError
from agentd.nats.bus import Bus
from agentd.nats.folder import NatsFolder
from agentd.nats.server import EmbeddedServer, RunningServer, find, find_binary
from agentd.nats.streams import ensure
from agentd.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# Another agentd: it prints its server, and keeps it until its input ends.
OTHER = """\
import asyncio, json, sys
from pathlib import Path
from agentd.nats.server import EmbeddedServer

async def main():
    embedded = EmbeddedServer(Path(sys.argv[1]), "relaxed")
    server = await embedded.ensure()
    print(json.dumps([server.url, server.token, server.pid, server.owned]), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await embedded.stop()

asyncio.run(main())
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The private folder of a project; it does not exist yet."""
    (tmp_path / "project").mkdir()
    return tmp_path / "project" / ".agentd"


@pytest.fixture
async def embedded(state: Path) -> AsyncIterator[EmbeddedServer]:
    embedded = EmbeddedServer(state, "relaxed")
    yield embedded
    await embedded.stop()


@pytest.fixture
async def second(state: Path) -> AsyncIterator[EmbeddedServer]:
    """The same server as another agentd of the project sees it."""
    second = EmbeddedServer(state, "relaxed")
    yield second
    await second.stop()


class Other:
    """Another agentd process."""

    def __init__(self, state: Path, before: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", before + OTHER, str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    async def server(self) -> tuple[str, str, int, bool]:
        """URL, token, process id, and whether it is owned, once the server runs."""
        assert self.process.stdout
        line = await asyncio.to_thread(self.process.stdout.readline)
        url, token, pid, owned = json.loads(line)
        return url, token, pid, owned

    async def aclose(self) -> None:
        """Ends its input, and waits for its end."""
        await asyncio.to_thread(self.process.communicate)


async def connect(server: RunningServer, **options: Any) -> Client:
    return await nats.connect(server.url, token=server.token, **options)


async def has_ended(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    return await until(lambda: not Path(f"/proc/{pid}/stat").exists() or is_zombie(pid))


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    for _ in range(int(seconds / 0.01)):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return condition()


async def kill(server: RunningServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    assert await has_ended(server.pid)


async def test_the_server_starts_with_jetstream_on_loopback(embedded: EmbeddedServer) -> None:
    server = await embedded.ensure()
    assert server.owned
    assert server.url.startswith("nats://127.0.0.1:")
    client = await connect(server)
    assert client.max_payload == 8 * 1024 * 1024
    account = await client.jetstream().account_info()
    assert account.streams == 0
    await client.close()


@pytest.mark.parametrize("login", ["{}", '{"auth_token": "guess"}'])
async def test_a_client_without_the_token_is_refused(embedded: EmbeddedServer, login: str) -> None:
    server = await embedded.ensure()
    port = int(server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"CONNECT {login}\r\nPING\r\n".encode())
    answer = await reader.read()
    assert b"'Authorization Violation'" in answer
    assert b"PONG" not in answer
    writer.close()
    await writer.wait_closed()


async def test_the_token_is_only_in_the_private_folder(embedded: EmbeddedServer) -> None:
    server = await embedded.ensure()
    state = server.store.parent
    assert server.token not in command(server.pid) + repr(server)
    assert server.token in (state / "nats.conf").read_text()
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    for name in ("nats.conf", "server.json", "nats.log", "nats.lock"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600
    assert (state / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(("durability", "sync"), [("always", "always"), ("relaxed", '"100ms"')])
async def test_the_durability_is_in_the_configuration(
    state: Path, durability: Any, sync: str
) -> None:
    embedded = EmbeddedServer(state, durability)
    await embedded.ensure()
    await embedded.stop()
    assert f"sync_interval: {sync}\n" in (state / "nats.conf").read_text()


async def test_the_store_of_a_running_server_can_be_synced(state: Path) -> None:
    """With `relaxed`, new streams are synced once, while the server moves files."""
    embedded = EmbeddedServer(state, "relaxed")
    server = await embedded.ensure()
    bus = await Bus.connect({"servers": server.url, "token": server.token}, timeout=5)
    try:
        settings = Settings(state=state, durability="relaxed")
        await asyncio.gather(ensure(bus, settings), ensure(bus, settings))
        NatsFolder(state).sync()
        assert list(NatsFolder(state).store.rglob("meta.inf"))
    finally:
        await bus.close()
        await embedded.stop()


async def test_a_second_ensure_returns_the_same_server(embedded: EmbeddedServer) -> None:
    assert await embedded.ensure() == await embedded.ensure()


async def test_a_second_agentd_adopts_the_server_and_does_not_stop_it(
    embedded: EmbeddedServer, second: EmbeddedServer
) -> None:
    server = await embedded.ensure()
    adopted = await second.ensure()
    assert (adopted.pid, adopted.url, adopted.token) == (server.pid, server.url, server.token)
    assert not adopted.owned
    await second.stop()
    assert (await embedded.ensure()).pid == server.pid


async def test_a_restart_keeps_port_and_token(embedded: EmbeddedServer) -> None:
    first = await embedded.ensure()
    await embedded.stop()
    again = await embedded.ensure()
    assert (again.url, again.token) == (first.url, first.token)
    assert again.pid != first.pid


async def test_clients_and_messages_survive_a_kill(embedded: EmbeddedServer) -> None:
    first = await embedded.ensure()
    back = asyncio.Event()

    async def reconnected() -> None:
        back.set()

    async def ignore(_: Exception) -> None:
        """The kill is intended."""

    client = await connect(
        first, reconnected_cb=reconnected, error_cb=ignore, reconnect_time_wait=0.05
    )
    stream = client.jetstream()
    await stream.add_stream(name="S", subjects=["s"])
    for number in range(100):
        await stream.publish("s", str(number).encode())
    await kill(first)
    again = await embedded.ensure()
    assert (again.url, again.token, again.owned) == (first.url, first.token, True)
    await asyncio.wait_for(back.wait(), 10)
    assert (await stream.stream_info("S")).state.messages == 100
    await client.close()


async def test_an_adopter_starts_the_server_again_after_its_owner_has_stopped_it(
    embedded: EmbeddedServer, second: EmbeddedServer
) -> None:
    first = await embedded.ensure()
    await second.ensure()
    await embedded.stop()
    taken = await second.ensure()
    assert (taken.url, taken.token, taken.owned) == (first.url, first.token, True)
    assert not (await embedded.ensure()).owned


async def test_racing_tasks_and_processes_get_one_server(state: Path) -> None:
    others = [Other(state) for _ in range(4)]
    mine = [EmbeddedServer(state, "relaxed") for _ in range(4)]
    servers = await asyncio.gather(*(one.ensure() for one in mine for _ in range(2)))
    theirs = await asyncio.gather(*(other.server() for other in others))
    assert len({(s.url, s.token, s.pid) for s in servers} | {t[:3] for t in theirs}) == 1
    assert sum(s.owned for s in servers) / 2 + sum(owned for *_, owned in theirs) == 1
    await asyncio.gather(*(one.stop() for one in mine), *(other.aclose() for other in others))
    assert find(state) is None


async def test_racing_to_replace_a_killed_server_gives_one(state: Path) -> None:
    mine = [EmbeddedServer(state, "relaxed") for _ in range(5)]
    first = await mine[0].ensure()
    for _ in range(5):
        await kill(await mine[0].ensure())
        servers = await asyncio.gather(*(one.ensure() for one in mine))
        assert len({s.pid for s in servers}) == 1
        assert {(s.url, s.token) for s in servers} == {(first.url, first.token)}
        assert sum(s.owned for s in servers) == 1
    for one in mine:
        await one.stop()


async def test_the_server_ends_with_its_parent_and_the_next_agentd_starts_it(
    state: Path, second: EmbeddedServer
) -> None:
    async with aclosing(Other(state)) as other:
        url, token, pid, owned = await other.server()
        assert owned
        assert not (await second.ensure()).owned
        other.process.kill()
        assert await has_ended(pid)
    again = await second.ensure()
    assert (again.url, again.token, again.owned) == (url, token, True)


async def test_an_orphan_is_adopted(state: Path, second: EmbeddedServer) -> None:
    """As on macOS, where the server outlives an agentd that was killed."""
    elsewhere = "import sys; sys.platform = 'darwin'\n"
    async with aclosing(Other(state, elsewhere)) as other:
        _, _, pid, _ = await other.server()
        other.process.kill()
    adopted = await second.ensure()
    assert (adopted.pid, adopted.owned) == (pid, False)
    await kill(adopted)


async def test_ctrl_c_in_the_terminal_does_not_reach_the_server(embedded: EmbeddedServer) -> None:
    server = await embedded.ensure()
    assert os.getsid(server.pid) == server.pid != os.getsid(0)


async def test_only_the_server_holds_the_lock(embedded: EmbeddedServer) -> None:
    server = await embedded.ensure()
    assert holders(server.store.parent / "nats.lock") == {server.pid}


def holders(file: Path) -> set[int]:
    """The processes that have a file open."""
    return {
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if str(file) in open_files(process)
    }


def open_files(process: Path) -> list[str]:
    try:
        return [os.readlink(file) for file in (process / "fd").iterdir()]
    except OSError:
        return []


async def test_a_server_whose_port_is_taken_gets_another_one(embedded: EmbeddedServer) -> None:
    first = await embedded.ensure()
    await embedded.stop()
    with socket.create_server(("127.0.0.1", int(first.url.rpartition(":")[2]))):
        again = await embedded.ensure()
    assert again.url != first.url
    assert again.token == first.token


async def test_a_server_with_another_token_is_not_ours(embedded: EmbeddedServer) -> None:
    server = await embedded.ensure()
    record = server.store.parent / "server.json"
    record.write_text(record.read_text().replace(server.token, "another"))
    assert find(server.store.parent) is None


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"url": 1, "token": 2, "pid": 3}', "\x00"])
async def test_a_damaged_record_is_replaced(state: Path, damage: str) -> None:
    put(state / "server.json", damage)
    embedded = EmbeddedServer(state, "relaxed")
    server = await embedded.ensure()
    found = find(state)
    assert found
    assert found.pid == server.pid
    await embedded.stop()


async def test_a_hung_server_is_killed(embedded: EmbeddedServer) -> None:
    server = await embedded.ensure()
    os.kill(server.pid, signal.SIGSTOP)
    await embedded.stop(grace=0.1)
    assert await has_ended(server.pid)


async def test_stop_without_a_server_does_nothing(embedded: EmbeddedServer) -> None:
    await embedded.stop()


async def test_a_cancelled_start_does_not_block_the_next_one(embedded: EmbeddedServer) -> None:
    for delay in (0.0, 0.01, 0.02, 0.03, 0.05):
        start = asyncio.create_task(embedded.ensure())
        await asyncio.sleep(delay)
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
    server = await asyncio.wait_for(embedded.ensure(), 10)
    assert server.owned


async def test_a_command_finds_the_server_from_a_folder_below(
    embedded: EmbeddedServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = state.parent / "manifests" / "team"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find(Path(".agentd")) is None
    server = await embedded.ensure()
    found = find(Path(".agentd"))
    assert found
    assert (found.url, found.token, found.owned) == (server.url, server.token, False)
    await embedded.stop()
    assert find(Path(".agentd")) is None


async def test_the_error_of_a_bad_store_has_the_log_of_the_server(
    embedded: EmbeddedServer, state: Path
) -> None:
    put(state / "store", "not a folder")
    with pytest.raises(StartError, match=r"ended with 1 while starting:\n.*FTL.*JetStream.*$"):
        await embedded.ensure()
    (state / "store").unlink()
    assert (await embedded.ensure()).owned


async def test_the_error_names_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"cannot keep a nats-server in .*file/\.agentd"):
        await EmbeddedServer(tmp_path / "file" / ".agentd").ensure()


async def test_the_error_names_a_file_that_cannot_be_written(
    embedded: EmbeddedServer, state: Path
) -> None:
    put(state / "nats.conf" / "x", "a folder where the configuration should be")
    with pytest.raises(StartError, match=r"cannot keep a nats-server in .*\.agentd: .*nats\.conf"):
        await embedded.ensure()


async def test_the_variable_names_another_binary(state: Path, tmp_path: Path) -> None:
    binary = tmp_path / "my own server"
    shutil.copy(find_binary({}), binary)
    embedded = EmbeddedServer(state, "relaxed", {"AGENTD_NATS_SERVER": str(binary)})
    server = await embedded.ensure()
    assert str(binary) in command(server.pid)
    await embedded.stop()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (None, "cannot run AGENTD_NATS_SERVER=.*No such file"),
        ("echo nats-server: v2.9.10", r"is nats-server 2\.9\.10; agentd needs 2\.12 or later"),
        ("echo something else", "is not a nats-server"),
    ],
)
def test_the_error_names_an_unusable_binary(tmp_path: Path, script: str | None, error: str) -> None:
    binary = tmp_path / "nats-server"
    if script:
        binary.write_text(f"#!/bin/sh\n{script}\n")
        binary.chmod(0o755)
    with pytest.raises(StartError, match=error):
        find_binary({"AGENTD_NATS_SERVER": str(binary)})


def test_the_binary_of_the_wheel_is_found_without_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_binary({}).name == "nats-server"
