"""CONTRIBUTING.md is true: its commands work, and the files and symbols of its steps exist."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)

CONSOLE = re.findall(r"^```console\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ (.+)$", "".join(CONSOLE), re.MULTILINE)
TARGETS = set(re.findall(r"`make ([\w-]+)", PROSE))
STANDS_FOR = {
    r"^make (?!help)": "make -n ",
    r"^pytest ": "pytest --collect-only -p no:cacheprovider ",
    r"^pyright (\S+)$": r"test -d \1 && pyright --version",
}
FILE = r"[\w./-]+\.(?:py|toml|txt|json|md|yaml)"


def run(command: str) -> subprocess.CompletedProcess[str]:
    # The tests of the checkout, without what the outer run of pytest has set.
    environ = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.timeout(250)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_works(command: str) -> None:
    """What CI runs as a whole anyway is only shown or collected: targets of make, tests, types."""
    as_run = command.removeprefix(".venv/bin/")
    for shown, run_as in STANDS_FOR.items():
        as_run = re.sub(shown, run_as, as_run)
    done = run(as_run)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_table_has_every_target_of_make_for_developers() -> None:
    listed = set(re.findall(r"^make ([\w-]+)", run("make help").stdout, re.MULTILINE))

    assert listed - TARGETS == {"help", "install"}
    assert TARGETS - listed == set()


def test_every_file_exists() -> None:
    named = set(re.findall(rf"`({FILE})`", PROSE)) | set(re.findall(r"`(\w+/[\w/]*)`", PROSE))

    assert len(named) > 30
    assert {name for name in named if "NAME" not in name and not (ROOT / name).exists()} == set()


def test_every_symbol_of_a_step_exists() -> None:
    """The steps write a symbol and its file as: `Metrics` in `agentd/metrics.py`."""
    steps = set(re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", PROSE))

    assert len(steps) > 30
    assert {step for step in steps if step[0] not in symbols(ROOT / step[1])} == set()


def symbols(file: Path) -> set[str]:
    return set(_defined(ast.parse(file.read_text())))


def _defined(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign(targets=targets):
                yield from (each.id for each in targets if isinstance(each, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case _:
                pass
