"""The safeguards that the torture suite can remove are where the suite looks for them."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

from agentd.testing.torture import unsafe, zygote

PACKAGE = Path(unsafe.__file__).parents[2]


def named() -> set[tuple[str, str]]:
    """The owners (a module, or a class in one) and attributes that the module finds or replaces."""
    calls = [node for node in ast.walk(tree_of(unsafe)) if isinstance(node, ast.Call)]
    found: set[tuple[str, str]] = set()
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id in ("_find", "_replace"):
            owner, attribute, *_ = call.args
            assert isinstance(owner, ast.Constant)
            assert isinstance(attribute, ast.Constant)
            found.add((str(owner.value), str(attribute.value)))
    return found


def tree_of(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


NAMED = sorted(named())


@pytest.mark.parametrize(("owner", "attribute"), NAMED)
def test_every_safeguard_exists(owner: str, attribute: str) -> None:
    module, _, name = owner.rpartition(".")
    if name[:1].isupper():
        assert hasattr(getattr(importlib.import_module(module), name), attribute)
    else:
        assert hasattr(importlib.import_module(owner), attribute)


@pytest.mark.parametrize(("owner", "attribute"), NAMED)
def test_a_replaced_function_is_looked_up_where_it_is_replaced(owner: str, attribute: str) -> None:
    """`from owner import attribute` elsewhere would keep the original after the replacement."""
    importers = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module == owner
        and attribute in [alias.name for alias in node.names]
    ]

    assert importers == []


@pytest.mark.parametrize(("owner", "attribute"), NAMED)
def test_a_replaced_function_is_used(owner: str, attribute: str) -> None:
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for path in PACKAGE.rglob("*.py")
        if not path.is_relative_to(PACKAGE / "testing")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load)
    }

    assert attribute in used, owner


def test_a_name_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(AttributeError):
        unsafe._replace("agentd.agent.outcome", "no_such_function", None)  # pyright: ignore[reportPrivateUsage]


def test_every_module_that_the_zygote_imports_exists() -> None:
    for module in zygote._PRELOADED:  # pyright: ignore[reportPrivateUsage]
        importlib.import_module(module)


def test_every_safeguard_says_what_goes_wrong_without_it() -> None:
    assert all(remove.__doc__ for remove in unsafe.SAFEGUARDS.values())
