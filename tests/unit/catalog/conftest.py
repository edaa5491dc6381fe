"""A project of manifests, prompts and tools that a test edits and loads again."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.catalog.catalog import Catalog, load

VALID = "capabilities: [analysis]\n"


class Project:
    """A folder with manifests, prompts and tools, which is also the working directory."""

    def __init__(self, root: Path) -> None:
        self.manifests = root / "manifests"
        self.manifests.mkdir()
        self.root = root

    def write(self, **files: str) -> Project:
        """Writes files. In a name `__` stands for a slash, and the last `_` for the dot."""
        for name, text in files.items():
            self.put(".".join(name.replace("__", "/").rsplit("_", 1)), text)
        return self

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def load(self, previous: Catalog | None = None, **environ: str) -> Catalog:
        return load(self.manifests, environ=environ, previous=previous)

    def problems(self) -> list[str]:
        """Each problem as `file:line:column: text; hint`."""
        found = self.load().problems
        return [f"{p.place}: {p.text}" + (f"; {p.hint}" if p.hint else "") for p in found]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with two agents, `analyst` and `coder`, and their prompts."""
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path).write(
        manifests__analyst_yaml=VALID,
        manifests__coder_yaml="capabilities: [coding]\nprompt: team/coder.md\n",
        prompts__analyst_md="You are {{ agent.name }}. {% include 'tone.txt' %}",
        prompts__team__coder_md="You write code.",
        prompts__tone_txt="Be brief.",
    )
