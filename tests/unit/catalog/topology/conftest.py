"""Fixtures that load a folder of agents, for the checks of a topology."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from agentd.catalog.catalog import Catalog, load


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Catalog]:
    """The catalog of these agents: name to manifest.

    An agent without `capabilities` gets its name as its capability.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()

    def write(**manifests: str) -> Catalog:
        for name, text in manifests.items():
            text = dedent(text).strip() + "\ninstructions: Hi.\n"
            if not re.search("^capabilities:", text, re.MULTILINE):
                text += f"capabilities: [{name}]\n"
            (tmp_path / "manifests" / f"{name}.yaml").write_text(text)
        return load(Path("manifests"), environ={})

    return write


def _warnings(catalog: Catalog) -> list[str]:
    return [
        f"{each.place.removeprefix('manifests/').replace('.yaml', '')} {each.text}; {each.hint}"
        for each in catalog.problems
    ]


@pytest.fixture
def warnings() -> Callable[[Catalog], list[str]]:
    """Each problem as `agent:line:column text; hint`."""
    return _warnings


@pytest.fixture
def texts() -> Callable[[Catalog], list[str]]:
    """The text of each problem."""
    return lambda catalog: [each.text for each in catalog.problems]
