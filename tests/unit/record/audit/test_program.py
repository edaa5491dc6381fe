"""The verifier as one program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentd.errors import UsageError
from agentd.record.audit.program import write
from tests.ledger import FIRST, Ledger


async def test_it_verifies_an_export_without_any_library(tmp_path: Path) -> None:
    ledger, program, file = Ledger(), tmp_path / "verify.pyz", tmp_path / "export.jsonl"
    ledger.store()
    ledger.store()
    ledger.step()
    write(program)
    lines = await ledger.export()

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        file.write_text("\n".join(lines))
        # -S and -I: no installed package, no variable, no current folder.
        command = [sys.executable, "-S", "-I", program, file, *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run("--key", str(ledger.key.public))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "verified: nothing is wrong")
    lines.pop(1)
    done = run("--key", str(ledger.key.public))
    assert (done.returncode, f"FOUND: sequence {FIRST} is missing" in done.stdout) == (1, True)
    assert run("--key", "x").returncode == 2


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        write(tmp_path / "none" / "verify.pyz")
