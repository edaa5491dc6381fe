"""The words for a node of a trace: one line that says what happened, and what else is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agentd.cli.shared.clock import clock
from agentd.protocol.message import short_id

if TYPE_CHECKING:
    from agentd.record.trace.node import Node

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def headline(node: Node) -> str:
    """What happened, in one line."""
    return _HEADLINES.get(node.kind, _other)(node)


def details(node: Node) -> list[str]:
    """What else is known of a node that gets lines of its own: of a task, a life, a turn."""
    known = node.details
    if node.kind == "task":
        return [clock(node.began), short_id(node.id), *_sent(known), *_outcome(known)]
    if node.kind == "life":
        return _outcome(known)
    return _call(known) if node.kind == "turn" else []


def duration(seconds: float) -> str:
    """A time for people: `350 ms`, `12.4 s`, `2 min 10 s`, `3 h 5 min`, `2 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
    return f"{seconds // _DAY:.0f} d {seconds % _DAY // _HOUR:.0f} h"


def money(dollars: float) -> str:
    """An amount in US dollars."""
    return f"${dollars:.{2 if dollars >= 100 else 4 if dollars >= 0.01 or not dollars else 6}f}"


def sums(known: Mapping[str, Any]) -> list[str]:
    """Tokens and cost, as far as they are known."""
    found = []
    if "tokens" in known:
        found.append(f"{known['tokens']:,} tokens")
    if "cost" in known:
        found.append(money(known["cost"]))
    return found


def _sent(known: Mapping[str, Any]) -> list[str]:
    sent = [f"to {known['to']}"] if "to" in known else []
    return sent + ([f"from {known['source']}"] if "source" in known else [])


def _outcome(known: Mapping[str, Any]) -> list[str]:
    """What is known of the outcome of a task."""
    found = [known["model"]] if "model" in known else []
    found += sums(known)
    found += [f"revision {known['revision']}"] if "revision" in known else []
    found += [f"{known['attempts']} attempts"] if known.get("attempts", 1) > 1 else []
    found += [f"replica {' '.join(known['replicas'])}"] if "replicas" in known else []
    found += [word for word in ("cached",) if known.get(word)]
    return found + ([f"cut off: {known['cut']}"] if "cut" in known else [])


def _call(known: Mapping[str, Any]) -> list[str]:
    usage = known.get("usage", {})
    counts = [usage.get(name) for name in ("inputTokens", "outputTokens")]
    found = [f"{counts[0]:,} + {counts[1]:,} tokens"] if all(map(_is_count, counts)) else []
    found += [money(known["cost"])] if "cost" in known else []
    found += [f"first chunk {known['firstChunk']:,.0f} ms"] if "firstChunk" in known else []
    return found + ([str(known["endpoint"])] if "endpoint" in known else [])


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _task(node: Node) -> str:
    state = node.details.get("state", "")
    name = node.name or str(node.details.get("to", "")) or short_id(node.id)
    return _joined(f"{name} ({state})" if state else name, node.text)


def _life(node: Node) -> str:
    return f"life {node.name}" + (": sent again" if node.name != "1" else "")


def _turn(node: Node) -> str:
    return _joined(f"turn {node.details.get('turn', '')} {node.name}", node.text)


def _tool_call(node: Node) -> str:
    answer = node.details.get("answer", "")
    called = f"{node.name} {node.text}"
    return f"{called} → {answer}" if answer else called


def _approval(node: Node) -> str:
    verb = node.details["decision"]
    if verb == "waiting":
        return "waits for a decision"
    by = f" by {node.name}" if node.name else ""
    return f"{verb}{by}" + (f": {node.text}" if node.text else "")


def _attempt(node: Node) -> str:
    event, code = node.details.get("event", ""), node.details.get("code", "")
    if event == "attempt_started":
        return "begun again: the attempt before ended with its process"
    what = "handed back" if event == "handed_back" else "attempt failed"
    delay = node.details.get("delay")
    after = f"; again after {duration(delay)}" if delay else ""
    return f"{what}{f': {code}' if code else ''}{f': {node.text}' if node.text else ''}{after}"


def _model(node: Node) -> str:
    if node.details.get("event") == "model_awaited":
        return f"waits: {node.text}"
    return f"{node.name} failed: {node.details.get('code', '')}: {node.text}"


def _result(node: Node) -> str:
    if node.status == "failed":
        return f"error {node.details.get('code', '')}: {node.text}"
    return f"result: {node.text}"


def _letter(node: Node) -> str:
    event, number = node.details.get("event", ""), node.details.get("letter", "")
    if event:
        what = "sent again" if event == "letter_retried" else "dropped"
        return f"dead letter {number} {what} by {node.name}"
    return f"dead letter {number}: {node.name}: {node.text}"


def _join(node: Node) -> str:
    facts = node.details.get("facts", [])
    named = ", ".join(map(_fact, facts))
    missing = ", ".join(node.details.get("missing", ()))
    return f"joined {named or 'nothing'}" + (f"; missing {missing}" if missing else "")


def _fact(fact: Mapping[str, Any]) -> str:
    if "subject" not in fact:
        return f"{fact['sequence']} (no longer on record)"
    return f"{fact['subject']} of {fact.get('source', '')}"


def _decision(node: Node) -> str:
    event = str(node.details.get("event", "")).replace("_", " ")
    return f"{event or 'decision without effect'} by {node.name}" + (
        f": {node.text}" if node.text and node.text != node.details.get("event") else ""
    )


def _other(node: Node) -> str:
    return _joined(node.name or node.kind, node.text)


def _joined(name: str, text: str) -> str:
    return f"{name}  {text}" if text else name


_HEADLINES: Mapping[str, Callable[[Node], str]] = {
    "task": _task,
    "life": _life,
    "turn": _turn,
    "call": _tool_call,
    "approval": _approval,
    "attempt": _attempt,
    "model": _model,
    "result": _result,
    "letter": _letter,
    "join": _join,
    "decision": _decision,
    "accepted": lambda node: f"accepted over HTTP from {node.name}",
    "resumed": lambda node: f"resumed: {node.name}",
    "forwarded": lambda node: f"forwarded to {node.name}",
    "late": lambda node: f"late fact, ignored: {node.text}".removesuffix(": "),
    "memory": lambda node: "remembered" + (f": {node.text}" if node.text else ""),
}
