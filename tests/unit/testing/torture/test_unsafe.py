"""The safeguards that the torture suite can remove are where the suite looks for them."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path

import pytest

from agentd.testing.torture import unsafe, zygote
from tests.source import PACKAGE, tree, trees


def named() -> set[tuple[str, str]]:
    """The owners (a module, or a class in one) and attributes that the module finds or replaces."""
    module = tree(Path(unsafe.__file__))
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    found: set[tuple[str, str]] = set()
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id in ("_find", "_replace"):
            owner, attribute, *_ = call.args
            assert isinstance(owner, ast.Constant)
            assert isinstance(attribute, ast.Constant)
            found.add((str(owner.value), str(attribute.value)))
    return found


@cache
def imported() -> dict[tuple[str, str], list[str]]:
    """Where the package imports an attribute by its name, by owner and attribute."""
    found: dict[tuple[str, str], list[str]] = {}
    for path, module in trees().items():
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom) and node.module:
                place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                for alias in node.names:
                    found.setdefault((node.module, alias.name), []).append(place)
    return found


@cache
def used() -> frozenset[str]:
    """The names and attributes that the package uses, without the tests in it."""
    return frozenset(
        node.attr if isinstance(node, ast.Attribute) else node.id
        for path, module in trees().items()
        if not path.is_relative_to(PACKAGE / "testing")
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load)
    )


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
    assert imported().get((owner, attribute), []) == []


@pytest.mark.parametrize(("owner", "attribute"), NAMED)
def test_a_replaced_function_is_used(owner: str, attribute: str) -> None:
    assert attribute in used(), owner


def test_a_name_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(AttributeError):
        unsafe._replace("agentd.agent.outcome", "no_such_function", None)  # pyright: ignore[reportPrivateUsage]


def test_every_module_that_the_zygote_imports_exists() -> None:
    for module in zygote._PRELOADED:  # pyright: ignore[reportPrivateUsage]
        importlib.import_module(module)


def test_every_safeguard_says_what_goes_wrong_without_it() -> None:
    assert all(remove.__doc__ for remove in unsafe.SAFEGUARDS.values())
