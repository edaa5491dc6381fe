"""The environment of tools: an allow-list, because the daemon's has keys that no tool needs."""

from __future__ import annotations

import os
from collections.abc import Mapping

INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ"),
    *("LANG", "LC_ALL", "LC_CTYPE"),
)


def environment(
    named: Mapping[str, str], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What a tool inherits of `environ`, and the variables that its manifest names."""
    return {name: environ[name] for name in INHERITED if name in environ} | dict(named)
