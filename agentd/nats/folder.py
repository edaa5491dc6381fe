"""The private folder of the embedded server: lock, server record, configuration, log and store."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentd.settings import Durability

# `always` syncs every write to the disk before it is acknowledged. The server's default syncs every
# two minutes: a power cut loses what was acknowledged since.
_SYNC: Mapping[Durability, str] = {"always": "always", "relaxed": '"100ms"'}

_CONFIG = """\
# Written by agentd at every start. The token is a secret: it gives access to all messages.
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
    """The last server that was started in a folder. `url` does not contain the token."""

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
        """Writes the files and folders of the store to the disk, as they are now."""
        for folder, _, files in os.walk(self.store):
            # The folder too: without it, a new file may not be found after a power cut.
            for path in (folder, *(os.path.join(folder, name) for name in files)):
                with suppress(FileNotFoundError):  # the server moves files meanwhile
                    descriptor = os.open(path, os.O_RDONLY)
                    try:
                        os.fsync(descriptor)
                    finally:
                        os.close(descriptor)

    def make(self) -> None:
        """Creates the folder if it does not exist, and makes it private."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        (self.path / ".gitignore").write_text("*\n")

    def is_ours(self) -> bool:
        """Whether the folder exists and belongs to this user."""
        return self.path.is_dir() and self.path.stat().st_uid == os.getuid()

    def lease(self) -> int | None:
        """A file descriptor that holds the lock; None while a running or starting server holds it.

        The lock lasts as long as any copy of the descriptor is open, in any process. The kernel
        closes the copies of a killed process, so the lock cannot be left behind.
        """
        lease = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lease)
            return None
        return lease

    def configure(self, port: int, token: str, durability: Durability) -> Path:
        """Writes the server's configuration. With port -1 the server chooses a free port itself:
        one that agentd chooses could be taken before the server listens."""
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
        # Not truncated: a server that is just ending may still write to the old file.
        self.log.unlink(missing_ok=True)
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def problems(self) -> str:
        """The lines of the log that are not informational, indented, for the text of an error."""
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
            return "\n".join(f"  {line}" for line in lines if "[INF]" not in line)[-4_000:]
        return ""

    def forget_ports(self) -> None:
        """Removes the ports files of killed servers. A new process may get the same process id."""
        for stale in self.path.glob("*.ports"):
            stale.unlink(missing_ok=True)

    def listening(self, pid: int) -> str | None:
        """The URL where the server with this process id listens; None as long as it does not.

        The server writes its ports file in several pieces, so an incomplete one is not an error.
        """
        for file in self.path.glob(f"*_{pid}.ports"):
            with suppress(OSError, ValueError, LookupError):
                return str(json.loads(file.read_text())["nats"][0])
        return None

    def remember(self, record: ServerRecord) -> None:
        """Records a server that answers, for adopting processes, commands and the next start."""
        _write_private(self.path / "server.json", json.dumps(vars(record)) + "\n")

    def recall(self) -> ServerRecord | None:
        """The last server that was recorded; it may have ended. None for a damaged record."""
        try:
            fields = json.loads((self.path / "server.json").read_text())
            record = ServerRecord(
                url=str(fields["url"]),
                token=str(fields["token"]),
                pid=int(fields["pid"]),
                version=str(fields["version"]),
            )
            return record if record.port else None
        except (OSError, ValueError, TypeError, LookupError):
            return None


def _write_private(path: Path, text: str) -> None:
    """Replaces a file. Readers see the old or the new text, never a part; others cannot read it."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    # O_EXCL and the mode at creation: the file is never readable for others, not even for a moment.
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)
