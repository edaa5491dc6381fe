"""The private keys of the audit."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.errors import DecodeError, UsageError
from agentd.record.audit import keys
from agentd.record.audit.keys import Signer
from agentd.record.audit.verifier.note import Key


def test_a_key_is_one_line_and_is_read_back() -> None:
    for _ in range(50):  # some have a + in their base64
        key = Signer.new(keys.log_name("dev"))
        assert Signer.parse(f"{key}\n") == key
        assert Key.parse(str(key.public)) == key.public


def test_a_key_does_not_show_its_secret() -> None:
    key = Signer.new("agentd/dev/1")

    assert str(key).rpartition("+")[2] not in repr(key)


@pytest.mark.parametrize(
    "text", ["", "x", "PRIVATE+KEY+", "PRIVATE+KEY+a+b+c", "PRIVATE+KEY+a+00000000+AQ=="]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        Signer.parse(text)


def test_a_key_of_another_name_is_refused() -> None:
    with pytest.raises(DecodeError):
        Signer.parse(str(Signer.new("agentd/dev/1")).replace("/dev/", "/prod/"))


def test_a_file_is_private_and_never_replaced(tmp_path: Path) -> None:
    file, key = tmp_path / "keys" / "audit.key", Signer.new("agentd/dev/1")
    keys.write_file(file, key)

    assert keys.read_file(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="File exists"):
        keys.write_file(file, key)


def test_a_missing_or_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "audit.key"
    with pytest.raises(UsageError, match="agentd audit key --new"):
        keys.read_file(file)
    file.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot be used"):
        keys.read_file(file)
    with pytest.raises(UsageError, match="cannot be used"):
        keys.read_file(tmp_path)
