"""What the contexts of models have been seen to take, so that the next chat fits at once."""

from __future__ import annotations

import time
from collections.abc import Callable

# Seconds that a size is used. Then more is tried again: a server may have been started with a
# larger context, and a call that is refused costs nothing.
_KNOWN = 600.0


class ContextSizes:
    """The sizes of one revision's models, in estimated tokens. Most models never need one:
    `known` is empty then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.known: dict[str, tuple[int, float]] = {}

    def note(self, model: str, tokens: int) -> None:
        """Notes that a prompt of so many tokens fits, and that a longer one did not."""
        self.known[model] = (tokens, self._clock() + _KNOWN)

    def of(self, model: str) -> int | None:
        """The longest prompt that is known to fit; None if no prompt was too long."""
        tokens, until = self.known.get(model, (0, 0.0))
        return tokens if self._clock() < until else None
