"""Cosigns checkpoints of another agentd, after it has checked that they go on from the last one.

Who keeps the tree could show one tree to some and another one to others, or go back to an earlier
one. A witness remembers, in a file of its own, the tree that it has seen, and signs no other.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentd.errors import AgentdError, DecodeError, UsageError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.records import skipping
from agentd.nats.streams import AUDIT
from agentd.protocol.subjects import Subjects, digest
from agentd.record.audit import keys, step
from agentd.record.audit.keys import Signer
from agentd.record.audit.keys import verify as fast
from agentd.record.audit.step import Step
from agentd.record.audit.verifier.note import Checkpoint, Key
from agentd.record.audit.verifier.tree import Frontier


class NotConsistent(AgentdError):
    """The tree does not go on from the one that the witness has seen."""


@dataclass(frozen=True)
class Seen:
    """The tree of one log that a witness has seen last, and the key of the log."""

    tree: Frontier
    key: Key


@dataclass(frozen=True)
class Witness:
    """What a witness remembers: its key, and the tree of each log by origin."""

    signer: Signer
    logs: dict[str, Seen]

    def dump(self) -> str:
        logs = {
            origin: {
                "size": seen.tree.size,
                "tree": [base64.b64encode(each).decode() for each in seen.tree.hashes],
                "key": str(seen.key),
            }
            for origin, seen in self.logs.items()
        }
        return json.dumps({"key": str(self.signer), "logs": logs}, indent=2) + "\n"

    @classmethod
    def parse(cls, text: str) -> Witness:
        fields: dict[str, Any] = json.loads(text)
        logs = {
            str(origin): Seen(
                Frontier(int(each["size"]), map(base64.b64decode, each["tree"])),
                Key.parse(each["key"]),
            )
            for origin, each in fields["logs"].items()
        }
        return cls(Signer.parse(fields["key"]), logs)


class WitnessFile:
    """The file of a witness."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name

    def read(self) -> Witness:
        """What it holds; a new witness without a file.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            return Witness.parse(self._path.read_text())
        except FileNotFoundError:
            return Witness(keys.witness(self._name), {})
        except OSError as error:
            raise UsageError(f"{self._path}: {error.strerror}") from None
        except (ValueError, TypeError, LookupError, AttributeError, DecodeError) as error:
            raise UsageError(f"{self._path}: is no file of a witness: {error}") from None

    def public(self) -> Key:
        """The public key of the witness, which is made now if there is none.

        Raises:
            UsageError: the file cannot be used.
        """
        with self.locked():
            witness = self.read()
            self.write(witness)
        return witness.signer.public

    def write(self, witness: Witness) -> None:
        """Replaces it. It is on the disk before a cosignature is published: a witness that forgets
        would sign a second tree."""
        draft = self._path.with_name(f"{self._path.name}.new")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(witness.dump())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    @contextmanager
    def locked(self) -> Generator[None]:
        """Two processes with the same file would forget what the other one has signed."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder = os.open(self._path.parent, os.O_RDONLY)
        except OSError as error:
            raise UsageError(f"{self._path.parent}: {error.strerror}") from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


async def cosign(bus: Bus, env: str, file: WitnessFile, key: Key | None, at: int) -> Checkpoint:
    """Checks the newest checkpoint of a log, remembers it, and publishes a cosignature.

    `key` is the key of the log; without it the witness trusts the one that it finds at first.

    Raises:
        NotConsistent: the tree is another one, or was cut off.
        UsageError: there is no checkpoint, or the file cannot be used.
        BusError: the server does not answer.
    """
    with file.locked():
        witness = file.read()
        newest = await _newest(bus, env)
        origin = newest.checkpoint.origin
        seen = witness.logs.get(origin)
        trusted = key or (seen.key if seen else Key.parse(newest.key))
        if newest.checkpoint.signed_by(trusted, fast) is None:
            raise NotConsistent(f"the newest checkpoint is not signed with {trusted}")
        tree = await _followed(bus, env, newest, seen)
        file.write(replace(witness, logs={**witness.logs, origin: Seen(tree, trusted)}))
    line = witness.signer.cosign(newest.checkpoint.text, at)
    note = f"{newest.note}{line}"
    name = digest(witness.signer.public.name)
    subject = Subjects(env).audit("cosigned", name)
    await jetstream.store(bus, subject, note.encode(), message_id=f"{subject}.{digest(note)}")
    return Checkpoint.parse(note)


async def _newest(bus: Bus, env: str) -> Step:
    try:
        newest = await step.newest(bus, env)
    except DecodeError as error:
        raise NotConsistent(str(error)) from None
    if newest is None:
        raise step.none(env)
    return newest


async def _followed(bus: Bus, env: str, newest: Step, seen: Seen | None) -> Frontier:
    """The tree of the newest step, which goes on from the one that was seen."""
    if seen is None:
        try:
            return await step.frontier(bus, env, newest)
        except DecodeError as error:
            raise NotConsistent(str(error)) from None
    tree = Frontier(seen.tree.size, seen.tree.hashes)
    async for each in step.steps(bus, env):
        if isinstance(each, DecodeError):
            raise NotConsistent(str(each))
        if each.batch.start == tree.size:
            for leaf in each.hashes():
                tree.add(leaf)
    if (tree.size, tree.root()) != (newest.checkpoint.size, newest.checkpoint.root):
        raise NotConsistent(
            f"the tree of {newest.checkpoint.size} leaves does not go on from the one of "
            f"{seen.tree.size} leaves that this witness has seen"
        )
    return tree


async def watch(
    bus: Bus, env: str, file: WitnessFile, key: Key | None, pause: float | None
) -> AsyncIterator[Checkpoint]:
    """Cosigns once, or every `pause` seconds what is new.

    Raises:
        As `cosign`.
    """
    before = -1
    while True:
        seen = await cosign(bus, env, file, key, int(time.time()))
        if seen.size != before:
            yield seen
        if pause is None:
            return
        before = seen.size
        await asyncio.sleep(pause)


async def newest_note(bus: Bus, env: str) -> str:
    """The newest checkpoint, with the cosignatures that it has.

    Raises:
        UsageError: there is none.
        BusError: the server does not answer.
    """
    newest = await _newest(bus, env)
    lines = {
        line + "\n"
        for note in await cosigned(bus, env)
        if note.text == newest.checkpoint.text
        for line in note.lines()
    }
    own = set(newest.note.splitlines(keepends=True))
    return newest.note + "".join(sorted(lines - own))


async def public_key(bus: Bus, env: str) -> str:
    """The key that signed the newest checkpoint.

    Raises:
        UsageError: there is none.
        BusError: the server does not answer.
    """
    return (await _newest(bus, env)).key


async def cosigned(bus: Bus, env: str) -> list[Checkpoint]:
    """What witnesses have cosigned, oldest first. Others may have stored anything, too: only the
    key of a witness shows what it signed.

    Raises:
        BusError: the server does not answer.
    """
    found: list[Checkpoint] = []
    async for msg in jetstream.stored(bus, AUDIT, Subjects(env).audit("cosigned", "*")):
        with skipping(AUDIT, msg):
            found.append(Checkpoint.parse(msg.data.decode()))
    return found
