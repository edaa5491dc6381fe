"""Writes the verifier as one program: a zip file with its modules, which Python can run."""

from __future__ import annotations

import tempfile
import zipapp
from pathlib import Path
from shutil import copyfile

from agentd.errors import UsageError
from agentd.record.audit import verifier

_PACKAGES = ("agentd", "agentd/record", "agentd/record/audit", "agentd/record/audit/verifier")
_MAIN = "agentd.record.audit.verifier.__main__:run"


def write(file: Path) -> None:
    """Writes it to `file`.

    Raises:
        UsageError: the file cannot be written.
    """
    source = Path(verifier.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        for package in _PACKAGES:
            place = Path(folder, package)
            place.mkdir()
            (place / "__init__.py").write_text("")
        for module in source.glob("*.py"):
            copyfile(module, Path(folder, _PACKAGES[-1], module.name))
        try:
            zipapp.create_archive(folder, file, "/usr/bin/env python3", _MAIN)
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}") from None
