"""The model calls of a task, read back whole from its journal and its result.

Each call on record says only what the records before it do not say (`agentd.run.spending` writes
them). Any client may write such records, so every value is checked, and one that is none is left
out. Records of an older agentd have no calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agentd.errors import DecodeError
from agentd.models.port import RECORDED, Completion, ToolCall
from agentd.models.wire.chat import assistant_turn, tool_turn
from agentd.queue.journal import ANSWERED, CALLS, TURN
from agentd.record.values import items, mapping, object_in, whole

Content = Mapping[str, Any]

MISSING = "(not on record)"


@dataclass(frozen=True, kw_only=True)
class RecordedCall:
    """One call of a model.

    Attributes:
        turn: of the run, from 1; a call before the turn's own one, such as a summary, has it too.
        messages: all that were sent, in OpenAI's chat format, as far as they are on record.
        details: the rest, as `docs/record.md` describes it.
    """

    turn: int
    messages: Sequence[Content]
    details: Content = field(default_factory=dict[str, Any])


def in_result(headers: Mapping[str, str] | None) -> Content:
    """What a result says of the last calls of its run, in the form of an entry of the journal;
    empty if it says nothing."""
    return object_in((headers or {}).get(CALLS, "{}").encode())


def calls_of(entries: Iterable[Content], content: Any) -> list[RecordedCall]:
    """The calls of one life of a task, in their order.

    Args:
        entries: the contents of its journal, oldest first, and at the end that of `in_result`.
        content: the `payload.content` of the task.
    """
    return list(_Reader(content).calls(entries))


class _Reader:
    def __init__(self, content: Any) -> None:
        self._content = content
        self._completions = dict[int, Completion]()
        self._answers = dict[tuple[int, int], str]()
        self._previous: Sequence[Content] = ()

    def calls(self, entries: Iterable[Content]) -> Iterator[RecordedCall]:
        for entry in entries:
            turn = whole(entry.get("turn"))
            for call in (*items(entry.get("earlier")), entry.get("call")):
                if isinstance(call, dict):
                    yield self._call(turn, cast("Content", call))
            if entry.get("event") == TURN:
                self._note_turn(turn, entry)
            elif entry.get("event") == ANSWERED and isinstance(entry.get("text"), str):
                self._answers.setdefault((turn, whole(entry.get("index"))), entry["text"])

    def _note_turn(self, turn: int, entry: Content) -> None:
        """Of two records of a turn the first one counts, as for a run that resumes."""
        try:
            completion = RECORDED.parse(json.dumps(entry.get("completion")).encode())
        except DecodeError:
            return
        self._completions.setdefault(turn, completion)

    def _call(self, turn: int, call: Content) -> RecordedCall:
        after = whole(call.get("after"))
        own = [self._message(mapping(each)) for each in items(call.get("messages"))]
        self._previous = [*self._previous[:after], *own]
        details = {name: each for name, each in call.items() if name not in ("after", "messages")}
        return RecordedCall(turn=turn, messages=self._previous, details=details)

    def _message(self, message: Content) -> Content:
        """A message as it was sent, if it is on record in another place."""
        if message.get("task") is True:
            return {"role": message.get("role"), "content": self._content}
        if "turn" not in message:
            return message
        turn, index = whole(message["turn"]), message.get("index")
        completion = self._completions.get(turn)
        if completion is None:
            return {"role": message.get("role"), "content": MISSING}
        if index is None:
            return _said(completion)
        return self._answer(completion.tool_calls, turn, whole(index))

    def _answer(self, calls: Sequence[ToolCall], turn: int, index: int) -> Content:
        text = self._answers.get((turn, index), MISSING)
        if not 0 <= index < len(calls):
            return {"role": "tool", "content": text}
        return tool_turn(calls[index], text)


def _said(completion: Completion) -> Content:
    if completion.tool_calls:
        return assistant_turn(completion)
    return {"role": "assistant", "content": completion.text}
