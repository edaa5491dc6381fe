"""The queue of the calls that wait for an endpoint: agents take turns, each agent's calls in order.

So an agent with a thousand waiting calls and an agent with one are served alternately.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(eq=False)
class Waiter:
    """A call that waits for a slot.

    Attributes:
        agent: whose call it is.
        deadline: when it gives up, by the clock of the event loop.
        turn: becomes True when the call has got a slot, and False when it is known that no slot
            will be free before the deadline.
    """

    agent: str
    deadline: float
    turn: asyncio.Future[bool]

    @property
    def has_slot(self) -> bool:
        """Whether the call has got a slot; a cancelled call has none."""
        return self.turn.done() and not self.turn.cancelled() and self.turn.result()


class FairQueue:
    """All waiting calls. `add`, `remove` and `pop` take constant time, however many wait."""

    def __init__(self) -> None:
        # Ordered dictionaries, because a call that is cancelled leaves from the middle: in a deque
        # that would be a search through all the others.
        self._lines: OrderedDict[str, OrderedDict[Waiter, None]] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, waiter: Waiter) -> None:
        """Puts a call behind the other calls of the same agent."""
        self._lines.setdefault(waiter.agent, OrderedDict())[waiter] = None
        self._waiting += 1

    def remove(self, waiter: Waiter) -> None:
        """Takes a call out; does nothing if it is not in the queue."""
        line = self._lines.get(waiter.agent)
        if line is None or waiter not in line:
            return
        del line[waiter]
        self._waiting -= 1
        # An empty line must go: `pop` relies on every line having a call.
        if not line:
            del self._lines[waiter.agent]

    def pop(self) -> Waiter:
        """Takes out the first call of the agent that has waited longest for a turn.

        Raises:
            KeyError: the queue is empty.
        """
        agent, line = self._lines.popitem(last=False)
        waiter, _ = line.popitem(last=False)
        self._waiting -= 1
        # The agent goes to the end of the rotation.
        if line:
            self._lines[agent] = line
        return waiter

    def pop_expiring(self, until: float) -> list[Waiter]:
        """Takes out all calls whose deadline is at or before `until`."""
        found = [w for line in self._lines.values() for w in line if w.deadline <= until]
        for waiter in found:
            self.remove(waiter)
        return found
