"""The deadline of a task, by the monotonic clock."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Self

from agentd.errors import Undeliverable
from agentd.protocol.message import AgentMessage


@dataclass(frozen=True)
class Deadline:
    """The end of a task's time, in seconds of `time.monotonic()`.

    Attributes:
        ends: the end of this attempt: by `limits.timeout`, the sender's constraint, or the expiry.
        expires: the expiry of the task itself; infinite if it does not expire.
    """

    ends: float
    expires: float

    @classmethod
    def of(cls, message: AgentMessage, *, limit: float, now: float) -> Self:
        """The deadline of a message that arrived at `now`, in seconds since the epoch.

        The wall clock is read only here: it may be set forward or back while the task runs.
        """
        here = time.monotonic()
        expires = math.inf if message.expires_at is None else here + message.expires_at - now
        asked = message.payload.constraints.timeout
        longest = limit if asked is None else min(limit, asked / 1000)
        return cls(ends=min(here + longest, expires), expires=expires)

    @property
    def left(self) -> float:
        """The seconds that this attempt still has."""
        return max(0.0, self.ends - time.monotonic())

    def required(self) -> float:
        """The seconds left, which must be some: to be asked for before a model is called.

        Raises:
            Undeliverable: no time is left (`expired`).
        """
        left = self.left
        if left <= 0:
            raise Undeliverable(
                "its time (limits.timeout, constraints.timeout or routing.timeout) was up before "
                "the model was called",
                code="expired",
            )
        return left

    def allows(self, delay: float) -> bool:
        """Whether the task will not have expired in `delay` seconds."""
        return time.monotonic() + delay < self.expires
