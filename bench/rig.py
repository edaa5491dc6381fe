"""Starts nats-server, the stub model and agentd in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import nats
from nats.aio.client import Client

from agentd.nats.server import EmbeddedServer, RunningServer
from agentd.settings import Durability
from bench.child import Child, running

AGENTD = Path(sys.executable).with_name("agentd")
ENV = "bench"
STUB_KEY = "none"
ROOT = Path(__file__).parent.parent

# A prompt of a usual size, with a value from the message.
PROMPT = """\
You are {{ agent.name }}, a careful analyst of short texts.

Read the text, name its sentiment (positive, negative, mixed or neutral), the two or three themes
that carry it, and the sentence that shows each best. Quote, never paraphrase. If the text is too
short for a judgement, say so instead of guessing. Conversation {{ context.conversationId }}.
"""


@dataclass(frozen=True)
class Rig:
    """A running nats-server and a running stub model, whose base URL is `stub_url`."""

    folder: Path
    server: RunningServer
    stub: Child
    stub_url: str

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncGenerator[Client]:
        """Opens a connection to the server, and closes it after the block."""
        client = await nats.connect(
            self.server.url, token=self.server.token, pending_size=64 * 1024 * 1024
        )
        try:
            yield client
        finally:
            await client.close()

    def environ(self) -> dict[str, str]:
        """The environment variables with which agentd connects to this server."""
        address = {"NATS_URL": self.server.url, "NATS_TOKEN": self.server.token}
        return clean_environ() | address

    def agents(self, project: Path, *, port: int = 0) -> AbstractAsyncContextManager[Child]:
        """Runs `agentd up` in a project that `write_project` has made."""
        return agentd_up(project, self.environ(), port=port)

    def stub_model(self) -> str:
        """The `model:` of a manifest that calls the stub."""
        return f"{{name: openai/stub, api_base: '{self.stub_url}', api_key: {STUB_KEY}}}"


@contextlib.asynccontextmanager
async def rig(durability: Durability) -> AsyncGenerator[Rig]:
    """Starts everything in a temporary folder; ends it and removes the folder after the block."""
    with tempfile.TemporaryDirectory(prefix="agentd-bench-") as name:
        folder = Path(name)
        server = EmbeddedServer(folder / "nats", durability)
        stub = [sys.executable, "-m", "agentd.testing.stub_model", "--port", "0"]
        try:
            at = await server.ensure()
            async with running(stub, ready="http://", folder=folder) as child:
                yield Rig(folder, at, child, child.line)
        finally:
            await server.stop()


def agentd_up(
    project: Path, environ: Mapping[str, str], *, port: int = 0
) -> AbstractAsyncContextManager[Child]:
    """Runs `agentd up`; the block starts when it is ready. Port 0 is any free one."""
    command = [AGENTD, "up", "manifests", "--http", f"127.0.0.1:{port}", "--env", ENV]
    return running(command, ready=" ready in ", folder=project, environ=environ)


def clean_environ() -> dict[str, str]:
    """The present environment without the settings of agentd and NATS."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("AGENTD_", "NATS_"))}


def write_project(folder: Path, manifests: Mapping[str, str]) -> Path:
    """Writes a project with these manifests (name to YAML), which share the prompt `prompt.md`."""
    for part in ("manifests", "prompts"):
        (folder / part).mkdir(parents=True)
    (folder / "prompts" / "prompt.md").write_text(PROMPT)
    for name, text in manifests.items():
        (folder / "manifests" / f"{name}.yaml").write_text(text)
    return folder


def manifest(capability: str, model: str, **fields: str) -> str:
    """The text of a manifest whose concurrency is above every load of the benchmarks."""
    return "".join(
        f"{key}: {value}\n"
        for key, value in {
            "description": "Answers what the benchmark asks.",
            "capabilities": f"[{capability}]",
            "model": model,
            "prompt": "prompt.md",
            "limits": "{concurrency: 600}",
            **fields,
        }.items()
    )
