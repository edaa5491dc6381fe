"""The private folder of the embedded server: its files are read back, and only by their owner."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agentd.nats.folder import NatsFolder, ServerRecord

RECORD = ServerRecord(url="nats://127.0.0.1:4711", token="s3cr3t", pid=7, version="2.15.1")


@pytest.fixture
def folder(tmp_path: Path) -> NatsFolder:
    made = NatsFolder(tmp_path / "project" / ".agentd")
    made.make()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_private_and_ignored_by_git(folder: NatsFolder) -> None:
    assert mode(folder.path) == 0o700
    assert (folder.path / ".gitignore").read_text() == "*\n"
    assert folder.is_ours()


def test_an_open_folder_is_made_private(tmp_path: Path) -> None:
    (tmp_path / ".agentd").mkdir(mode=0o755)
    NatsFolder(tmp_path / ".agentd").make()

    assert mode(tmp_path / ".agentd") == 0o700


def test_a_folder_that_does_not_exist_is_not_ours(tmp_path: Path) -> None:
    assert not NatsFolder(tmp_path / "nothing").is_ours()
    (tmp_path / "file").touch()
    assert not NatsFolder(tmp_path / "file").is_ours()


def test_a_record_is_read_back_and_private(folder: NatsFolder) -> None:
    assert folder.recall() is None
    folder.remember(RECORD)

    assert folder.recall() == RECORD
    assert RECORD.port == 4711
    assert RECORD.token not in repr(RECORD)
    assert mode(folder.path / "server.json") == 0o600
    assert [path.suffix for path in folder.path.glob("server.*")] == [".json"]


@pytest.mark.parametrize(
    "damage",
    ["", "{}", "[1]", "\x00", '{"url": "nats://h", "token": "t", "pid": 1, "version": "2"}'],
)
def test_a_damaged_record_is_no_record(folder: NatsFolder, damage: str) -> None:
    (folder.path / "server.json").write_text(damage)

    assert folder.recall() is None


def test_the_lock_is_held_once(folder: NatsFolder) -> None:
    lease = folder.lease()
    assert lease is not None
    copy = os.dup(lease)
    assert folder.lease() is None
    os.close(lease)
    assert folder.lease() is None  # a copy holds it
    os.close(copy)

    again = folder.lease()
    assert again is not None
    os.close(again)


@pytest.mark.parametrize(("durability", "sync"), [("always", "always"), ("relaxed", '"100ms"')])
def test_the_configuration_has_the_port_the_token_and_the_durability(
    folder: NatsFolder, durability: str, sync: str
) -> None:
    file = folder.configure(-1, "s3cr3t", durability)  # pyright: ignore[reportArgumentType]

    text = file.read_text()
    assert 'listen: "127.0.0.1:-1"\n' in text
    assert 'authorization { token: "s3cr3t" }\n' in text
    assert f"sync_interval: {sync}\n" in text
    assert f'store_dir: "{folder.store}"\n' in text
    assert mode(file) == 0o600


def test_a_folder_with_quotes_in_its_name_is_quoted(tmp_path: Path) -> None:
    odd = NatsFolder(tmp_path / 'a "b" ü')
    odd.make()

    assert (
        f'ports_file_dir: "{tmp_path}/a \\"b\\" ü"\n' in odd.configure(1, "t", "always").read_text()
    )


def test_the_problems_are_the_lines_that_are_not_informational(folder: NatsFolder) -> None:
    assert folder.problems() == ""
    folder.log.write_text("[1] [INF] Starting\n[1] [WRN] Slow\n[1] [FTL] No space\n")

    assert folder.problems() == "  [1] [WRN] Slow\n  [1] [FTL] No space"
    folder.log.write_text("x" * 10_000)
    assert len(folder.problems()) == 4_000


def test_a_new_log_is_empty_and_private(folder: NatsFolder) -> None:
    folder.log.write_text("old\n")
    descriptor = folder.open_log()
    os.write(descriptor, b"new\n")
    os.close(descriptor)

    assert folder.log.read_text() == "new\n"
    assert mode(folder.log) == 0o600


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ('{"nats": ["nats://127.0.0.1:4711"]}', "nats://127.0.0.1:4711"),
        ('{"nats": ["nats:', None),
        ('{"nats": []}', None),
        ("", None),
    ],
)
def test_a_server_listens_when_its_ports_file_is_complete(
    folder: NatsFolder, written: str, url: str | None
) -> None:
    (folder.path / "nats-server_7.ports").write_text(written)

    assert folder.listening(7) == url
    assert folder.listening(77) is None


def test_ports_files_of_killed_servers_are_removed(folder: NatsFolder) -> None:
    (folder.path / "nats-server_7.ports").write_text('{"nats": ["nats://127.0.0.1:4711"]}')
    folder.forget_ports()

    assert folder.listening(7) is None


def test_a_store_is_synced_while_files_disappear(folder: NatsFolder) -> None:
    folder.sync()  # without a store
    (folder.store / "streams").mkdir(parents=True)
    (folder.store / "streams" / "meta").write_text("x")
    (folder.store / "streams" / "moved").symlink_to(folder.path / "nothing")
    folder.sync()
