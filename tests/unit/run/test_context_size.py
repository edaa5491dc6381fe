"""The size of a context that was found too small is known for a while."""

from __future__ import annotations

from agentd.run.context_size import ContextSizes


def test_a_size_is_known_for_ten_minutes() -> None:
    now = 50.0
    sizes = ContextSizes(lambda: now)
    assert sizes.of("small") is None
    sizes.note("small", 400)
    assert (sizes.of("small"), sizes.of("other")) == (400, None)
    now += 599
    assert sizes.of("small") == 400
    sizes.note("small", 300)
    now += 2
    assert sizes.of("small") == 300
    now += 600
    assert sizes.of("small") is None
