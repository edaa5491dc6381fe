"""What another implementation of the formats made holds here, and what is made here is the same.

The note and the proofs are from aics-tlog 0.2.1, which needs Python 3.12. Its log
has the eleven entries `entry 0` to `entry 10`; the keys are the bytes 0 to 31 and 32 to 63.
"""

from __future__ import annotations

import base64

import pytest

from agentd.record.audit import keys
from agentd.record.audit.export import Tree
from agentd.record.audit.keys import Signer
from agentd.record.audit.verifier import ed25519
from agentd.record.audit.verifier.note import Checkpoint, Key, Verify
from agentd.record.audit.verifier.tree import Frontier, is_included, leaf_hash

NOTE = (
    "example.org/log\n11\nY/HkTXQth8YK3kDoFe+ugbzy2nVSStXge0pA9KYm00c=\n\n"
    "\N{EM DASH} example.org/log mK8COy0znO/VU09pAq6JyhNbRCKGsssYu1FjB+xNDKNOmDOaVxIN3gyQsN4V1Efqg0"
    "pXcOXb92yaOqoNd4UHpDpsyQU=\n"
    "\N{EM DASH} example.org/w1 F1GIGgAAAABrDgGAqMRnb4FTwEFdj/h5/6u9jhvEewzugEefxNNonQOrF+hy2OIYzIM"
    "SZ8zBdOm3iASTq2QhSpkwhKaY6OPM3KxXBA==\n"
)
LOG_KEY = "example.org/log+98af023b+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
WITNESS_KEY = "example.org/w1+1751881a+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
PROOFS = {
    0: [
        "18a49c747932711764c6b93facc1f1bef663a9d1bad6446d5f8a98e52771b466",
        "a7ad48af05827e045677f5b49b2cfba89b860781573ea77c51747008c5c9eeb6",
        "b14f3005459763b071728299d1569929c313f3c29669f1030cb89e26114d8ead",
        "c23ceefe1f83096a11f71deee531484536d96162e573afb239dd99a3fb4d48c8",
    ],
    10: [
        "f999e608dc200b447d45b177d1da1f56c41c8045dcb9469f30718ea83438064f",
        "f3fcb4f5c24244251dfa35a4d1789fc0ee1aa4b7285daafccf35c019d3873d70",
    ],
}
LEAVES = [leaf_hash(b"entry %d\n" % number) for number in range(11)]


def signer(name: str, algorithm: int, first: int) -> Signer:
    material = bytes([algorithm, *range(first, first + 32)])
    encoded = base64.b64encode(material).decode()
    public = Key.parse(LOG_KEY if algorithm == 1 else WITNESS_KEY)
    return Signer.parse(f"PRIVATE+KEY+{name}+{public.identity.hex()}+{encoded}")


@pytest.mark.parametrize("verify", [ed25519.verify, keys.verify])
def test_its_note_and_its_cosignature_hold(verify: Verify) -> None:
    found = Checkpoint.parse(NOTE)

    assert found.signed_by(Key.parse(LOG_KEY), verify) == 0.0
    assert found.signed_by(Key.parse(WITNESS_KEY), verify) == 1796080000.0


def test_the_same_key_signs_the_same_note_here() -> None:
    tree = Frontier()
    for leaf in LEAVES:
        tree.add(leaf)
    text = Checkpoint.parse(NOTE).text
    cosigned = signer("example.org/w1", 4, 32).cosign(text, 1796080000)

    assert signer("example.org/log", 1, 0).checkpoint(tree) + cosigned == NOTE


@pytest.mark.parametrize("index", PROOFS)
def test_its_proofs_hold_and_are_ours(index: int) -> None:
    tree, root = Tree(Frontier(), LEAVES), Checkpoint.parse(NOTE).root
    proof = [bytes.fromhex(each) for each in PROOFS[index]]

    assert tree.path(index) == proof
    assert is_included(LEAVES[index], index, 11, proof, root)
