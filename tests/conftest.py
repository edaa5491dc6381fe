"""What every test may use: a real nats-server, an environment of its own, and no way outside."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from agentd.nats.server import EmbeddedServer, RunningServer

_AMBIENT = ("AGENTD_", "NATS_", "OPENAI_", "OTEL_", "LITELLM_", "ANTHROPIC_", "XDG_CONFIG_HOME")


def _stay_on_this_machine(event: str, args: tuple[Any, ...]) -> None:
    """No test can reach a real model, or anything else that is not here."""
    if event != "socket.connect" or not isinstance(args[1], tuple):
        return
    host = str(args[1][0])
    if not host.startswith("127.") and host not in ("::1", "localhost"):
        raise PermissionError(f"a test tried to connect to {host}")


sys.addaudithook(_stay_on_this_machine)


@pytest.fixture(scope="session", autouse=True)
def bare_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the developer's own settings, keys and nats contexts reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(_AMBIENT):
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One nats-server for all tests; they stay apart through `env`. Do not stop or kill it."""
    embedded = EmbeddedServer(tmp_path_factory.mktemp("nats") / ".agentd", "relaxed")
    yield asyncio.run(embedded.ensure())
    asyncio.run(embedded.stop())


@pytest.fixture(scope="session")
def nats_url(nats_server: RunningServer) -> str:
    """Where `nats_server` is, with its token: all that `nats.connect` or `--nats` needs."""
    return nats_server.url.replace("://", f"://{nats_server.token}@")


@pytest.fixture
def env() -> str:
    """An environment that no other test has."""
    return f"t{secrets.token_hex(6)}"
