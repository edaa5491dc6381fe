"""A tool call that waits for a person, in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def call_in_words(call: Mapping[str, Any]) -> str:
    """The arguments of a call, or its question with the choices and the default."""
    if "question" not in call:
        return json.dumps(call["arguments"], ensure_ascii=False)
    notes = [" or ".join(call["choices"])] if "choices" in call else []
    notes += [f"by default {call['default']}"] if "default" in call else []
    return call["question"] + (f" ({'; '.join(notes)})" if notes else "")
