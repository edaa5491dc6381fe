"""The ways to verify a request, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agentd.manifest.triggers.verify import Verify, as_verify


def test_none_is_a_way_that_no_mapping_can_be() -> None:
    assert as_verify("none").kind == "none"
    with pytest.raises(ValidationError):
        Verify.model_validate({})


def test_a_secret_is_a_text_or_a_list() -> None:
    assert Verify.model_validate({"stripe": "a"}).stripe == ("a",)
    assert Verify.model_validate({"stripe": ["a", "b"]}).stripe == ("a", "b")


@pytest.mark.parametrize("kind", ["github", "slack", "stripe", "bearer"])
def test_the_kind_is_the_one_way(kind: str) -> None:
    assert Verify.model_validate({kind: "s"}).kind == kind


def test_an_hmac_is_in_hex_by_default() -> None:
    found = Verify.model_validate({"hmac": {"secret": "s"}})

    assert found.hmac
    assert (found.kind, found.hmac.header, found.hmac.algorithm, found.hmac.encoding) == (
        "hmac",
        "X-Signature",
        "sha256",
        "hex",
    )


def test_another_text_is_refused() -> None:
    with pytest.raises(ValueError, match="or `none`"):
        as_verify("nobody")
