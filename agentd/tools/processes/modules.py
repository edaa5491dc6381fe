"""Imports the files of `tools/` from the bytes that the catalog read, not from the disk.

The revision of an agent is a digest of these bytes. If a worker read the disk, an edit could change
a function without a new revision.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType, TracebackType
from typing import Any

from agentd.errors import AgentdError


class _Source(SourceLoader):
    """One file. Its bytecode is not cached: the same path may have other bytes a moment later."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path = path
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        return self._source


class Modules(MetaPathFinder):
    """Finds the modules of `tools/`.

    Python asks it last, after the standard library and the installed packages. (The folder of a
    script comes first in `sys.path`.) So `tools/json.py` cannot replace `json` for every library.
    """

    def __init__(self, folder: str, files: Mapping[str, bytes]) -> None:
        """`files` has the bytes of each file by its path below `folder`, with forward slashes."""
        self._folder = folder
        self._files = files

    def load(self, file: str) -> ModuleType:
        """The module in `file`, imported once.

        Raises:
            NameTaken: another module has its name.
            BaseException: whatever the file raises, SystemExit included.
        """
        module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        # The import found another module: the standard library and packages come first.
        if getattr(module, "__file__", None) != self._path(file):
            raise NameTaken(module.__name__)
        return module

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """How to import `fullname`, if it is a file or a folder here."""
        stem = fullname.replace(".", "/")
        for file, inside in ((f"{stem}/__init__.py", [self._path(stem)]), (f"{stem}.py", None)):
            if file in self._files:
                loader: Any = _Source(self._path(file), self._files[file])
                return spec_from_file_location(
                    fullname, self._path(file), loader=loader, submodule_search_locations=inside
                )
        # A folder without `__init__.py` is a package, too, as Python has it for folders on disk.
        if any(file.startswith(f"{stem}/") for file in self._files):
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [self._path(stem)]
            return spec
        return None

    def place_of(self, error: BaseException) -> tuple[str, int] | None:
        """The innermost file and line below `tools/` that an error comes from."""
        if isinstance(error, SyntaxError) and error.filename:
            file = self.name_of(error.filename)
            if file:
                return file, error.lineno or 1
        return self._last(error.__traceback__)

    def _last(self, trace: TracebackType | None) -> tuple[str, int] | None:
        found = None
        while trace is not None:
            file = self.name_of(trace.tb_frame.f_code.co_filename)
            found = (file, trace.tb_lineno) if file else found
            trace = trace.tb_next
        return found

    def _path(self, file: str) -> str:
        return os.path.join(self._folder, *file.split("/"))

    def name_of(self, path: str) -> str:
        """The file of `tools/` at `path`; "" if it is none of them."""
        if not path or path.startswith("<"):  # code that was never in a file
            return ""
        name = os.path.relpath(path, self._folder).replace(os.sep, "/")
        return name if name in self._files else ""


class NameTaken(AgentdError):
    """A file of tools has the name of a module of Python or of an installed package."""


def install(folder: str, files: Mapping[str, bytes]) -> Modules:
    """Makes the modules of `files` importable in this process."""
    modules = Modules(folder, files)
    sys.meta_path.append(modules)
    return modules
