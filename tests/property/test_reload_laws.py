"""After any sequence of edits, the running agents are the last valid version of each file."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.catalog.catalog import Catalog, load
from agentd.metrics import Metrics
from agentd.models.choose import Models
from agentd.nats.bus import Bus
from agentd.runtime.runtime import Runtime
from agentd.settings import Settings
from agentd.tools.open import Tools

NAMES = ("ada", "bob", "eve")

MANIFESTS = {
    "valid": "capabilities: [analysis]\n",
    "valid, other limits": "capabilities: [analysis]\nlimits: {concurrency: 2}\n",
    "valid, other name": "capabilities: [analysis]\nname: zoe\nprompt: shared.md\n",
    "valid, other prompt": "capabilities: [research]\nprompt: shared.md\n",
    "unknown field": "capabilities: [analysis]\ncapabilites: [x]\n",
    "half written": "capabilities: [analy",
    "no such model": "capabilities: [analysis]\nmodel: mock/ecko\n",
    "gone": None,
}
PROMPTS = {
    "valid": "You are kind.",
    "valid, with an include": "{% include 'shared.md' %} And brief.",
    "unknown name": "You are {{ agnet.name }}.",
    "half written": "You are {{ agent.na",
    "gone": None,
}
DEFAULTS = {"valid": "limits: {timeout: 5s}\n", "broken": "limits: {timeout: x}\n", "gone": None}

EDITS = st.one_of(
    st.tuples(
        st.sampled_from([f"manifests/{name}.yaml" for name in NAMES]),
        st.sampled_from(list(MANIFESTS.values())),
    ),
    st.tuples(
        st.sampled_from([f"prompts/{name}.md" for name in (*NAMES, "shared")]),
        st.sampled_from(list(PROMPTS.values())),
    ),
    st.tuples(st.just("manifests/_defaults.yaml"), st.sampled_from(list(DEFAULTS.values()))),
)


@dataclass
class Expected:
    """What should run: a file that loads runs; a file that does not load keeps its last version
    running; a file that was removed does not run."""

    running: dict[str, tuple[Path, str]] = field(default_factory=lambda: {})

    def after(self, catalog: Catalog) -> None:
        # The catalog does not know which models exist: `Models` refuses an unknown one later.
        refused = catalog.broken | {
            spec.file
            for spec in catalog.agents.values()
            if any(model.name == "mock/ecko" for model in spec.manifest.model)
        }
        loaded = {
            name: (spec.file, spec.revision)
            for name, spec in catalog.agents.items()
            if spec.file not in refused
        }
        kept = {name: now for name, now in self.running.items() if now[0] in refused}
        self.running = kept | loaded


def write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(text)


@contextlib.asynccontextmanager
async def runtime_of(nats_url: str) -> AsyncGenerator[Runtime]:
    bus = await Bus.connect({"servers": nats_url}, timeout=5)
    models = Models(environ={})
    runtime = Runtime(
        Settings(env=f"t{secrets.token_hex(6)}"),
        bus,
        models=models,
        tools=Tools({}),
        metrics=Metrics(),
    )
    await runtime.open()
    yield runtime
    await runtime.drain(5)
    await models.close()
    await bus.close()


@settings(max_examples=25)
@given(edits=st.lists(EDITS, max_size=12))
async def test_the_last_valid_version_of_each_file_runs(
    nats_url: str, edits: list[tuple[str, str | None]]
) -> None:
    with TemporaryDirectory() as folder:
        project = Path(folder)
        for name in ("manifests", "prompts"):
            (project / name).mkdir()
        for name in NAMES:
            write(project / "manifests" / f"{name}.yaml", MANIFESTS["valid"])
            write(project / "prompts" / f"{name}.md", PROMPTS["valid"])
        write(project / "prompts" / "shared.md", PROMPTS["valid"])
        async with runtime_of(nats_url) as runtime:
            expected, catalog = Expected(), load(project / "manifests")
            await runtime.apply(catalog)
            expected.after(catalog)
            for path, text in edits:
                write(project / path, text)
                catalog = load(project / "manifests", previous=catalog)
                await runtime.apply(catalog)
                expected.after(catalog)
            assert expected.running == {
                name: (agent.file, agent.live.spec.revision)
                for name, agent in runtime.agents.items()
            }
            # A catalog made from the previous one equals one that is made from nothing.
            fresh = load(project / "manifests")
            assert fresh.problems == catalog.problems
            assert {n: s.revision for n, s in fresh.agents.items()} == {
                n: s.revision for n, s in catalog.agents.items()
            }
