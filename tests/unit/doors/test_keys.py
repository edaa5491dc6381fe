"""The keys that a process accepts, while the file changes."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from agentd.doors.key_file import KeyFile
from agentd.doors.keys import Keys
from agentd.doors.refusal import Refusal
from agentd.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def begun(file: KeyFile, *, needed: bool = False) -> Keys:
    """The keys of a process that has just begun."""
    keys = Keys(file, needed=needed)
    keys.read()
    return keys


def refused(keys: Keys, secret: str) -> str:
    with pytest.raises(Refusal) as caught:
        keys.caller(secret)
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    return str(caught.value)


def test_keys_are_needed_once_there_is_one(file: KeyFile) -> None:
    keys = begun(file)
    assert not keys.are_needed
    secret = file.add("ci", ["ask"], agents=["a"])
    assert keys.are_needed
    caller = keys.caller(secret)
    assert (caller.name, caller.may, caller.agents) == ("ci", {"ask"}, {"a"})


def test_each_key_is_its_own_caller(file: KeyFile) -> None:
    secrets = {name: file.add(name, ["read"]) for name in ("first", "second", "third")}
    keys = begun(file)
    assert {name: keys.caller(secret).name for name, secret in secrets.items()} == {
        name: name for name in secrets
    }


def test_a_wrong_key_is_refused(file: KeyFile) -> None:
    secret = file.add("ci", ["ask"])
    keys = begun(file)
    for wrong in ("", "x", secret[:-1], secret + "x", secret.upper(), "\udcff"):
        assert "unknown" in refused(keys, wrong)


def test_an_expired_key_is_refused_with_the_reason(file: KeyFile) -> None:
    secret = file.add("old", ["ask"], expires=time.time() - 2)
    assert "'old' has expired" in refused(begun(file), secret)


def test_a_revoked_key_is_refused_at_once_and_the_last_one_opens_nothing(file: KeyFile) -> None:
    secret = file.add("ci", ["ask"])
    keys = begun(file)
    keys.caller(secret)
    file.revoke("ci")
    assert "revoked" in refused(keys, secret)
    assert keys.are_needed


def test_a_file_that_is_removed_opens_nothing(file: KeyFile) -> None:
    secret = file.add("ci", ["ask"])
    keys = begun(file)
    file.path.unlink()
    assert keys.are_needed
    refused(keys, secret)
    assert keys.caller(file.add("ci", ["ask"])).name == "ci"


def test_a_damaged_file_changes_nothing_and_is_reported_once(
    file: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    secret = file.add("ci", ["ask"])
    keys = begun(file)
    file.path.write_text("{")
    for _ in range(3):
        assert keys.caller(secret).name == "ci"
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "the keys stay unchanged" in record.getMessage()


def test_a_damaged_file_at_the_start_is_an_error(file: KeyFile) -> None:
    file.path.write_text("{")
    with pytest.raises(UsageError, match="is no file of keys"):
        begun(file)


def test_a_file_that_a_setting_names_is_needed_from_the_start(file: KeyFile) -> None:
    keys = begun(file, needed=True)
    assert keys.are_needed
    refused(keys, "x")
    assert keys.caller(file.add("ci", ["ask"])).name == "ci"
