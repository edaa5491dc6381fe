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
        ends: the end of the work: by `limits.timeout`, the sender's constraint, or the expiry.
        expires: the expiry of the task itself; infinite if it does not expire.
        bound: the field that decides when the work ends, with its value.
    """

    ends: float
    expires: float
    bound: str = "its time"

    @classmethod
    def of(cls, message: AgentMessage, *, limit: float, now: float, used: float = 0.0) -> Self:
        """The deadline of a message that arrived at `now`, in seconds since the epoch, and has
        `used` so many seconds of its time in earlier attempts.

        The wall clock is read only here: it may be set forward or back while the task runs.
        """
        here = time.monotonic()
        expires = math.inf if message.expires_at is None else here + message.expires_at - now
        asked = message.payload.constraints.timeout
        longest, bound = limit, f"limits.timeout ({limit:g} s)"
        if asked is not None and asked / 1000 < limit:
            longest, bound = asked / 1000, f"constraints.timeout ({asked / 1000:g} s)"
        if expires < here + longest - used:
            bound = f"routing.timeout ({(message.routing.timeout or 0) / 1000:g} s)"
        return cls(ends=min(here + longest - used, expires), expires=expires, bound=bound)

    @property
    def left(self) -> float:
        """The seconds that the task still has."""
        return max(0.0, self.ends - time.monotonic())

    def required(self) -> float:
        """The seconds left, which must be some: to be asked for before a model is called.

        Raises:
            Undeliverable: no time is left (`expired`).
        """
        left = self.left
        if left <= 0:
            raise Undeliverable(
                f"{self.bound} was over before the model was called",
                code="expired",
            )
        return left

    def allows(self, delay: float) -> bool:
        """Whether the task will not have expired in `delay` seconds."""
        return time.monotonic() + delay < self.expires
