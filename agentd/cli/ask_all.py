"""`agentd ask --all`: puts a question to every capable agent and prints what they say."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

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
    """The exit code: 0 if there is the answer that `mode` asks for."""
    from agentd.routing.gather import gather

    found = await gather(bus, subjects, to.domain, message, mode=mode, timeout=timeout)
    (_print_json if as_json else _print)(found, mode)
    return 0 if _answered(found, mode) else 1


def _answered(found: Gathered, mode: Mode) -> bool:
    return bool(found.agreed) if mode != "all" else any(vote.success for vote in found.votes)


def _print(found: Gathered, mode: Mode) -> None:
    """The answers on standard output; or the one that counts, and the votes beside it."""
    for vote in found.votes:
        if not vote.success:
            error = vote.content["error"]
            print(f"{vote.agent}: {error['code']}: {error['message']}", file=sys.stderr)
        else:
            out = sys.stdout if mode == "all" else sys.stderr
            print(f"{vote.agent}: {_said(vote)}", file=out)
    if found.agreed:
        print(_said(found.agreed))
    elif mode == "majority":
        print(f"no majority among {len(found.asked)}", file=sys.stderr)


def _print_json(found: Gathered, mode: Mode) -> None:
    votes = {vote.agent: vote.content for vote in found.votes}
    agreed = found.agreed.content["data"] if found.agreed else None
    told = {"gather": mode, "asked": found.asked, "answers": votes, "agreed": agreed}
    print(json.dumps(told, ensure_ascii=False))


def _said(vote: Vote) -> str:
    data = vote.content["data"]
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
