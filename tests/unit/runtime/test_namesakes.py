"""Which agents online are no replicas of ours, although they have the same name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentd.runtime.namesakes import namesakes
from tests.unit.routing.test_registry import REPLICA

OURS = replace(REPLICA, file="/one/manifests/ada.yaml")


@pytest.mark.parametrize(
    ("fields", "warns"),
    [
        ({"file": "/two/manifests/ada.yaml"}, True),
        ({"file": "/two/manifests/ada.yaml", "revision": "r2"}, True),
        ({"file": OURS.file, "revision": "r2"}, False),  # one of the two has not reloaded yet
        ({"host": "other", "file": "/two/manifests/ada.yaml"}, False),
        ({"host": "other", "file": OURS.file, "revision": "r2"}, True),
        ({"agent": "bob", "file": "/two/manifests/bob.yaml"}, False),
    ],
)
def test_another_file_is_another_agent(fields: dict[str, Any], warns: bool) -> None:
    other = replace(OURS, instance="i2", pid=7, **fields)

    found = list(namesakes([OURS], [OURS, other]))

    assert [each for each, _ in found] == ([other] if warns else [])


def test_the_warning_names_the_other_process() -> None:
    other = replace(OURS, instance="i2", pid=7, host="far", file="/two/ada.yaml", revision="r2")

    [(_, text)] = namesakes([OURS], [other])

    assert "process 7 on far from /two/ada.yaml, on revision r2" in text
    assert "--env" in text
