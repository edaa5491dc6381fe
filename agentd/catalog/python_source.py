"""Checks whether a Python file in `tools/` compiles. The file is not run."""

from __future__ import annotations

import warnings
from functools import lru_cache

from agentd.problems import Problem

_CACHED_FILES = 256


def syntax_problem(source: bytes, path: str) -> Problem | None:
    """Why the file does not compile; None if it does. `path` is what the problem shows."""
    if not source.strip():
        # An empty file compiles, but some editors empty a file for a moment while they save it. An
        # agent without its functions must not become live then.
        return Problem(file=path, text="is empty")
    error = _error(source)
    if error is None:
        return None
    return Problem(
        file=path,
        text=f"does not compile: {error.msg}",
        line=error.lineno or 0,
        column=error.offset or 0,
        source=error.text or "",
    )


@lru_cache(_CACHED_FILES)
def _error(source: bytes) -> SyntaxError | None:
    try:
        # Warnings, for example of an invalid escape, are no reason to refuse a file.
        with warnings.catch_warnings(action="ignore"):
            compile(source, "<tools>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error) or "it is nested too deeply")
    return None
