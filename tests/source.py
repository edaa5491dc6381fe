"""The source of agentd, parsed once for all tests of a process that read it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import agentd

PACKAGE = Path(agentd.__file__).parent
ROOT = PACKAGE.parent


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file. Treat it as read-only."""
    return ast.parse(path.read_text())


@cache
def trees() -> dict[Path, ast.Module]:
    """The syntax trees of the modules of the package."""
    return {path: tree(path) for path in sorted(PACKAGE.rglob("*.py"))}
