"""All that the folders of manifests, prompts and tools hold, read at once: a catalog's input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentd.errors import UsageError
from agentd.problems import Problem

MAX_BYTES = 1 << 20

_SUFFIXES = (".yaml", ".yml", ".agent.md", ".json")
_PYTHON = (".py",)
_LEFTOVERS = (
    ".test.yaml",
    ".test.yml",
    "~",
    ".tmp",
    ".bak",
    ".orig",
    ".swp",
    "___jb_tmp___",
    "___jb_old___",
)


@dataclass(frozen=True)
class Files:
    """The bytes of three folders at one moment; two of these are equal when nothing has changed.

    `manifests`, `prompts` and `tools` map a path below their folder, with forward slashes, to its
    bytes, of which more than `MAX_BYTES` are not read. `refused` are files that could not be read:
    of the manifests' folder an error each, of the others a warning, as an agent may not need it.
    """

    folder: Path
    prompt_folder: Path
    tool_folder: Path
    manifests: Mapping[str, bytes]
    prompts: Mapping[str, bytes]
    tools: Mapping[str, bytes]
    refused: Mapping[Path, Problem]

    def manifest_path(self, name: str) -> str:
        """How a person sees the path of a manifest."""
        return display_path(self.folder / name)

    def prompt_path(self, name: str) -> str:
        """How a person sees the path of a prompt."""
        return display_path(self.prompt_folder / name)

    def tool_path(self, name: str) -> str:
        """How a person sees the path of a file of tools."""
        return display_path(self.tool_folder / name)


def read_files(manifests: Path, prompts: Path | None = None) -> Files:
    """Reads `manifests`, and the folders `tools` and, unless another is given, `prompts` beside it.

    Sub-folders count, hidden files and what editors leave behind do not; of the manifests' folder
    YAML (but no `*.test.yaml`), JSON and `.agent.md`, of the tools' folder Python. A missing
    folder of prompts or tools is an empty one.

    Raises:
        UsageError: `manifests` is not a folder, or one of the three cannot be listed.
    """
    if not manifests.is_dir():
        what = "is a file; name its folder" if manifests.exists() else "does not exist"
        raise UsageError(f"{manifests} {what}")
    around = Path(os.path.abspath(manifests)).parent
    readers = (
        _FolderReader(manifests, "error", _SUFFIXES),
        _FolderReader(prompts or around / "prompts", "warning"),
        _FolderReader(around / "tools", "warning", _PYTHON),
    )
    try:
        own, templates, tools = (reader.read() for reader in readers)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be listed: {error.strerror}") from None
    return Files(
        folder=manifests,
        prompt_folder=readers[1].root,
        tool_folder=readers[2].root,
        manifests=own,
        prompts=templates,
        tools=tools,
        refused={path: why for reader in readers for path, why in reader.refused.items()},
    )


def display_path(path: Path) -> str:
    """`path` relative to the working directory where it is below it."""
    absolute = Path(os.path.abspath(path))
    try:
        return absolute.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(absolute)


class _FolderReader:
    """Reads one folder; `refused` are the files that it could not read."""

    def __init__(
        self, root: Path, severity: Literal["error", "warning"], suffixes: tuple[str, ...] = ("",)
    ) -> None:
        self.root = root
        self.refused: dict[Path, Problem] = {}
        self._real = os.path.realpath(root)
        self._severity: Literal["error", "warning"] = severity
        self._suffixes = suffixes

    def read(self) -> dict[str, bytes]:
        """Path below the root to content; nothing if it is no folder.

        Raises OSError where a folder cannot be listed."""
        found: dict[str, bytes] = {}
        if not self.root.is_dir():
            return found
        for path in self._walk(self.root, frozenset({self._real})):
            try:
                with path.open("rb") as file:
                    found[path.relative_to(self.root).as_posix()] = file.read(MAX_BYTES + 1)
            except FileNotFoundError:
                # It left between the listing and the reading; the next look knows.
                continue
            except OSError as error:
                self._refuse(path, f"cannot be read: {error.strerror}")
        return found

    def _walk(self, folder: Path, above: frozenset[str]) -> Iterator[Path]:
        """The visible files below `folder` in the order of their names.

        `above` are the real paths of the folders that lead here: a link back to one is a loop.
        """
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            if folder == self.root:
                raise
            return  # it left between the listing of its parent and this one
        for entry in entries:
            if entry.name.startswith((".", "#")) or entry.name.endswith(_LEFTOVERS):
                continue
            real = os.path.realpath(entry.path) if entry.is_symlink() else ""
            if real and not f"{real}{os.sep}".startswith(self._real + os.sep):
                self._refuse(Path(entry.path), "is a link to outside of its folder")
            elif os.path.isdir(entry.path):
                real = real or os.path.realpath(entry.path)
                if real not in above:
                    yield from self._walk(Path(entry.path), above | {real})
            elif entry.name.endswith(self._suffixes) and os.path.isfile(entry.path):
                yield Path(entry.path)

    def _refuse(self, path: Path, why: str) -> None:
        self.refused[path] = Problem(file=display_path(path), text=why, severity=self._severity)
