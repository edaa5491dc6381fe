"""What changed between two revisions on record: their files, and the lines in these."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agentd.errors import UsageError
from agentd.nats.bus import Bus
from agentd.record import revisions
from agentd.record.revisions import RecordedRevision

_SHOWN = 5  # revisions in an error
_MOST_LINES = 20_000  # of a file that is compared; the time of a comparison is quadratic

Files = Mapping[str, bytes | None]  # None: no longer on record


@dataclass(frozen=True)
class Change:
    """A file that two revisions do not have in common.

    Attributes:
        lines: the lines of a unified diff, without line breaks; none if the file cannot be
            compared, and then `why` says why.
    """

    path: str
    kind: Literal["added", "removed", "changed"]
    lines: Sequence[str] = ()
    why: str = ""


async def of_agent(bus: Bus, env: str, agent: str) -> list[RecordedRevision]:
    """The revisions of an agent on record, oldest first.

    Raises:
        BusError: the server does not answer.
    """
    found = [each async for each in revisions.recorded(bus, env, agent)]
    return sorted(found, key=lambda each: each.at)


async def find(bus: Bus, env: str, name: str) -> RecordedRevision:
    """The revision of this id, or the only one whose id begins so; the newest of an agent of this
    name.

    Raises:
        UsageError: there is none, or there are several.
        BusError: the server does not answer.
    """
    every = [each async for each in revisions.recorded(bus, env)]
    found = [each for each in every if each.revision == name] or [
        each for each in every if name and each.revision.startswith(name)
    ]
    if not found:
        found = [each for each in every if each.agent == name]
        found = [max(found, key=lambda each: each.at)] if found else []
    if not found:
        raise UsageError(f"no revision {name!r} is on record in {env!r}; see: agentd revisions ls")
    if len(found) > 1:
        some = ", ".join(f"{each.revision} of {each.agent}" for each in found[:_SHOWN])
        raise UsageError(f"{len(found)} revisions begin with {name!r}: {some}")
    return found[0]


async def before(bus: Bus, env: str, revision: RecordedRevision) -> RecordedRevision:
    """The revision of the same agent that went live before this one.

    Raises:
        UsageError: it is the first one on record.
        BusError: the server does not answer.
    """
    earlier = [each for each in await of_agent(bus, env, revision.agent) if each.at < revision.at]
    if not earlier:
        text = f"{revision.revision} is the first revision of {revision.agent} on record"
        raise UsageError(f"{text}; name two revisions")
    return earlier[-1]


async def files_of(bus: Bus, env: str, revision: RecordedRevision) -> dict[str, bytes | None]:
    """The files of a revision by their path.

    Raises:
        BusError: the server does not answer.
    """
    paths = sorted(revision.files)
    return {path: await revisions.content(bus, env, revision.files[path]) for path in paths}


async def between(bus: Bus, env: str, a: RecordedRevision, b: RecordedRevision) -> list[Change]:
    """What changed from the revision `a` to `b`.

    Raises:
        BusError: the server does not answer.
    """
    return changes(await files_of(bus, env, a), await files_of(bus, env, b))


def changes(a: Files, b: Files) -> list[Change]:
    """The files that differ, in the order of their paths."""
    paths = sorted(a.keys() | b.keys())
    return [
        _change(path, a, b)
        for path in paths
        if path not in a or path not in b or a[path] != b[path]
    ]


def _change(path: str, a: Files, b: Files) -> Change:
    kind = "added" if path not in a else "removed" if path not in b else "changed"
    old, new = a.get(path, b""), b.get(path, b"")
    if old is None or new is None:
        return Change(path, kind, why="its content is no longer on record")
    try:
        before, after = old.decode().splitlines(), new.decode().splitlines()
    except UnicodeDecodeError:
        return Change(path, kind, why="it is no text")
    if max(len(before), len(after)) > _MOST_LINES:
        return Change(path, kind, why=f"it has more than {_MOST_LINES:,} lines")
    lines = list(difflib.unified_diff(before, after, path, path, lineterm=""))
    return Change(path, kind, lines, why="" if lines else "only its line breaks differ")
