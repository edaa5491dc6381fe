"""Signed notes: checkpoints and keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.record.audit import keys
from agentd.record.audit.keys import Signer
from agentd.record.audit.verifier import ed25519
from agentd.record.audit.verifier.note import COSIGNED, Checkpoint, Key, Verify, signature_of
from agentd.record.audit.verifier.tree import Frontier

# The example of https://c2sp.org/signed-note, which is from the tests of Go (sumdb/note).
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\N{EM DASH} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfq"
    "dngotpRZb6KE6RyyBwJnAM=\n"
)


def head(signer: Signer, size: int = 3) -> str:
    tree = Frontier()
    for number in range(size):
        tree.add(bytes([number]) * 32)
    return signer.checkpoint(tree)


def test_a_key_of_go_is_read_and_its_signature_holds() -> None:
    key = Key.parse(GO_KEY)
    text, _, line = GO_NOTE.rpartition("\n\n")
    name, identity, signature = signature_of(line.strip())
    assert (name, identity) == ("PeterNeumann", key.identity)
    assert ed25519.verify(key.public, f"{text}\n".encode(), signature)
    assert str(key) == GO_KEY


@pytest.mark.parametrize("verify", [ed25519.verify, keys.verify])
def test_a_checkpoint_is_signed_with_its_key_and_no_other(verify: Verify) -> None:
    signer = Signer.new("agentd/dev/1")
    found = Checkpoint.parse(head(signer))

    assert (found.origin, found.size) == ("agentd/dev/1", 3)
    assert found.signed_by(signer.public, verify) == 0.0
    assert found.signed_by(Signer.new("agentd/dev/1").public, verify) is None
    assert found.signed_by(Key("other", 1, signer.public.public), verify) is None


def test_a_cosignature_has_a_time() -> None:
    signer, witness = Signer.new("agentd/dev/1"), keys.witness("w1")
    note = head(signer)
    cosigned = Checkpoint.parse(note + witness.cosign(Checkpoint.parse(note).text, 1796080000))

    assert cosigned.signed_by(witness.public, ed25519.verify) == 1796080000.0
    assert cosigned.signed_by(signer.public, ed25519.verify) == 0.0
    other = Checkpoint.parse(note + witness.cosign(head(signer, 4), 1796080000))
    assert other.signed_by(witness.public, ed25519.verify) is None
    assert Key.parse(str(witness.public)).algorithm == COSIGNED


@pytest.mark.parametrize(
    "damage",
    [
        lambda note: note.replace("\n3\n", "\n03\n"),
        lambda note: note.replace("\n3\n", "\n-3\n"),
        lambda note: note.replace("\n3\n", "\n\n3\n"),
        lambda note: note.replace("\N{EM DASH} ", "- "),
        lambda note: note.rstrip("\n"),
        lambda note: note.partition("\n\n")[0],
        lambda note: note.replace("agentd/dev/1\n3", "3"),
    ],
)
def test_a_damaged_note_is_refused(damage: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Checkpoint.parse(damage(head(Signer.new("agentd/dev/1"))))


@pytest.mark.parametrize(
    "text", ["", "a", "a+b", "a+00000000+AQ==", GO_KEY.replace("c74f", "c74e"), "a+b+!"]
)
def test_a_damaged_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Key.parse(text)
