"""Notices a run that goes in circles: the same tool calls again and again, and nothing new."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from agentd.errors import Undeliverable
from agentd.models.port import ToolCall

log = logging.getLogger(__name__)

_Key = tuple[str, bytes]


class Repetitions:
    """The repeated tool calls of one run.

    A call may be made `most` times with the same arguments. A call that was never made before in
    the run starts all counts again: after an edit, the same test may well be run once more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[_Key] = set()
        self._counts: Counter[_Key] = Counter()
        self._refused: set[_Key] = set()

    def refused(self, calls: Sequence[ToolCall]) -> Mapping[int, str]:
        """The calls of one turn that are not made: by index, each with the answer to the model.

        Raises:
            Undeliverable: one of them was refused in an earlier turn (`repeated_calls`).
        """
        keys = [(call.name, _canonical(call.arguments)) for call in calls]
        if not self._known.issuperset(keys):
            self._counts.clear()
            self._refused.clear()
        self._known.update(keys)
        answers: dict[int, str] = {}
        for index, key in enumerate(keys):
            self._counts[key] += 1
            if self._counts[key] > self._most:
                answers[index] = self._answer(key)
        self._refused.update(keys[index] for index in answers)
        return answers

    def _answer(self, key: _Key) -> str:
        name, _ = key
        if key in self._refused:
            raise Undeliverable(
                f"the model calls {name} with the same arguments again and again, although it was "
                f"asked to stop; limits.repeated_calls is {self._most}",
                code="repeated_calls",
            )
        log.info("%s was called %d times with the same arguments", name, self._most)
        return (
            f"this call was not made: {name} was already called {self._most} times with the same "
            "arguments, and nothing new was called since. Do not repeat it. Use the answers that "
            "you have, do something else, or say what is missing."
        )


def _canonical(arguments: str) -> bytes:
    """A digest that is equal for equal arguments, however the model wrote them."""
    with contextlib.suppress(ValueError, RecursionError):
        arguments = json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    return hashlib.sha256(arguments.encode(errors="replace")).digest()
