"""Checkpoints and keys: https://c2sp.org/signed-note, tlog-checkpoint and tlog-cosignature."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Verify = Callable[[bytes, bytes, bytes], bool]  # public key, text, signature

# The algorithms of a signed note: Ed25519, and Ed25519 of a witness, with a time.
SIGNED: Final = 1
COSIGNED: Final = 4
_DASH = "\N{EM DASH} "


@dataclass(frozen=True)
class Key:
    """A public key, as `name+id+base64`."""

    name: str
    algorithm: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Key:
        name, _, rest = text.strip().partition("+")
        identity, _, encoded = rest.partition("+")
        material = base64.b64decode(encoded, validate=True)
        key = cls(name, material[0] if material else 0, material[1:])
        if len(material) != 33 or key.algorithm not in (SIGNED, COSIGNED):
            raise ValueError(f"{text!r} is no Ed25519 key")
        if not name or identity != key.identity.hex():
            raise ValueError(f"{text!r} is damaged: its parts do not belong together")
        return key

    @property
    def identity(self) -> bytes:
        named = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public
        return hashlib.sha256(named).digest()[:4]

    def __str__(self) -> str:
        material = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.identity.hex()}+{material}"


@dataclass(frozen=True)
class Checkpoint:
    """The head of a tree, with its signatures: name of the key, its id, signature."""

    origin: str
    size: int
    root: bytes
    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, note: str) -> Checkpoint:
        text, separator, lines = note.rpartition("\n\n")
        text += "\n"
        parts = text.split("\n")
        if not separator or len(parts) < 4 or not lines.endswith("\n") or "" in parts[:-1]:
            raise ValueError("it is no signed note of a checkpoint")
        origin, size, root = parts[:3]
        if not (size.isascii() and size.isdecimal()) or str(int(size)) != size:
            raise ValueError(f"{size!r} is no size of a tree")
        digest = base64.b64decode(root, validate=True)
        if len(digest) != 32 or base64.b64encode(digest).decode() != root:
            raise ValueError("its third line is no digest")
        signatures = tuple(signature_of(line) for line in lines[:-1].split("\n"))
        return cls(origin, int(size), digest, text, signatures)

    def lines(self) -> list[str]:
        """The lines of the signatures."""
        return [
            f"{_DASH}{name} {base64.b64encode(identity + signature).decode()}"
            for name, identity, signature in self.signatures
        ]

    def signed_by(self, key: Key, verify: Verify) -> float | None:
        """When this key signed it, 0.0 if the signature has no time; None if it did not."""
        for name, identity, signature in self.signatures:
            if (name, identity) != (key.name, key.identity):
                continue
            if key.algorithm == SIGNED:
                return 0.0 if verify(key.public, self.text.encode(), signature) else None
            if len(signature) != 72:
                return None
            at = int.from_bytes(signature[:8], "big")
            signed = cosigned_text(at, self.text)
            return float(at) if verify(key.public, signed, signature[8:]) else None
        return None


def cosigned_text(at: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def signature_of(line: str) -> tuple[str, bytes, bytes]:
    """The name and the id of the key, and the signature, in a line of a note."""
    name, _, encoded = line.removeprefix(_DASH).rpartition(" ")
    material = base64.b64decode(encoded, validate=True)
    # Only one spelling of each signature, so that no bit of a note can change unseen.
    written = base64.b64encode(material).decode()
    if not line.startswith(_DASH) or not name or len(material) < 5 or written != encoded:
        raise ValueError(f"{line[:100]!r} is no signature")
    return name, material[:4], material[4:]
