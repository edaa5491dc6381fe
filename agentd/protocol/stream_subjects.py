"""The subjects that the streams hold, and what the server makes of them in the next stream."""

from __future__ import annotations

from typing import Final

from agentd.protocol.subjects import DEFAULT_PRIORITY, token

# What the streams hold, of every environment. The depths and the priorities are exact, so that the
# server refuses any other subject: a deeper task would be stored in LOG and never reach WORK.
LOGGED: Final = (
    "agents.*.task.*.*",
    *(f"agents.*.task.*.*.{priority}" for priority in range(10)),
    "agents.*.result.*.*.*",
    "agents.*.event.*.*",
    "agents.*.dlq.*.*",
)
# Schedules, and what the server publishes when they are due: of the subjects of LOG only those that
# agentd schedules. The server refuses a schedule with any other target.
SCHEDULED: Final = (
    "sched.*.*.*",
    "due.*.task.*.*",
    *(f"due.*.task.*.*.{priority}" for priority in range(10)),
    "due.*.event.*.*",
)
# From what is due to its subject in LOG, in the language of the server.
DUE_TRANSFORMS: Final = {
    "due.*.task.*.*": "agents.{{wildcard(1)}}.task.{{wildcard(2)}}.{{wildcard(3)}}",
    "due.*.task.*.*.*": "agents.{{wildcard(1)}}.task.{{wildcard(2)}}.{{wildcard(3)}}"
    ".{{wildcard(4)}}",
    "due.*.event.*.*": "agents.{{wildcard(1)}}.event.{{wildcard(2)}}.{{wildcard(3)}}",
}
# The revisions of agents, and the pieces of their files by digest.
REVISIONS: Final = ("agentd.*.revision.*.*", "agentd.*.file.*.*")
STREAMED: Final = ("agents.*.stream.*.*",)
# The checkpoints of the audit, and the cosignatures of witnesses.
AUDITED: Final = ("agentd.*.audit.checkpoint", "agentd.*.audit.cosigned.*")
# From a task in LOG to its subject in WORK, in the language of the server. A task without a
# priority gets the default one.
WORK_TRANSFORMS: Final = {
    "agents.*.task.*.*": "work.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}"
    f".{DEFAULT_PRIORITY}",
    "agents.*.task.*.*.*": "work.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(4)}}",
}
# What the server publishes, without contents, for everything that it stores: a doorbell.
LOG_DOORBELL: Final = ("agents.>", "stored.>")
WORK_DOORBELL: Final = ("work.>", "ring.>")
# Where an older agentd kept its schedules, in LOG.
OLD_SCHEDULES: Final = "agents.*.sched.*.*"


def due(subject: str) -> str:
    """Where the server publishes what a schedule sends to this subject of LOG."""
    return f"due.{subject.removeprefix('agents.')}"


def not_due(subject: str) -> str:
    """The subject of LOG behind one of `due`."""
    return f"agents.{subject.removeprefix('due.')}"


def revision(env: str, agent: str, revision: str) -> str:
    """Where a revision of an agent is on record; `*` for all agents or revisions."""
    return f"agentd.{env}.revision.{_or_all(agent)}.{_or_all(revision)}"


def file_piece(env: str, digest: str, number: int | None = None) -> str:
    """Where a piece of a file is on record, counted from 0; None for all of them."""
    return f"agentd.{env}.file.{token(digest, 'digest')}.{'*' if number is None else number}"


def _or_all(name: str) -> str:
    return name if name == "*" else token(name, "name")


def scheduled(env: str) -> tuple[str, str]:
    """The patterns of all schedules of an environment, and of what was due lately."""
    return f"sched.{env}.>", f"due.{env}.>"


def impossible_transform(root: str, number: int) -> tuple[str, str]:
    """A transform from subjects below `root` that applies to none: this one has too few tokens."""
    return f"{root}.{number}", f"{'work' if root == 'agents' else 'agents'}.{number}"
