"""A place in the stream of a workflow, from which any process goes on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentd.errors import UsageError
from agentd.routing.pieces import AnswerReader

_place = re.compile(r"([0-9]{1,18})-([0-9]{1,18})(?:\.([A-Za-z0-9_-]{1,64})\.([\w-]{1,80}))?")


@dataclass(frozen=True)
class Place:
    """Where a reader is: all of the log from `start`, the task, to `done`, and a part of the answer
    to `task`."""

    start: int
    done: int
    task: str = ""
    cursor: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        """A place from its text, which any client may have written.

        Raises:
            UsageError: it is none.
        """
        found = _place.fullmatch(text)
        if not found:
            raise UsageError(f"{text[:100]!r} is no place in the stream of a workflow")
        start, done, task, cursor = found.groups(default="")
        if cursor:
            AnswerReader(cursor)
        return cls(int(start), int(done), task, cursor)

    def __str__(self) -> str:
        answer = f".{self.task}.{self.cursor}" if self.cursor else ""
        return f"{self.start}-{self.done}{answer}"
