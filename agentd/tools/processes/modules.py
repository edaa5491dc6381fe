"""The files of `tools/` as modules: imported from what the catalog read, not from the disk."""

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
    """One file. Its bytecode is kept nowhere."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path = path
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        return self._source


class Modules(MetaPathFinder):
    """Finds what is in `tools/` for everybody who imports it; asked last, as a script's own
    modules would not be: `tools/json.py` must not become the `json` of every library."""

    def __init__(self, folder: str, files: Mapping[str, bytes]) -> None:
        """`files`: path below `folder`, with forward slashes, to its bytes."""
        self._folder = folder
        self._files = files

    def load(self, file: str) -> ModuleType:
        """The module in `file`, imported once.

        Raises:
            NameTaken: another module has its name.
            BaseException: whatever the file raises, also of its own SystemExit.
        """
        module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
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
        if any(file.startswith(f"{stem}/") for file in self._files):
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [self._path(stem)]
            return spec
        return None

    def place_of(self, error: BaseException) -> tuple[str, int] | None:
        """The file and line of ours that an error comes from, the innermost."""
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
        """The file of ours at `path`; "" if there is none."""
        name = os.path.relpath(path, self._folder).replace(os.sep, "/") if path[:1] != "<" else ""
        return name if name in self._files else ""


class NameTaken(AgentdError):
    """A file of tools has the name of a module of Python or of an installed package."""


def install(folder: str, files: Mapping[str, bytes]) -> Modules:
    """The modules of `files`, which can be imported from now on."""
    modules = Modules(folder, files)
    sys.meta_path.append(modules)
    return modules
