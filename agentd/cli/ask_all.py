"""`agentd ask --all`: sends a task to every capable agent and prints their answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agentd.cli.shared.console import say, say_data, say_json

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.destination import Destination
    from agentd.protocol.message import AgentMessage
    from agentd.protocol.subjects import Subjects
    from agentd.routing.gather import Gathered, Mode, Vote


async def ask_all(
    bus: Bus,
    subjects: Subjects,
    to: Destination,
    message: AgentMessage,
    *,
    mode: Mode,
    timeout: float,
    as_json: bool,
) -> int:
    """Returns the exit code: 0 if there is the answer that `mode` asks for.

    Raises:
        TaskError: no agent online is capable (`no_taker`).
        BusError: the server does not answer.
    """
    from agentd.routing.gather import gather

    found = await gather(bus, subjects, to.domain, message, mode=mode, timeout=timeout)
    (_print_json if as_json else _print)(found, mode)
    return 0 if _answered(found, mode) else 1


def _answered(found: Gathered, mode: Mode) -> bool:
    return bool(found.agreed) if mode != "all" else any(vote.success for vote in found.votes)


def _print(found: Gathered, mode: Mode) -> None:
    """With `all` the answers go to standard output. Otherwise only the one that counts does, and
    the votes go to standard error."""
    for vote in found.votes:
        if not vote.success:
            error = vote.content["error"]
            say(f"{vote.agent}: {error['code']}: {error['message']}", err=True)
        else:
            say(f"{vote.agent}: {_text(vote)}", err=mode != "all", lines=True)
    if found.agreed:
        say_data(_text(found.agreed), end="\n")
    elif mode == "majority":
        say(f"no majority among {len(found.asked)} agents", err=True)


def _print_json(found: Gathered, mode: Mode) -> None:
    votes = {vote.agent: vote.content for vote in found.votes}
    agreed = found.agreed.content["data"] if found.agreed else None
    report = {"gather": mode, "asked": found.asked, "answers": votes, "agreed": agreed}
    say_json(report)


def _text(vote: Vote) -> str:
    data = vote.content["data"]
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
