"""Until when a task may be worked on, by a clock that nobody sets."""

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
        ends: of this attempt: `limits.timeout`, the sender's constraint, the expiry.
        expires: of the task itself, after which nobody waits for it; infinite if it does not.
    """

    ends: float
    expires: float

    @classmethod
    def of(cls, message: AgentMessage, *, limit: float, now: float) -> Self:
        """The deadline of a message that is here at `now`, in seconds since the epoch.

        This is the only look at the wall clock, which may be set forward or back afterwards.
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
        """As `left`, for one who is about to spend money.

        Raises:
            Undeliverable: nothing is left (`expired`).
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
        """Whether somebody will still wait for the task in `delay` seconds."""
        return time.monotonic() + delay < self.expires
