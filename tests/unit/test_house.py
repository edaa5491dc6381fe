"""The house rules that no other tool keeps: docstrings, sizes, what may never be committed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.source import ROOT, tree, trees

LONGEST_FILE = 350
LARGEST_PACKAGE = 20  # modules, with __init__.py
LONGEST_FUNCTION = 50


def is_text_of_ours(path: Path) -> bool:
    """Whether a file is a text, and not what others have written."""
    return path.is_file() and path.suffix != ".png" and "vendor" not in path.parts


def committed() -> list[Path]:
    """What git tracks, or would track with the next `git add`; without what others have written."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return sorted(path for path in paths if is_text_of_ours(path))


FILES = committed()
MODULES = [path for path in FILES if path.suffix == ".py"]
PACKAGE = [path for path in MODULES if path.is_relative_to(ROOT / "agentd")]
PACKAGES = sorted({path.parent for path in PACKAGE})


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def mentions(pattern: str, paths: list[Path]) -> list[str]:
    """`file:line` of every match."""
    found = re.compile(pattern)
    return [
        f"{shown(path)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if found.search(line)
    ]


def test_a_module_opens_with_a_sentence_that_says_what_it_is_for() -> None:
    assert {shown(path): fault for path in MODULES if (fault := opening_fault(path))} == {}


def opening_fault(path: Path) -> str:
    docstring = ast.get_docstring(tree(path))
    if not docstring:
        return "no docstring"
    opening, *rest = docstring.splitlines()
    if not opening.endswith((".", "?")):
        return "the first line is not a whole sentence"
    return "no empty line after the first sentence" if rest and rest[0] else ""


def test_no_file_of_the_package_is_long() -> None:
    long = {shown(path): len(path.read_text().splitlines()) for path in PACKAGE}

    assert {path: lines for path, lines in long.items() if lines > LONGEST_FILE} == {}


def test_no_function_of_the_package_is_long() -> None:
    long = [
        f"{shown(path)}:{node.lineno} {node.name}"
        for path, module in trees().items()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno
        and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    ]

    assert long == []


def test_no_address_of_a_package_registry_is_committed() -> None:
    names = ["py" + "pi", "python" + "hosted", "npm" + "js", "crates", "golang"]

    assert mentions(rf"(?i)\b({'|'.join(names)})\.(org|io|com)\b", FILES) == []


def test_no_path_of_somebodys_machine_is_committed() -> None:
    assert mentions(r"(?<![\w.$}])/(?:work/(?:main|shared)|root|home/\w+|Users/\w+)/", FILES) == []


def test_nothing_is_put_off_and_nothing_is_mocked() -> None:
    assert mentions(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", FILES) == []
    assert mentions(r"\bunit" + r"test\.mock\b", MODULES) == []


def test_subjects_are_spelled_in_three_modules_of_protocol() -> None:
    spelled = tuple(f"protocol/{name}subjects.py" for name in ("", "server_", "stream_"))
    modules = [path for path in PACKAGE if not str(path).endswith(spelled)]

    assert (
        mentions(r"""["']\$(JS|KV|O)\b|["'](agents|work|ring|stored|sched|due)\.[{*>$]""", modules)
        == []
    )


def contents(package: Path) -> list[str]:
    """The modules and packages that the docstring of a package lists, in its order."""
    docstring = ast.get_docstring(tree(package / "__init__.py")) or ""
    return re.findall(r"^ {4}(\w+) {2,}\S", docstring, re.MULTILINE)


def layers(container: str) -> list[str]:
    """The modules of a package in the order that import-linter enforces."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [order] = [
        contract["layers"]
        for contract in contracts["contracts"]
        if contract.get("containers") == [container]
    ]
    return [name for layer in order for name in layer.split(" | ") if not name.startswith("(")]


@pytest.mark.parametrize("package", PACKAGES, ids=shown)
def test_the_map_of_a_package_is_in_the_order_of_its_imports(package: Path) -> None:
    names = {
        path.stem
        for path in package.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert sorted(contents(package)) == sorted(names - {"__init__", "__main__"})
    assert contents(package) == layers(".".join(package.relative_to(ROOT).parts))


@pytest.mark.parametrize("package", PACKAGES, ids=shown)
def test_no_package_is_too_large_to_survey(package: Path) -> None:
    assert len(list(package.glob("*.py"))) <= LARGEST_PACKAGE


def covered_elsewhere() -> dict[str, str]:
    """The modules without a unit test of their own, and what tests each of them."""
    tables = tomllib.loads((ROOT / "tests/unit/covered_elsewhere.toml").read_text())
    return {module: reason for table in tables.values() for module, reason in table.items()}


def test_every_module_has_a_unit_test_or_says_what_tests_it() -> None:
    modules = {
        str(path.relative_to(ROOT / "agentd").with_suffix(""))
        for path in PACKAGE
        if path.stem not in ("__init__", "__main__")
    }
    tested = {
        str(path.relative_to(ROOT / "tests/unit").with_name(path.stem.removeprefix("test_")))
        for path in MODULES
        if path.is_relative_to(ROOT / "tests/unit")
    }

    assert sorted(modules - tested - covered_elsewhere().keys()) == []
    assert sorted(covered_elsewhere().keys() & tested) == []
    assert sorted(covered_elsewhere().keys() - modules) == []


def test_what_tests_a_module_instead_exists() -> None:
    given = {module: reason.partition(": ") for module, reason in covered_elsewhere().items()}
    files = {module: file for module, (file, _, _) in given.items()}
    whys = {module: why for module, (_, _, why) in given.items()}

    assert {each: at for each, at in files.items() if not (ROOT / "tests" / at).is_file()} == {}
    assert {each: why for each, why in whys.items() if len(why) <= 10} == {}, "say why"


def test_the_changelog_says_what_comes_next() -> None:
    assert re.search(r"^## Unreleased$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_every_dependency_is_pinned_with_its_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *project["dependency-groups"]["dev"],
    ]
    pins = (ROOT / "constraints.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==[^\n]*\\\n +--hash=sha256:", pins, re.MULTILINE))

    assert {re.split(r"[^\w-]", each)[0].lower() for each in wanted} - pinned == set()


def test_help_waits_for_no_heavy_library() -> None:
    program = (
        "import sys; from agentd.cli import main; sys.argv = ['agentd', '--help']\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr
    assert "Usage" in ran.stdout
    heavy = {"nats", "litellm", "aiohttp", "pydantic", "jinja2", "yaml", "prometheus_client"}
    assert heavy & set(ran.stderr.split()) == set()
