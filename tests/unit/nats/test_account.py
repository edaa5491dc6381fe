"""What a stream asks for, where the settings or the account allow less than usual."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.nats.account import UNLIMITED, Account, fitted
from agentd.settings import Settings

MB = 1024**2
LOG: dict[str, Any] = {"name": "LOG", "storage": "file", "max_bytes": 10_000 * MB}
FILE: dict[str, Any] = {"name": "FILE", "storage": "file"}
MEMORY: dict[str, Any] = {"name": "MEMORY", "storage": "memory"}


def fit(config: dict[str, Any], account: Account, **settings: Any) -> tuple[Any, ...]:
    """The storage and the size in MB of the fitted stream."""
    found = fitted(config, account, Settings(**settings), largest=config is LOG)
    size = found.get("max_bytes")
    return found["storage"], size and size // MB


@pytest.mark.parametrize(
    ("config", "account", "expected"),
    [
        (LOG, UNLIMITED, ("file", 10_000)),
        (FILE, UNLIMITED, ("file", None)),
        (MEMORY, UNLIMITED, ("memory", None)),
        (LOG, Account(disk_stream=1_000 * MB), ("file", 1_000)),
        (LOG, Account(disk=4_000 * MB), ("file", 2_000)),
        (FILE, Account(sizes=True), ("file", 256)),
        (FILE, Account(sizes=True, disk=3_200 * MB), ("file", 100)),
        (MEMORY, Account(memory=0), ("file", None)),
        (MEMORY, Account(sizes=True, memory=100 * MB), ("memory", 25)),
        (MEMORY, Account(sizes=True, memory_stream=10 * MB), ("memory", 10)),
    ],
)
def test_an_account_that_allows_less_gets_less(
    config: dict[str, Any], account: Account, expected: tuple[Any, ...]
) -> None:
    assert fit(config, account) == expected


def test_the_settings_say_how_much() -> None:
    assert fit(FILE, UNLIMITED, stream_bytes=5 * MB) == ("file", 5)
    assert fit(LOG, UNLIMITED, stream_bytes=5 * MB) == ("file", 10_000)
    assert fit(MEMORY, UNLIMITED, memory_bytes=0) == ("file", None)
    assert fit(MEMORY, Account(sizes=True), memory_bytes=7 * MB) == ("memory", 7)


def test_consumers_are_what_both_allow() -> None:
    def consumers(account: Account, **settings: Any) -> int:
        return fitted(FILE, account, Settings(**settings), largest=False)["max_consumers"]

    assert consumers(UNLIMITED) == 20_000
    assert consumers(Account(consumers=1_000)) == 1_000
    assert consumers(Account(consumers=1_000), consumers=100) == 100
