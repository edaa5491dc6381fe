"""Ed25519 without a library."""

from __future__ import annotations

import pytest

from agentd.record.audit.verifier.ed25519 import verify

# RFC 8032, section 7.1: public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("public", "text", "signature"), VECTORS)
def test_the_signatures_of_the_standard(public: str, text: str, signature: str) -> None:
    key, message, signed = map(bytes.fromhex, (public, text, signature))

    assert verify(key, message, signed)
    assert not verify(key, message + b"x", signed)
    for place in (0, 31, 32, 62):
        changed = bytearray(signed)
        changed[place] ^= 1
        assert not verify(key, message, bytes(changed))


@pytest.mark.parametrize(
    ("public", "signature"),
    [
        (b"", bytes(64)),
        (bytes(32), b"short"),
        (b"\xff" * 32, bytes(64)),  # no point of the curve
        (bytes.fromhex(VECTORS[0][0]), b"\xff" * 64),  # a scalar that is too large
    ],
)
def test_what_is_no_key_or_signature_verifies_nothing(public: bytes, signature: bytes) -> None:
    assert not verify(public, b"", signature)


def test_a_scalar_plus_the_order_of_the_group_is_refused() -> None:
    """Otherwise each signature had a second spelling."""
    public, _, signature = (bytes.fromhex(each) for each in VECTORS[0])
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(signature[32:], "little") + order

    assert not verify(public, b"", signature[:32] + scalar.to_bytes(32, "little"))
