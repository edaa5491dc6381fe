"""The private folder of the embedded server: its lock, its record, its configuration, its log."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentd.settings import Durability

_SYNC: Mapping[Durability, str] = {"always": "always", "relaxed": '"100ms"'}

_CONFIG = """\
# Written by agentd at every start. The token is this folder's secret.
listen: "127.0.0.1:{port}"
server_name: agentd
authorization {{ token: "{token}" }}
ports_file_dir: {folder}
max_payload: 8MB
jetstream {{
  store_dir: {store}
  sync_interval: {sync}
  max_file_store: 64GB
  max_memory_store: 512MB
}}
"""


@dataclass(frozen=True)
class ServerRecord:
    """What is known about the last server of a folder: `url` is without the token."""

    url: str
    token: str = field(repr=False)
    pid: int
    version: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@dataclass(frozen=True)
class NatsFolder:
    """The `.agentd` folder of a project. Only its owner can look inside."""

    path: Path

    @property
    def store(self) -> Path:
        """Where the server keeps its streams."""
        return self.path / "store"

    @property
    def log(self) -> Path:
        return self.path / "nats.log"

    @property
    def lock(self) -> Path:
        return self.path / "nats.lock"

    def sync(self) -> None:
        """Has the store's files and folders written to the disk, as they are now."""
        for folder, _, files in os.walk(self.store):
            for path in (folder, *(os.path.join(folder, name) for name in files)):
                with suppress(FileNotFoundError):  # the server is at work there
                    descriptor = os.open(path, os.O_RDONLY)
                    try:
                        os.fsync(descriptor)
                    finally:
                        os.close(descriptor)

    def make(self) -> None:
        """Make it, if need be, and make it private."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        (self.path / ".gitignore").write_text("*\n")

    def is_ours(self) -> bool:
        """Whether it is there and belongs to this user."""
        return self.path.is_dir() and self.path.stat().st_uid == os.getuid()

    def lease(self) -> int | None:
        """A file descriptor that holds the lock; None while a server, or a start of one, has it.

        The lock lasts as long as any copy of the descriptor, in whichever process, is open.
        """
        lease = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lease)
            return None
        return lease

    def configure(self, port: int, token: str, durability: Durability) -> Path:
        """Write the server's configuration; port -1 leaves the choice to the server."""
        config = self.path / "nats.conf"
        text = _CONFIG.format(
            port=port,
            token=token,
            folder=_quoted(self.path),
            store=_quoted(self.store),
            sync=_SYNC[durability],
        )
        _write_private(config, text)
        return config

    def open_log(self) -> int:
        """A descriptor of a new, empty log."""
        self.log.unlink(missing_ok=True)
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def complaints(self) -> str:
        """What the log says beyond the usual, indented, for the text of an error."""
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
            return "\n".join(f"  {line}" for line in lines if "[INF]" not in line)[-4_000:]
        return ""

    def forget_ports(self) -> None:
        """Remove what killed servers left: process ids come again."""
        for stale in self.path.glob("*.ports"):
            stale.unlink(missing_ok=True)

    def listening(self, pid: int) -> str | None:
        """The URL where the server listens, once it does. It writes this file in several pieces."""
        for file in self.path.glob(f"*_{pid}.ports"):
            with suppress(OSError, ValueError, LookupError):
                return str(json.loads(file.read_text())["nats"][0])
        return None

    def remember(self, record: ServerRecord) -> None:
        """Write down a server that answers, for adopters, commands and the next start."""
        _write_private(self.path / "server.json", json.dumps(vars(record)) + "\n")

    def recall(self) -> ServerRecord | None:
        """The last server that was written down; it need not run any more."""
        try:
            told = json.loads((self.path / "server.json").read_text())
            record = ServerRecord(
                url=str(told["url"]),
                token=str(told["token"]),
                pid=int(told["pid"]),
                version=str(told["version"]),
            )
            return record if record.port else None
        except (OSError, ValueError, TypeError, LookupError):
            return None


def _write_private(path: Path, text: str) -> None:
    """Readers see the old text or the new one, never a part, and only this user sees either."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)
