"""A tool call that waits for a person, in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_SHOWN = 4_000  # characters; a model may write megabytes


def call_in_words(call: Mapping[str, Any]) -> str:
    """The arguments of a call, or its question with the choices and the default. Of long ones the
    beginning, with a note that there is more: who decides must not believe to have read it all."""
    text = _whole(call)
    if len(text) <= _SHOWN:
        return text
    more = f"{len(text) - _SHOWN:,} more characters; all of them: agentd approvals ls --json"
    return f"{text[:_SHOWN]}… [{more}]"


def _whole(call: Mapping[str, Any]) -> str:
    if "question" not in call:
        return json.dumps(call["arguments"], ensure_ascii=False)
    notes = [" or ".join(call["choices"])] if "choices" in call else []
    notes += [f"by default {call['default']}"] if "default" in call else []
    return call["question"] + (f" ({'; '.join(notes)})" if notes else "")
