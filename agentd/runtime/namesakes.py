"""Finds agents of the same name that other processes run from other files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentd.routing.registry import Replica


def namesakes(ours: Iterable[Replica], online: Iterable[Replica]) -> Iterator[tuple[Replica, str]]:
    """Other agents online with the name of one of ours, each with a text for a person.

    The same file on the same host, or the same revision on another host, is a replica: replicas
    share their tasks by intention.
    """
    by_name = {each.agent: each for each in ours}
    for other in online:
        mine = by_name.get(other.agent)
        if mine and other.instance != mine.instance and not _is_replica(mine, other):
            where = f"process {other.pid} on {other.host}"
            where += f" from {other.file}" if other.file else ""
            yield (
                other,
                f"another agent has the name {other.agent}: {where}, on revision {other.revision}; "
                "the two take each other's tasks; rename one, or use another environment (--env)",
            )


def _is_replica(mine: Replica, other: Replica) -> bool:
    if mine.host == other.host:
        return mine.file == other.file
    return mine.revision == other.revision
