"""The settings of a process, which cannot change while it runs; everything else is in manifests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentd.errors import UsageError
from agentd.protocol.subjects import environment

LogFormat = Literal["text", "json"]
Durability = Literal["always", "relaxed"]
Switch = Literal["on", "off"]

DEFAULT_HTTP = "127.0.0.1:8000"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One process's settings.

    Attributes:
        env: the environment, the second token of every subject.
        nats: the URL of `--nats`. Without it, `agentd.nats.connection` uses the environment, a
            context of the nats command line, or the embedded server, in this order.
        state: the project's folder `.agentd`, with the files of the embedded server.
        http: `host:port` of the HTTP server, or "off". Without it, `DEFAULT_HTTP`, or another
            port if that one is taken.
        keys: the file of the keys with which requests over HTTP are sent. Without it,
            `keys.json` in `state`, and requests from this machine need a key once there is one.
        index: the folder of the index of the log. Without it, `agentd` in the user's folder for
            caches.
        model: the model of agents whose manifest names none.
        log_format: `text` to read, `json` for programs.
        durability: how the embedded server writes to the disk. `always`: what it has acknowledged
            survives a power cut. `relaxed`: faster, but the last 100 ms may be lost.
        grace: seconds that a drain waits for running tasks.
        heartbeat: seconds between two heartbeats of a replica.
        poll: seconds between two comparisons of the manifests' contents, for file systems that
            report no changes; 0 is off.
        log_days, log_bytes: how long and how much the log stores.
        stream_bytes: how much each other stream stores; 0 is no limit.
        memory_bytes: how much each stream in memory stores; with 0 they are stored in files.
        consumers: how many consumers each stream may have.
        replicas: on how many servers of a NATS cluster each stream is stored.
        audit: whether a Merkle tree over the log is kept: `on` or `off`.
        audit_key: the file of the private key that signs it. Without it, the replicas of an
            environment share a key that is stored on NATS.
    """

    env: str = "dev"
    nats: str | None = None
    state: Path = Path(".agentd")
    http: str | None = None
    keys: str | None = None
    index: str | None = None
    model: str = "mock/echo"
    log_format: LogFormat = "text"
    durability: Durability = "always"
    grace: float = 30.0
    heartbeat: float = 5.0
    poll: float = 0.0
    log_days: float = 30.0
    log_bytes: int = 10 * 1024**3
    stream_bytes: int = 0
    memory_bytes: int = 256 * 1024**2
    # Since 2.15 the server allows 1,000 by default, and -1 does not lift that limit.
    consumers: int = 20_000
    replicas: int = 1
    audit: Switch = "on"
    audit_key: str | None = None

    @property
    def key_file(self) -> Path:
        """The file of the keys."""
        return Path(self.keys) if self.keys else self.state / "keys.json"

    @property
    def index_folder(self) -> Path:
        """The folder of the index."""
        if self.index:
            return Path(self.index)
        caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(caches).expanduser() / "agentd"


def from_environment(environ: Mapping[str, str] = os.environ, **flags: object) -> Settings:
    """The settings of a command: flags that are not None, then variables `AGENTD_*`, then defaults.

    An empty variable counts as not set.

    Raises:
        UsageError: a value does not have the right type; the text names the variable.
        TypeError: a flag is not the name of a setting.
    """
    values: dict[str, object] = {}
    for name, field in Settings.__dataclass_fields__.items():
        variable = f"AGENTD_{name.upper()}"
        flag = flags.pop(name, None)
        raw = flag if flag is not None else environ.get(variable) or None
        if raw is not None:
            values[name] = _typed(variable, raw, field.default)
    if flags:
        raise TypeError(f"no such settings: {', '.join(flags)}")
    # Checked here: the name becomes a part of every subject.
    values["env"] = environment(str(values.get("env", Settings.env)))
    return Settings(**values)  # type: ignore[arg-type]


_CHOICES = {
    "AGENTD_LOG_FORMAT": ("text", "json"),
    "AGENTD_DURABILITY": ("always", "relaxed"),
    "AGENTD_AUDIT": ("on", "off"),
}


def _typed(variable: str, raw: object, default: object) -> object:
    if isinstance(default, float):
        try:
            number = float(str(raw))
        except ValueError:
            raise UsageError(f"{variable}={raw!r} is not a number") from None
        if not 0 <= number < 1e9:
            raise UsageError(f"{variable}={raw!r} must be at least 0 and less than a billion")
        return number
    if isinstance(default, int):
        if not str(raw).isdecimal():
            raise UsageError(f"{variable}={raw!r} is not a whole number")
        return int(str(raw))
    if isinstance(default, Path):
        return Path(str(raw))
    choices = _CHOICES.get(variable)
    if choices and raw not in choices:
        raise UsageError(f"{variable}={raw!r} is not one of {', '.join(choices)}")
    return str(raw)
