"""Who waits for an endpoint, and whose turn it is: agents in rotation, each one's calls in order.

So an agent with a thousand calls waiting and an agent with one are served alternately.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(eq=False)
class Waiter:
    """A call that waits until `deadline`, of the event loop's clock. `turn` becomes True with a
    slot, and False when there will be none before the deadline."""

    agent: str
    deadline: float
    turn: asyncio.Future[bool]

    @property
    def has_slot(self) -> bool:
        return self.turn.done() and not self.turn.cancelled() and self.turn.result()


class FairQueue:
    """Everyone who waits; each operation takes the same time however many they are."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, OrderedDict[Waiter, None]] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def join(self, waiter: Waiter) -> None:
        """Behind the other calls of the same agent."""
        self._lines.setdefault(waiter.agent, OrderedDict())[waiter] = None
        self._waiting += 1

    def leave(self, waiter: Waiter) -> None:
        """Without having had a turn, or after it: then nothing happens."""
        line = self._lines.get(waiter.agent)
        if line is None or waiter not in line:
            return
        del line[waiter]
        self._waiting -= 1
        if not line:
            del self._lines[waiter.agent]

    def next(self) -> Waiter:
        """Takes out the first call of the agent that has waited longest for a turn.

        Raises:
            KeyError: nobody waits.
        """
        agent, line = self._lines.popitem(last=False)
        waiter, _ = line.popitem(last=False)
        self._waiting -= 1
        if line:
            self._lines[agent] = line
        return waiter

    def hopeless(self, until: float) -> list[Waiter]:
        """Takes out those whose deadline is over by then."""
        found = [w for line in self._lines.values() for w in line if w.deadline <= until]
        for waiter in found:
            self.leave(waiter)
        return found
