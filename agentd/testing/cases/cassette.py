"""Cassettes: the recorded answers of real models, and what each of them was an answer to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agentd.errors import UsageError
from agentd.models.port import ChatRequest
from agentd.testing.cases.case import Suite


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The answers of the models in one run of a case.

    Attributes:
        turns: as turns of a mock script.
        task, at: the id of the task and its time, in seconds since the epoch: a prompt may show
            them, and a replay is to render the same prompt. None in cassettes of earlier versions.
        asked: what the first call sent: each part by its digest.
    """

    turns: Sequence[Any]
    task: str | None = None
    at: float | None = None
    asked: Mapping[str, str] = field(default_factory=dict[str, str])

    def changes(self, request: ChatRequest | None) -> tuple[str, ...]:
        """The parts of a call that are no longer what they were when it was recorded."""
        if not self.asked or request is None:
            return ()
        return tuple(part for part, now in digests(request).items() if self.asked.get(part) != now)


def digests(request: ChatRequest) -> dict[str, str]:
    """What a call sends: each part by its digest."""
    prompt, *chat = request.messages
    parts = {
        "prompt": prompt["content"],
        "task": chat,
        "tools": request.tools,
        "parameters": request.parameters,
        "schema": request.schema,
    }
    return {name: _digest(part) for name, part in parts.items()}


def recorded(suite: Suite) -> dict[str, Recording]:
    """The recordings of a suite, by case.

    Raises:
        UsageError: its cassette is not valid.
    """
    if not suite.cassette.exists():
        return {}
    try:
        cases = json.loads(suite.cassette.read_text())["cases"]
        return {name: _recording(entry) for name, entry in cases.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{suite.cassette} is not a valid cassette: {error}; record it again"
        ) from None


def record(suite: Suite, new: Mapping[str, Recording]) -> None:
    """Adds recordings to the cassette.

    The other cases keep theirs; cases that no longer exist lose them.
    """
    cases = {**recorded(suite), **new}
    existing = {case.name for case in suite.cases}
    kept = {name: asdict(each) for name, each in sorted(cases.items()) if name in existing}
    text = json.dumps({"agent": suite.agent, "cases": kept}, indent=2, ensure_ascii=False)
    # A rename, so that a recording that was paid for is not lost half-way.
    draft = suite.cassette.with_name(f"{suite.cassette.name}.{os.getpid()}.draft")
    draft.write_text(text + "\n")
    draft.replace(suite.cassette)


def _recording(entry: Any) -> Recording:
    # Earlier versions stored nothing but the turns.
    return Recording(turns=entry) if isinstance(entry, list) else Recording(**entry)


def _digest(part: Any) -> str:
    text = json.dumps(part, sort_keys=True, default=dict)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
