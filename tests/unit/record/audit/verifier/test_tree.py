"""The Merkle tree of RFC 9162."""

from __future__ import annotations

import pytest

from agentd.record.audit.export import Tree
from agentd.record.audit.verifier.tree import Frontier, is_included, leaf_hash, message_leaf

# The test vectors of Certificate Transparency (merkle_tree_test.cc): entries, and the root of the
# tree of the first 1, 2, … of them.
ENTRIES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_roots_are_those_of_certificate_transparency() -> None:
    tree = Frontier()
    found: list[str] = []
    for entry in ENTRIES:
        tree.add(leaf_hash(entry))
        found.append(tree.root().hex())

    assert found == ROOTS


def test_a_tree_without_leaves_has_the_root_of_nothing() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Frontier().root().hex() == empty


@pytest.mark.parametrize("size", range(1, 9))
def test_each_leaf_is_proven_and_no_other_one(size: int) -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES[:size]]
    tree = Tree(Frontier(), leaves)
    root = tree.root()

    assert root.hex() == ROOTS[size - 1]
    for index, leaf in enumerate(leaves):
        path = tree.path(index)
        assert is_included(leaf, index, size, path, root)
        assert not is_included(leaf_hash(b"other"), index, size, path, root)
        assert not is_included(leaf, index + 1, size, path, root)
        assert not is_included(leaf, index, size, [*path, root], root)
        assert not is_included(leaf, index, size, path[:-1], root) or not path


def test_a_frontier_must_fit_its_size() -> None:
    with pytest.raises(ValueError, match="no tree of 3 leaves"):
        Frontier(3, [bytes(32)])
    with pytest.raises(ValueError, match="no tree of 1 leaves"):
        Frontier(1, [b"short"])


def test_no_field_of_a_message_can_move_into_another() -> None:
    one = message_leaf(1, b"2026", b"agents.dev.event.a.b", b"A: 1", b"data")
    assert one != message_leaf(1, b"2026", b"agents.dev.event.a.b", b"", b"A: 1data")
    assert one != message_leaf(12, b"026", b"agents.dev.event.a.b", b"A: 1", b"data")
