"""The Merkle tree of RFC 9162, section 2.1, and the leaves that agentd puts into it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def message_leaf(sequence: int, at: bytes, subject: bytes, headers: bytes, data: bytes) -> bytes:
    """The leaf of a message. `at` is its time as the server writes it, `headers` are the bytes that
    are stored, b"" for none. Only digests of both: they stay when the contents are erased."""
    digests = hashlib.sha256(headers).digest() + hashlib.sha256(data).digest()
    return b"agentd-message-v1\n%d\n%b\n%b\n%b" % (sequence, at, subject, digests)


def batch_leaf(text: bytes) -> bytes:
    """The leaf that follows those of a batch: which sequences they are, and what the log said."""
    return b"agentd-batch-v1\n" + text


class Frontier:
    """The roots of the complete subtrees of a tree, the largest first: all that is needed to add
    leaves and to compute the root."""

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if len(self.hashes) != size.bit_count() or any(len(each) != 32 for each in self.hashes):
            raise ValueError(f"{len(self.hashes)} hashes are no tree of {size} leaves")

    def add(self, leaf: bytes) -> None:
        size = self.size
        while size & 1:
            leaf = node_hash(self.hashes.pop(), leaf)
            size >>= 1
        self.hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        if not self.hashes:
            return hashlib.sha256(b"").digest()
        *left, root = self.hashes
        for each in reversed(left):
            root = node_hash(each, root)
        return root


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, leaf
    for each in path:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = node_hash(each, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, each)
        number, last = number >> 1, last >> 1
    return last == 0 and found == root
