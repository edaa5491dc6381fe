"""A file of `tools/` as text: does it compile? It is not run."""

from __future__ import annotations

import warnings
from functools import lru_cache

from agentd.problems import Problem

_KEPT = 256  # files that are not compiled again


def syntax_problem(source: bytes, shown: str) -> Problem | None:
    """Why the file, which people know as `shown`, does not compile; None if it does."""
    if not source.strip():
        # As an editor leaves it for a moment: it cuts the file before it writes it anew.
        return Problem(file=shown, text="is empty")
    error = _error(source)
    if error is None:
        return None
    return Problem(
        file=shown,
        text=f"does not compile: {error.msg}",
        line=error.lineno or 0,
        column=error.offset or 0,
        source=error.text or "",
    )


@lru_cache(_KEPT)
def _error(source: bytes) -> SyntaxError | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(source, "<tools>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error) or "it is nested too deeply")
    return None
