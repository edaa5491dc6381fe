"""The keys of the audit: they sign checkpoints, and are the same for all replicas.

A private key is one line, as Go writes it (sumdb/note): `PRIVATE+KEY+name+id+base64`.
It is in the file that `AGENTD_AUDIT_KEY` names. Without one, the replicas of an environment share
the key that the first of them stores in a bucket.
"""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from agentd.errors import Conflict, DecodeError, UsageError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.records import skipped
from agentd.nats.streams import JOINS
from agentd.protocol.server_subjects import bucket
from agentd.record.audit.verifier.note import COSIGNED, SIGNED, Key, cosigned_text
from agentd.record.audit.verifier.tree import Frontier

_MARK = "PRIVATE+KEY+"
_LONGEST = 1024


@dataclass(frozen=True)
class Signer:
    """A private key. Its name is the origin of the log, or the name of a witness."""

    public: Key
    _seed: bytes

    @classmethod
    def new(cls, name: str, algorithm: int = SIGNED) -> Signer:
        """A key that nobody has yet."""
        return cls._of(name, algorithm, secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> Signer:
        """The key that `str` wrote.

        Raises:
            DecodeError: it is none.
        """
        try:
            name, identity, encoded = text.strip().removeprefix(_MARK).split("+", 2)
            material = base64.b64decode(encoded, validate=True)
            if not text.startswith(_MARK) or len(material) != 33 or not name:
                raise ValueError
            found = cls._of(name, material[0], material[1:])
            if found.public.identity.hex() != identity:
                raise ValueError
        except ValueError:
            raise DecodeError("it is no private key of the audit") from None
        return found

    @classmethod
    def _of(cls, name: str, algorithm: int, seed: bytes) -> Signer:
        public = SigningKey(seed).verify_key.encode()
        return cls(Key(name, algorithm, public), seed)

    def __str__(self) -> str:
        material = bytes([self.public.algorithm]) + self._seed
        encoded = base64.b64encode(material).decode()
        return f"{_MARK}{self.public.name}+{self.public.identity.hex()}+{encoded}"

    def __repr__(self) -> str:
        return f"Signer({self.public.name})"

    def sign(self, text: str) -> str:
        """The line of the signature for the text of a checkpoint."""
        return self._line(SigningKey(self._seed).sign(text.encode()).signature)

    def checkpoint(self, tree: Frontier) -> str:
        """The signed note for a tree."""
        root = base64.b64encode(tree.root()).decode()
        text = f"{self.public.name}\n{tree.size}\n{root}\n"
        return f"{text}\n{self.sign(text)}"

    def cosign(self, text: str, at: int) -> str:
        """The line with which a witness says that it has seen this checkpoint, and no other."""
        signed = SigningKey(self._seed).sign(cosigned_text(at, text)).signature
        return self._line(at.to_bytes(8, "big") + signed)

    def _line(self, signature: bytes) -> str:
        encoded = base64.b64encode(self.public.identity + signature).decode()
        return f"\N{EM DASH} {self.public.name} {encoded}\n"


def witness(name: str) -> Signer:
    """A new key of a witness."""
    return Signer.new(name, COSIGNED)


def log_name(env: str) -> str:
    """A name for the log of an environment, which no other log has."""
    return f"agentd/{env}/{secrets.token_hex(4)}"


def verify(public: bytes, text: bytes, signature: bytes) -> bool:
    """As `ed25519.verify`, a hundred times as fast."""
    try:
        VerifyKey(public).verify(text, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def read_file(path: Path) -> Signer:
    """The key in a file.

    Raises:
        UsageError: there is none.
    """
    try:
        with path.open() as file:
            return Signer.parse(file.read(_LONGEST))
    except FileNotFoundError:
        hint = f"make one with: agentd audit key --new {path}"
        raise UsageError(f"AGENTD_AUDIT_KEY={path} does not exist; {hint}") from None
    except (OSError, ValueError, DecodeError) as error:
        raise UsageError(f"AGENTD_AUDIT_KEY={path} cannot be used: {error}") from None


def write_file(path: Path, key: Signer) -> None:
    """Writes a new file, which only its owner can read.

    Raises:
        UsageError: there is one already, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{key}\n")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


async def shared(bus: Bus, env: str) -> Signer:
    """The key that the replicas of the environment share; the first one makes it.

    Raises:
        BusError: the server does not answer.
    """
    # Beside the secret of the ids: nobody but agentd may read this bucket.
    subject = bucket(JOINS, env, "secret", "audit")
    while True:
        sequence, found = await jetstream.newest(bus, JOINS, subject)
        if found:
            try:
                return Signer.parse(found.decode())
            except (DecodeError, UnicodeDecodeError) as error:
                # Anyone may have written it. No process could sign as long as it stays.
                skipped(JOINS, subject, error, sequence)
        own = Signer.new(log_name(env))
        try:
            await jetstream.replace(bus, subject, str(own).encode(), after=sequence)
        except Conflict:
            continue
        return own
