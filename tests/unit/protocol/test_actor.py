"""Who did something: a person at a command line, a key, a message; on record as `by`."""

from __future__ import annotations

import getpass
import socket
from typing import Any

import pytest

from agentd.protocol.actor import Actor, name_in, named_by, person


def test_a_person_is_the_login_name_and_the_machine_or_another_name() -> None:
    assert person() == Actor("cli", f"{getpass.getuser()}@{socket.gethostname()}")
    assert person("maria") == Actor("cli", "maria")


def test_a_user_without_a_name_is_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_user() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", no_user)
    assert person().name.startswith("somebody@")


def test_what_goes_on_record_is_read_back() -> None:
    assert named_by(Actor("http", "ops")) == {"by": {"kind": "http", "name": "ops"}}
    assert name_in(named_by(Actor("http", "ops"))) == "ops"
    assert named_by(None) == {}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"by": "maria"}, "maria"),
        ({"by": {"kind": "cli"}}, ""),
        ({"by": {"name": 5}}, ""),
        ({"by": ["x"]}, ""),
        ({}, ""),
        ("text", ""),
        (None, ""),
    ],
)
def test_a_name_in_any_content(content: Any, name: str) -> None:
    assert name_in(content) == name
