"""The contents of the folders of manifests, prompts and tools: the input of a catalog."""

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
# Test cases, which have their own format, and temporary files of editors. A catalog that read the
# latter would report errors while a person is saving a file.
_IGNORED = (
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
    """The contents of three folders at one moment. Two of these are equal if nothing has changed.

    Attributes:
        manifests: the bytes of each file, by its path below the folder, with forward slashes. Of a
            larger file only `MAX_BYTES` + 1 bytes are read, so that the reader can see that it is
            too large.
        prompts: the same for the folder of prompts.
        tools: the same for the folder of tools.
        refused: the files that could not be read. This is an error in the folder of manifests and
            a warning in the others, as perhaps no agent needs the file.
    """

    folder: Path
    prompt_folder: Path
    tool_folder: Path
    manifests: Mapping[str, bytes]
    prompts: Mapping[str, bytes]
    tools: Mapping[str, bytes]
    refused: Mapping[Path, Problem]

    def manifest_path(self, name: str) -> str:
        """The path of a file in the folder of manifests, as problems show it."""
        return display_path(self.folder / name)

    def prompt_path(self, name: str) -> str:
        """The path of a prompt, as problems show it."""
        return display_path(self.prompt_folder / name)

    def tool_path(self, name: str) -> str:
        """The path of a file in the folder of tools, as problems show it."""
        return display_path(self.tool_folder / name)


def read_files(manifests: Path, prompts: Path | None = None) -> Files:
    """Reads the folder `manifests`, and beside it `tools` and, by default, `prompts`.

    Sub-folders are read too; hidden files and temporary files of editors are not. In the folder of
    manifests these are YAML (without `*.test.yaml`), JSON and `.agent.md` files, in the folder of
    tools Python files, in the folder of prompts all files. A missing folder of prompts or tools
    counts as empty.

    Raises:
        UsageError: `manifests` is not a folder, or one of the three cannot be listed.
    """
    if not manifests.is_dir():
        why = "is a file; name its folder" if manifests.exists() else "does not exist"
        raise UsageError(f"{manifests} {why}")
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
    """`path` relative to the working directory if it is below it, else the absolute path."""
    absolute = Path(os.path.abspath(path))
    try:
        return absolute.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(absolute)


class _FolderReader:
    """Reads one folder. `refused` holds the files that could not be read, with the reason."""

    def __init__(
        self, root: Path, severity: Literal["error", "warning"], suffixes: tuple[str, ...] = ("",)
    ) -> None:
        self.root = root
        self.refused: dict[Path, Problem] = {}
        self._real = os.path.realpath(root)
        self._severity: Literal["error", "warning"] = severity
        self._suffixes = suffixes

    def read(self) -> dict[str, bytes]:
        """The content of each file, by its path below the root; empty if the root is no folder.

        Raises:
            OSError: a folder cannot be listed.
        """
        found: dict[str, bytes] = {}
        if not self.root.is_dir():
            return found
        for path in self._walk(self.root, frozenset({self._real})):
            try:
                with path.open("rb") as file:
                    found[path.relative_to(self.root).as_posix()] = file.read(MAX_BYTES + 1)
            except FileNotFoundError:
                # The file was removed after the folder was listed. The next reading will see that.
                continue
            except OSError as error:
                self._refuse(path, f"cannot be read: {error.strerror}")
        return found

    def _walk(self, folder: Path, above: frozenset[str]) -> Iterator[Path]:
        """The visible files below `folder` in the order of their names.

        `above` holds the real paths of the folders that lead here: a link to one of them is a
        loop, and is not followed.
        """
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            if folder == self.root:
                raise
            return  # removed after its parent was listed
        for entry in entries:
            if entry.name.startswith((".", "#")) or entry.name.endswith(_IGNORED):
                continue
            # Links inside the folder are followed: a mounted ConfigMap consists of them. A link to
            # the outside could show any file of the machine to a model.
            real = os.path.realpath(entry.path) if entry.is_symlink() else ""
            if real and not f"{real}{os.sep}".startswith(self._real + os.sep):
                self._refuse(Path(entry.path), "is a link to a file outside its folder")
            elif os.path.isdir(entry.path):
                real = real or os.path.realpath(entry.path)
                if real not in above:
                    yield from self._walk(Path(entry.path), above | {real})
            elif entry.name.endswith(self._suffixes) and os.path.isfile(entry.path):
                yield Path(entry.path)

    def _refuse(self, path: Path, why: str) -> None:
        self.refused[path] = Problem(file=display_path(path), text=why, severity=self._severity)
