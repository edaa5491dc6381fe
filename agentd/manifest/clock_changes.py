"""What a schedule loses or does twice where the clocks of its time zone change."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Literal

from agentd.manifest.cron_times import Cron

_DAY = 86400
_AHEAD = 366 * _DAY


@dataclass(frozen=True)
class Effect:
    """What a clock change does to a schedule: at `wall`, a time of its zone, it is left out, sent
    twice, or sent though the schedule does not say so."""

    wall: datetime
    kind: Literal["left out", "sent twice", "sent in addition"]


def effects(cron: Cron, zone: tzinfo, start: float) -> Iterator[Effect]:
    """The effects of the clock changes in the year after `start`: of each change the first time
    that is left out or sent twice.

    A schedule that is due in every hour has none: it goes on at the same intervals.
    """
    if cron.every_hour:
        return
    for change in _changes(zone, int(start)):
        before, after = _offset(zone, change - 1), _offset(zone, change)
        if repeated := _due_between(cron, change + after, change + before):
            yield _effect(repeated, "sent twice")
        yield from _lost_or_added(cron, zone, change)


def _lost_or_added(cron: Cron, zone: tzinfo, change: int) -> Iterator[Effect]:
    """What the first two times after the change show: not only a time that the clocks skip can be
    left out (see `Cron.next_after`)."""
    last = cron.last_until(change - 1, zone, since=change - _AHEAD) or change - 1
    first = cron.next_after(last, zone)
    second = cron.next_after(first, zone) if first else None
    if first is None or second is None:
        return
    walls = [moment + _offset(zone, moment) for moment in (last, first, second)]
    if not _due_between(cron, walls[1], walls[1] + 1):
        yield _effect(walls[1], "sent in addition")
    for earlier, later in itertools.pairwise(walls):
        if lost := _due_between(cron, earlier + 1, later):
            yield _effect(lost, "left out")
            return


def _effect(wall: int, kind: Literal["left out", "sent twice", "sent in addition"]) -> Effect:
    return Effect(datetime.fromtimestamp(wall, UTC).replace(tzinfo=None), kind)


def _due_between(cron: Cron, start: int, end: int) -> int | None:
    """The first time in `[start, end)` at which it would be due if the clock never changed."""
    found = cron.next_after(start - 1)
    return found if found is not None and found < end else None


def _changes(zone: tzinfo, start: int) -> Iterator[int]:
    """The moments in the year after `start` at which the offset of the zone changes."""
    for day in range(start, start + _AHEAD, _DAY):
        old = _offset(zone, day)
        if _offset(zone, day + _DAY) != old:
            moments = range(day, day + _DAY + 1)
            yield moments[bisect.bisect(moments, False, key=lambda at: _offset(zone, at) != old)]


def _offset(zone: tzinfo, moment: int) -> int:
    """The seconds that clocks are ahead of UTC."""
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
