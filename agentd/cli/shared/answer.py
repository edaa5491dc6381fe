"""Prints an answer as it arrives: deltas, steps on the way, the result."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from agentd.cli.shared.calls import call_in_words
from agentd.cli.shared.clock import clock
from agentd.cli.shared.console import Styled, say, say_data, say_json

if TYPE_CHECKING:
    from agentd.cli.shared.status_line import StatusLine
    from agentd.protocol.message import AgentMessage
    from agentd.queue.decisions import ApprovalRequest
    from agentd.routing.ask import Delta
    from agentd.routing.follow import FollowedMessage


class AnswerPrinter:
    """Prints deltas on a terminal as they arrive, and then the rest of the answer.

    A program or a file gets the answer alone, once: a draft that starts again could not be taken
    back. With `steps` (for `--until`) many agents write, and only the last message is the answer:
    the results and events on the way go to standard error, one line each.
    """

    def __init__(self, *, as_json: bool, steps: bool = False, status: StatusLine) -> None:
        self.success = False
        self._json = as_json
        self._status = status
        self._streams = not as_json and not steps and sys.stdout.isatty()
        self._shown = ""
        self._set_aside = 0  # how much was shown when the last line was set aside

    def take(self, part: Any) -> None:
        """Prints one part that `ask` or `follow` yields."""
        from agentd.routing.ask import Delay, Delta, Waiting
        from agentd.routing.follow import FollowedMessage

        if isinstance(part, Waiting):
            self._status.text = "waiting for a decision"
            self._waiting(part.request)
        elif isinstance(part, Delay):
            self._aside(f"[{part.text}]")
        elif isinstance(part, FollowedMessage):
            self._step(part)
        elif not isinstance(part, Delta):
            self._status.paused = True
            self._end(part)
        else:
            self._delta(part)

    def _delta(self, delta: Delta) -> None:
        self._status.text = "the answer is being written"
        if self._streams:
            self._status.paused = True  # it would replace the words
            if delta.restarted:
                self._break("the answer starts again")
            self._write(delta.text)

    def _waiting(self, request: ApprovalRequest) -> None:
        """Shows on standard error which calls wait, and how to decide."""
        self._end_line()
        self._status.paused = False
        for call in request.calls:
            what = "an answer:" if "question" in call else f"approval: {call['name']}"
            say(f"[waiting for {what} {call_in_words(call)}]", err=True)
        from agentd.protocol.message import short_id

        until, task = clock(request.expires), short_id(request.task)
        command = f"agentd approvals approve {task}, or deny"
        if all("question" in call for call in request.calls):
            command = f'agentd approvals answer {task} "..."'
        say(f"[decide until {until}: {command}]", err=True)

    def _step(self, step: FollowedMessage) -> None:
        """Shows a result or an event on the way on standard error."""
        from agentd.protocol.gist import gist

        self._status.text = f"waiting for what follows from {step.topic}"
        self._aside(f"{step.message.source.id:<12} {gist(step.message)}")

    def _aside(self, line: str) -> None:
        """Shows a line on standard error, below what is shown already; dim on a terminal."""
        if self._shown[self._set_aside :] and not self._shown.endswith("\n"):
            say(err=True)
        self._set_aside = len(self._shown)
        self._status.paused = False
        say(Styled(line, "dim"), err=True)

    def _end(self, message: AgentMessage) -> None:
        """Prints the result, or the event that has the answer."""
        from agentd.models.port import CUT_IN_WORDS

        content: Any = message.payload.content
        self.success = message.type == "event" or content["success"]
        if self._json:
            say_json(message.model_dump(mode="json", exclude_unset=True))
            return
        if not self.success:
            self._end_line()
            error = content["error"]
            say(f"agentd: {error['code']}: {error['message']}", err=True, lines=True)
            return
        data = content if message.type == "event" else content["data"]
        answer = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        # The deltas were of another answer, or some were lost: core NATS does not repeat them.
        if not answer.startswith(self._shown):
            self._break("the whole answer")
        self._write(answer[len(self._shown) :])
        self._end_line()
        if message.type != "result":
            return
        for cut, words in CUT_IN_WORDS.items():
            if content.get("cut") == cut:
                say(f"[{words}]", err=True)
        if sys.stderr.isatty():
            say(Styled(_footer(message), "dim"), err=True)

    def _write(self, text: str) -> None:
        say_data(text, after=self._shown)
        self._shown += text

    def _break(self, why: str) -> None:
        self._end_line()
        self._shown, self._set_aside = "", 0
        say(f"[{why}]", err=True)

    def _end_line(self) -> None:
        if self._shown and not self._shown.endswith("\n"):
            say()


def _footer(result: AgentMessage) -> str:
    """Who answered, and with what. A result need not be of agentd: what it does not say, or says in
    another way, is left out."""
    content: dict[str, Any] = result.payload.content
    parts = [result.source.id]
    for field, kind, words in _FOOTER:
        value = content.get(field)
        if isinstance(value, kind) and value and not isinstance(value, bool):
            parts.append(words.format(value))
    return " · ".join(parts)


_FOOTER = (
    ("model", str, "{}"),
    ("latency", int | float, "{:,.0f} ms"),
    ("tokens", int, "{:,} tokens"),
    ("cost", int | float, "${:.4f}"),
    ("revision", str, "revision {}"),
)
