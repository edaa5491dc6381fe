"""Named places at which a test can have the process killed, between two effects of a task.

`AGENTD_CRASH=after-commit` kills it (SIGKILL, as a power cut would) when it first gets there;
`after-commit:0.01` does so with that probability each time. Random kills from outside hardly ever
hit the moment between an effect and its acknowledgement.
"""

from __future__ import annotations

import os
import random
import signal

POINTS = (
    "pulled",  # a task is ours, nothing is done
    "before-model",
    "after-turn",  # the model wants tools, nothing is on record
    "before-tool",  # the turn is on record, and that a tool with effects is called
    "after-tool",  # a tool has answered, nothing of it is on record
    "after-model",  # paid, nothing on record
    "after-commit",  # on record, not acknowledged
    "after-ack",
    "after-forward",  # forwarded, not acknowledged
    "after-letter",  # in the dead letters, not settled
)

_point, _, _chance = os.environ.get("AGENTD_CRASH", "").partition(":")


def here(point: str) -> None:
    """Dies here if this is the point asked for."""
    if point == _point and random.random() < float(_chance or 1):
        os.kill(os.getpid(), signal.SIGKILL)
