"""Revisions on record: the files of an agent, stored once when they go live, and read back.

A revision is a record that names its files by their digests. The files are stored under these
digests, in pieces that fit into a message, so a file that did not change is stored once. Both are
create-only, and of two messages on a subject the first one counts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from agentd import __version__
from agentd.catalog.spec import AgentSpec
from agentd.errors import BusError, Conflict
from agentd.manifest.files import MAX_BYTES
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.objects import room
from agentd.nats.records import skipping
from agentd.nats.streams import REVISIONS
from agentd.protocol.message import new_id
from agentd.protocol.shape import Shape
from agentd.protocol.stream_subjects import file_piece, revision

log = logging.getLogger(__name__)

_PIECE = 128 * 1024  # bytes
_PATIENCE = 5.0  # seconds to store one message; a revision that is not stored is tried again
_LARGEST_RECORD = 1024**2  # bytes


@dataclass(frozen=True, kw_only=True)
class RecordedRevision:
    """What is on record of one revision of an agent.

    Attributes:
        agentd: the version of agentd that ran it.
        at: when it first went live, in seconds since the epoch.
        files: the SHA-256 of each file, in hex, by its path in the project.
    """

    agent: str
    revision: str
    env: str
    agentd: str
    at: float
    files: Mapping[str, str]


_RECORDED: Shape[RecordedRevision] = Shape(RecordedRevision, most=_LARGEST_RECORD)


class RevisionRecorder:
    """Puts the revisions of one process on record; `live` returns those that are live now.

    It is not in the way of an edit or a task: what NATS does not store is tried again.
    """

    def __init__(self, bus: Bus, env: str, live: Callable[[], Iterable[AgentSpec]]) -> None:
        self._bus = bus
        self._env = env
        self._live = live
        self._due: dict[tuple[str, str], AgentSpec] = {}
        self._warning = ""

    def keep(self, spec: AgentSpec) -> None:
        """Puts a revision on record with the next `settle`."""
        self._due[spec.name, spec.revision] = spec

    def keep_live(self) -> None:
        """Puts all live revisions on record again: the stream was lost."""
        for spec in self._live():
            self.keep(spec)

    async def settle(self) -> None:
        """Stores what is due. If NATS refuses, that is logged once, and stays due."""
        known = set[str]()
        for key, spec in list(self._due.items()):
            try:
                await self._store(spec, known)
            except BusError as error:
                text = f"revision {spec.revision} of {spec.name} is not on record yet: {error}"
                if text != self._warning:
                    log.warning("%s", text)
                self._warning = text
                return
            self._due.pop(key, None)
        self._warning = ""

    async def _store(self, spec: AgentSpec, known: set[str]) -> None:
        """Stores a revision after its files. Files with a digest that is `known` are stored."""
        subject = revision(self._env, spec.name, spec.revision)
        if await jetstream.last(self._bus, REVISIONS, subject):
            return
        files = dict[str, str]()
        for path, data in spec.sources.items():
            digest = hashlib.sha256(data).hexdigest()
            # The name of a file may have bytes that are not UTF-8.
            files[path.encode(errors="backslashreplace").decode()] = digest
            if digest not in known:
                await self._store_file(digest, data)
                known.add(digest)
        record = RecordedRevision(
            agent=spec.name,
            revision=spec.revision,
            env=self._env,
            agentd=__version__,
            at=round(time.time(), 3),
            files=files,
        )
        await self._create(subject, json.dumps(asdict(record)).encode())

    async def _store_file(self, digest: str, data: bytes) -> None:
        size = min(_PIECE, room(self._bus))
        for number, start in enumerate(range(0, len(data) or 1, size)):
            piece = data[start : start + size]
            await self._create(file_piece(self._env, digest, number), piece)

    async def _create(self, subject: str, data: bytes) -> None:
        try:
            # A random id: under one that somebody else has used, the server would store nothing.
            await jetstream.store(
                self._bus, subject, data, message_id=new_id(), after=0, patience=_PATIENCE
            )
        except Conflict:
            return  # it is there: written by another replica, or with an earlier revision


async def recorded(
    bus: Bus, env: str, agent: str = "*", revision_id: str = "*"
) -> AsyncIterator[RecordedRevision]:
    """The revisions on record, oldest first: of one agent or all, and one of them or all.

    Raises:
        BusError: the server does not answer.
    """
    seen = set[str]()
    async for msg in jetstream.stored(bus, REVISIONS, revision(env, agent, revision_id)):
        subject = (msg.headers or {}).get("Nats-Subject", "")
        if subject in seen:
            continue
        seen.add(subject)
        found = None
        with skipping(REVISIONS, msg):
            found = _RECORDED.parse(msg.data)
        if found and subject == revision(env, found.agent, found.revision):
            yield found


async def content(bus: Bus, env: str, digest: str) -> bytes | None:
    """A file by its digest; None if it is no longer on record, or not as it was.

    Raises:
        BusError: the server does not answer.
    """
    pieces, size = dict[str, bytes](), 0
    async for msg in jetstream.stored(bus, REVISIONS, file_piece(env, digest)):
        number = (msg.headers or {}).get("Nats-Subject", "").rpartition(".")[2]
        if number not in pieces:
            pieces[number] = msg.data
            size += len(msg.data)
        if size > MAX_BYTES + 1:  # so many are read of a file
            return None
    data = b"".join(pieces[number] for number in sorted(pieces, key=_place))
    return data if hashlib.sha256(data).hexdigest() == digest else None


def _place(number: str) -> tuple[int, str]:
    """Pieces in their order: the shorter number is the smaller one."""
    return len(number), number
