"""Fixtures for every test: a real nats-server, a separate environment, no network outside."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from agentd.nats.server import EmbeddedServer, RunningServer
from tests.waiting import SLOWNESS

_AMBIENT = (
    "AGENTD_",
    "NATS_",
    "OPENAI_",
    "OTEL_",
    "LITELLM_",
    "ANTHROPIC_",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
)


# Where compiled files are not kept, each of the many processes that tests start compiles agentd and
# its libraries anew, which is half of its time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def _stay_on_this_machine(event: str, args: tuple[Any, ...]) -> None:
    """Refuses connections to other machines: no test can reach a real model."""
    if event != "socket.connect" or not isinstance(args[1], tuple):
        return
    host = str(args[1][0])
    if not host.startswith("127.") and host not in ("::1", "localhost"):
        raise PermissionError(f"a test tried to connect to {host}")


# By default, hypothesis fails an example that takes 200 ms, and a slow generation of examples: both
# happen on a busy machine. pytest's own timeout ends a test that hangs.
settings.register_profile(
    "no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("no-clock")

# An audit hook also sees the connections of libraries. It cannot be removed, and need not be.
sys.addaudithook(_stay_on_this_machine)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Multiplies the timeout of every test by the slowness of the machine."""
    if SLOWNESS == 1:
        return
    default = float(str(config.getini("timeout")))
    for item in items:
        marker = item.get_closest_marker("timeout")
        seconds = marker.args[0] if marker else default
        kept = marker.kwargs if marker else {}
        item.add_marker(pytest.mark.timeout(seconds * SLOWNESS, **kept), append=False)


@pytest.fixture(scope="session", autouse=True)
def bare_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hides the developer's own settings, keys and nats contexts from the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(_AMBIENT):
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One nats-server for all tests of a process. Tests share it and differ in `env`.

    A test must not stop it; a test that breaks a server starts its own.
    """
    embedded = EmbeddedServer(tmp_path_factory.mktemp("nats") / ".agentd", "relaxed")
    yield asyncio.run(embedded.ensure())
    asyncio.run(embedded.stop())


@pytest.fixture(scope="session")
def nats_url(nats_server: RunningServer) -> str:
    """The URL of `nats_server` with its token, as `nats.connect` and `--nats` take it."""
    return nats_server.url.replace("://", f"://{nats_server.token}@")


@pytest.fixture
def env() -> str:
    """The name of an environment that no other test uses."""
    return f"t{secrets.token_hex(6)}"
