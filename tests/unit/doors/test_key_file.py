"""The file of keys: what is written, what is refused, two commands at the same time."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentd.doors.key_file import KeyFile, digest
from agentd.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "made" / "keys.json")


def test_without_a_file_there_are_no_keys(file: KeyFile) -> None:
    assert file.read() == []


def test_a_key_is_stored_as_its_digest_in_a_private_file(file: KeyFile) -> None:
    soon = float(int(time.time()) + 60)
    secret = file.add("ci", ["ask", "read"], agents=["analyst"], expires=soon)

    [key] = file.read()
    assert (key.name, key.sha256) == ("ci", digest(secret))
    assert (key.may, key.agents, key.expires) == ({"ask", "read"}, {"analyst"}, soon)
    assert not key.is_expired
    assert secret.removeprefix("agentd_") not in file.path.read_text()
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(file.path.parent).st_mode) == 0o700


def test_keys_are_long_and_different(file: KeyFile) -> None:
    keys = {file.add(f"key{n}", ["ask"]) for n in range(5)}
    assert len(keys) == 5
    assert all(len(key) == len("agentd_") + 43 for key in keys)


def test_an_expired_key_says_so(file: KeyFile) -> None:
    file.add("old", ["ask"], expires=time.time() - 2)
    assert file.read()[0].is_expired


def test_a_revoked_key_is_gone(file: KeyFile) -> None:
    file.add("ci", ["ask"])
    file.add("web", ["read"])
    file.revoke("ci")
    assert [key.name for key in file.read()] == ["web"]
    with pytest.raises(UsageError, match=r"there is no key 'ci': .*keys\.json has web"):
        file.revoke("ci")


@pytest.mark.parametrize(
    ("name", "may", "agents", "says"),
    [
        ("a b", ["ask"], None, "cannot be named 'a b'"),
        ("", ["ask"], None, "cannot be named ''"),
        ("local", ["ask"], None, "not `local`"),
        ("taken", ["ask"], None, "there is a key 'taken' already"),
        ("ci", ["fly"], None, "'fly' is no right; a key may approve, ask, operate, read"),
        ("ci", [], None, "a key needs a right"),
        ("ci", ["ask"], ["a.b"], "'a.b' is not the name of an agent"),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    file: KeyFile, name: str, may: list[str], agents: list[str] | None, says: str
) -> None:
    file.add("taken", ["ask"])
    before = file.path.read_text()
    with pytest.raises(UsageError, match=says):
        file.add(name, may, agents=agents)
    assert file.path.read_text() == before


def test_two_commands_at_the_same_time_lose_no_key(file: KeyFile) -> None:
    def add(start: int) -> None:
        for number in range(start, start + 10):
            file.add(f"key{number}", ["ask"])

    threads = [threading.Thread(target=add, args=(start,)) for start in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.read()) == 30


GOOD: dict[str, Any] = {
    "name": "ci",
    "sha256": "0" * 64,
    "may": ["ask"],
    "agents": None,
    "created": "2026-11-30T00:00:00+00:00",
    "expires": None,
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"keys": {"ci": 1}}',
        '{"keys": [1]}',
        json.dumps({"keys": [GOOD, GOOD]}),
        *(
            json.dumps({"keys": [GOOD | wrong]})
            for wrong in (
                {"name": "a b"},
                {"name": 1},
                {"sha256": "0"},
                {"sha256": 1},
                {"may": []},
                {"may": "ask"},
                {"may": [["ask"]]},
                {"may": ["ask", "fly"]},
                {"agents": "a"},
                {"agents": [1]},
                {"created": 1},
                {"created": "2026-11-30T00:00:00"},
                {"expires": "soon"},
                {"expire": None},
            )
        ),
        *(
            json.dumps({"keys": [{name: value for name, value in GOOD.items() if name != left}]})
            for left in ("name", "sha256", "may", "created")
        ),
        " " * (2**20 + 1),
    ],
)
def test_what_is_no_file_of_keys_is_refused(file: KeyFile, text: str) -> None:
    file.path.parent.mkdir()
    file.path.write_text(text)
    with pytest.raises(UsageError, match=r"keys\.json: is no file of keys: .*; mend it"):
        file.read()


def test_the_smallest_key_is_for_all_agents_and_does_not_expire(file: KeyFile) -> None:
    file.path.parent.mkdir()
    smallest = {name: GOOD[name] for name in ("name", "sha256", "may", "created")}
    file.path.write_text(json.dumps({"keys": [smallest]}))
    [key] = file.read()
    assert (key.agents, key.expires) == (None, None)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{tmp_path}: "):
        KeyFile(tmp_path).read()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=f"{tmp_path}/file: "):
        KeyFile(tmp_path / "file" / "keys.json").add("ci", ["ask"])
