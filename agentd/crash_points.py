"""Named places at which a test can have the process killed, between two effects of a task.

`AGENTD_CRASH=after-commit` kills it (SIGKILL, as a power cut would) when it first gets there;
`after-commit:0.01` does so with that probability each time. Random kills from outside hardly ever
hit the moment between an effect and its acknowledgement.
"""

from __future__ import annotations

import os
import random
import signal

OF_A_TASK = (
    "pulled",  # a task is ours, nothing is done
    "before-model",
    "after-model",  # paid, nothing on record
    "mid-batch",  # part of what goes on record together is with the server
    "after-commit",  # on record, not acknowledged
    "after-ack",
    "after-forward",  # forwarded, not acknowledged
    "after-letter",  # in the dead letters, not settled
)
OF_TOOLS = (
    "after-turn",  # the model wants tools, nothing is on record
    "before-tool",  # the turn is on record, and that a tool with effects is called
    "after-tool",  # a tool has answered, nothing of it is on record
)
OF_JOINS = (
    "after-joined",  # a fact is in the join's state, nothing else is done about it
    "before-join",  # the join is complete, nothing says so
    "after-join",  # its task is on record, the fact is not acknowledged
)
OF_APPROVALS = (
    "after-request",  # a person is asked, the task laid by, its delivery not acknowledged
    "before-resume",  # all is decided, the task not delivered again
)

_point, _, _chance = os.environ.get("AGENTD_CRASH", "").partition(":")


def here(point: str) -> None:
    """Dies here if this is the point asked for."""
    if point == _point and random.random() < float(_chance or 1):
        os.kill(os.getpid(), signal.SIGKILL)
