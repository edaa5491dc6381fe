"""Modules of `tools/`: imported from bytes, after all other modules."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping

import pytest

from agentd.tools.processes.modules import Modules, NameTaken, install

FOLDER = "/no/such/project/tools"

Installer = Callable[[Mapping[str, bytes]], Modules]


@pytest.fixture
def installed() -> Iterator[Installer]:
    """Installs files for one test."""
    finders, names = list(sys.meta_path), set(sys.modules)
    yield lambda files: install(FOLDER, files)
    sys.meta_path[:] = finders
    for name in set(sys.modules) - names:
        del sys.modules[name]


def test_a_file_is_imported_once_from_its_bytes(installed: Installer) -> None:
    modules = installed({"unit_one.py": b"VALUE = object()\n"})

    module = modules.load("unit_one.py")

    assert module.__file__ == f"{FOLDER}/unit_one.py"
    assert modules.load("unit_one.py") is module


def test_files_import_each_other_and_folders_are_packages(installed: Installer) -> None:
    modules = installed(
        {
            "unit_top.py": b"from unit_package import sub, plain\nfrom unit_folder import leaf\n",
            "unit_package/__init__.py": b"NAME = 'package'\n",
            "unit_package/sub.py": b"from unit_package import NAME\n",
            "unit_package/plain.py": b"",
            "unit_folder/leaf.py": b"VALUE = 3\n",
        }
    )

    top = modules.load("unit_top.py")

    assert top.sub.NAME == "package"
    assert top.leaf.VALUE == 3
    assert modules.load("unit_package/sub.py") is top.sub


def test_a_file_does_not_replace_a_module_of_its_name(installed: Installer) -> None:
    modules = installed({"json.py": b"raise AssertionError\n"})

    with pytest.raises(NameTaken, match="json"):
        modules.load("json.py")
    assert "loads" in vars(json)


def test_an_unknown_name_is_left_to_others(installed: Installer) -> None:
    modules = installed({"unit_known.py": b""})

    assert modules.find_spec("unit_unknown", None) is None
    with pytest.raises(ModuleNotFoundError):
        modules.load("unit_unknown.py")


def test_the_place_of_an_error_is_the_innermost_line_of_tools(installed: Installer) -> None:
    modules = installed(
        {
            "unit_outer.py": b"import unit_inner\n\ndef run():\n    unit_inner.fail()\n",
            "unit_inner.py": b"import json\n\ndef fail():\n    json.loads('{')\n",
        }
    )

    with pytest.raises(ValueError, match="property name") as caught:
        modules.load("unit_outer.py").run()

    assert modules.place_of(caught.value) == ("unit_inner.py", 4)
    assert modules.place_of(ValueError("raised elsewhere")) is None


def test_the_place_of_a_syntax_error_is_in_the_file_that_has_it(installed: Installer) -> None:
    modules = installed({"unit_broken.py": b"\n\ndef f(:\n"})

    with pytest.raises(SyntaxError) as caught:
        modules.load("unit_broken.py")

    assert modules.place_of(caught.value) == ("unit_broken.py", 3)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{FOLDER}/a.py", "a.py"),
        (f"{FOLDER}/b/c.py", "b/c.py"),
        (f"{FOLDER}/other.py", ""),
        ("/no/such/project/a.py", ""),
        ("<string>", ""),
        ("", ""),
    ],
)
def test_a_path_is_known_by_its_name_below_tools(path: str, name: str) -> None:
    assert Modules(FOLDER, {"a.py": b"", "b/c.py": b""}).name_of(path) == name
