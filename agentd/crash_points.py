"""Named points at which a test can kill the process, between two effects of a task.

With `AGENTD_CRASH=after-commit` the process kills itself with SIGKILL when it first reaches that
point; with `after-commit:0.01` it does so with this probability each time. Kills at random moments
are a weak test: they hardly ever fall between an effect and its acknowledgement.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

OF_A_TASK = (
    "pulled",  # this process has the task, nothing is done
    "before-model",
    "after-model",  # the call is paid, nothing is stored
    "mid-batch",  # the server has received a part of an atomic batch
    "after-commit",  # the result is stored, the task is not acknowledged
    "after-ack",
    "after-forward",  # the task is forwarded, the delivery is not acknowledged
    "after-letter",  # the dead letter is stored, the delivery is not settled
)
OF_TOOLS = (
    "after-turn",  # the model calls tools, nothing is stored
    "before-tool",  # the turn is stored, and that a tool with effects will be called
    "after-tool",  # a tool has answered, its answer is not stored
)
OF_PROCESSES = (
    "process-requested",  # a process of a tool is to be started
    "process-started",  # it runs, and the daemon has done nothing with it yet
)
OF_JOINS = (
    "after-joined",  # a fact is in the state of its join, nothing else is done
    "before-join",  # the join is complete, nothing about it is stored
    "after-join",  # its task is stored, the fact is not acknowledged
)
OF_APPROVALS = (
    "before-request",  # the copy of the task is stored, the approval is not requested
    "after-request",  # the approval is requested, the task suspended, its delivery not acknowledged
    "before-resume",  # all calls are decided, the task is not delivered again
)
OF_UPGRADES = (
    "log-frozen",  # nobody can publish to the old log, it is not copied yet
    "log-copied",  # the copy is complete, but still follows the log
    "log-deleted",  # there is only the copy
    "log-made",  # there are the new log and the copy
)

_point, _, _chance = os.environ.get("AGENTD_CRASH", "").partition(":")


def _here(point: str) -> None:
    """Kills the process if `AGENTD_CRASH` names this point."""
    if point == _point and random.random() < float(_chance or 1):
        # Nothing can run afterwards: no `finally`, no buffer is written, as after a power cut.
        os.kill(os.getpid(), signal.SIGKILL)


# A task passes many points. Where none is named, a function of Python's own costs the least.
here: Callable[[str], object] = _here if _point else bool
