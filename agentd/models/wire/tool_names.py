"""Names of tools as providers take them: 1 to 64 characters of `A-Z a-z 0-9 _ -`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container

_LONGEST = 64
_MARK = 8  # hex digits of a digest


def fitting(name: str, taken: Container[str] = ()) -> str:
    """The name itself where providers take it, or one made from it. A name that is cut, or is
    `taken` in its new form, ends with a digest of the whole: cut names could be equal."""
    clean = re.sub(r"[^A-Za-z0-9_-]", "_", name) or "_"
    if len(clean) <= _LONGEST and clean not in taken:
        return clean
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:_MARK]
    return f"{clean[: _LONGEST - _MARK - 1]}_{digest}"
