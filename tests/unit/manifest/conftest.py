"""Fixtures that read a manifest from a text, with the defaults of folders above it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.agent import Manifest
from agentd.manifest.file import ManifestDraft, read_defaults, read_manifest
from agentd.manifest.yaml import reader
from agentd.manifest.yaml.nodes import plain
from agentd.manifest.yaml.reader import Document
from agentd.problems import errors
from tests.schemas import of_agent, of_defaults


def _draft(text: str, *defaults: str, file: str = "m.yaml", stem: str = "m") -> ManifestDraft:
    documents = [
        read_defaults(each.encode(), f"{i}/_defaults.yaml") for i, each in enumerate(defaults)
    ]
    read = read_manifest(text.encode(), file, stem=stem, defaults=documents, environ={"N": "3"})
    if read.manifest:
        _in_schemas(text, file, documents)
    return read


def _in_schemas(text: str, file: str, defaults: list[Document]) -> None:
    """Editors must not find errors in what loads: checked for every manifest of these tests."""
    front_matter = text.replace("\r\n", "\n").removeprefix("\ufeff").split("---\n")
    content = front_matter[1] if file.endswith(".agent.md") else text
    if root := reader.read(content, file).root:
        of_agent().validate(plain(root))
    for each in defaults:
        of_defaults().validate(plain(each.root) if each.root else None)


def _manifest(text: str, *defaults: str, file: str = "m.yaml", stem: str = "m") -> Manifest:
    read = _draft(text, *defaults, file=file, stem=stem)
    assert read.manifest is not None, read.problems
    return read.manifest


def _problems(text: str, *defaults: str, file: str = "m.yaml", stem: str = "m") -> list[str]:
    found = errors(_draft(text, *defaults, file=file, stem=stem).problems)
    return [f"{each.line}:{each.column} {each.text}; {each.hint}" for each in found]


def _problem_of(field: str) -> str:
    [problem] = _problems(f"capabilities: [a]\n{field}\n")
    return problem


@pytest.fixture
def draft() -> Callable[..., ManifestDraft]:
    """Reads a text as a manifest; the variable N is 3."""
    return _draft


@pytest.fixture
def manifest() -> Callable[..., Manifest]:
    """The manifest of a text that has no errors."""
    return _manifest


@pytest.fixture
def problems() -> Callable[..., list[str]]:
    """The errors of a text, each as `line:column text; hint`."""
    return _problems


@pytest.fixture
def problem_of() -> Callable[[str], str]:
    """The only error of a manifest with this field in its second line."""
    return _problem_of
