"""What a measurement stands on: a folder on a disk, a nats-server, a stub model, agents."""

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

# A prompt of the size that people write, with a value from the message.
PROMPT = """\
You are {{ agent.name }}, a careful analyst of short texts.

Read the text, name its sentiment (positive, negative, mixed or neutral), the two or three themes
that carry it, and the sentence that shows each best. Quote, never paraphrase. If the text is too
short for a judgement, say so instead of guessing. Conversation {{ context.conversationId }}.
"""


@dataclass(frozen=True)
class Rig:
    """A nats-server and a stub model that run.

    `stub_url` is the stub's base URL; `connect` opens a connection of our own to the server.
    """

    folder: Path
    server: RunningServer
    stub: Child
    stub_url: str

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncGenerator[Client]:
        """A connection that is closed after the block."""
        client = await nats.connect(
            self.server.url, token=self.server.token, pending_size=64 * 1024 * 1024
        )
        try:
            yield client
        finally:
            await client.close()

    def environ(self) -> dict[str, str]:
        """The environment in which agentd finds this server."""
        address = {"NATS_URL": self.server.url, "NATS_TOKEN": self.server.token}
        return clean_environ() | address

    def agents(self, project: Path) -> AbstractAsyncContextManager[Child]:
        """`agentd up` on a project made by `write_project`."""
        return agentd_up(project, self.environ())

    def stub_model(self) -> str:
        """The `model:` of a manifest that calls the stub."""
        return f"{{name: openai/stub, api_base: '{self.stub_url}', api_key: {STUB_KEY}}}"


@contextlib.asynccontextmanager
async def rig(durability: Durability) -> AsyncGenerator[Rig]:
    """Starts everything in a temporary folder, and ends and removes it after the block."""
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


def agentd_up(project: Path, environ: Mapping[str, str]) -> AbstractAsyncContextManager[Child]:
    """`agentd up`, ready when it says so."""
    command = [AGENTD, "up", "manifests", "--http", "127.0.0.1:0", "--env", ENV]
    return running(command, ready=" ready in ", folder=project, environ=environ)


def clean_environ() -> dict[str, str]:
    """Ours without what would lead agentd elsewhere."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("AGENTD_", "NATS_"))}


def write_project(folder: Path, manifests: Mapping[str, str]) -> Path:
    """A project of these manifests (YAML by name), which share the prompt `prompt.md`."""
    for part in ("manifests", "prompts"):
        (folder / part).mkdir(parents=True)
    (folder / "prompts" / "prompt.md").write_text(PROMPT)
    for name, text in manifests.items():
        (folder / "manifests" / f"{name}.yaml").write_text(text)
    return folder


def manifest(capability: str, model: str, **fields: str) -> str:
    """The text of a manifest that takes any number of tasks that we keep in flight."""
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
