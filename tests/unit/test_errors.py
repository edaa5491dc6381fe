"""The error tree says truly what is raised."""

from __future__ import annotations

import ast
import inspect
import re

from agentd import errors
from tests.source import trees

# Codes of other errors that a dead letter repeats: see `forward`.
REPEATED = {"no_taker", "overloaded"}


def codes_raised(name: str) -> set[str]:
    """The literal codes that errors of this class are made with."""
    found: set[str] = set()
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
                found |= {
                    each.value.value
                    for each in node.keywords
                    if each.arg == "code"
                    and isinstance(each.value, ast.Constant)
                    and isinstance(each.value.value, str)
                }
    return found


def test_every_reason_of_a_dead_letter_is_named_and_raised() -> None:
    named = set(re.findall(r"`([a-z_]+)`(?=[,:])", inspect.getdoc(errors.Undeliverable) or ""))

    assert named == codes_raised("Undeliverable") | REPEATED


def test_every_exception_is_in_the_tree() -> None:
    outside = [
        f"{path.name}:{node.lineno} {node.name}"
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", "") == "Exception" for base in node.bases)
        and node.name != "AgentdError"
    ]

    assert outside == []


def test_a_model_error_says_whether_it_may_cost() -> None:
    timeout = errors.ModelError("late", code="model_timeout")
    refused = errors.ModelError("no", code="model_auth")
    uncalled = errors.NotCalled("busy", code="model_timeout")

    assert [each.may_cost for each in (timeout, refused, uncalled)] == [True, False, False]
