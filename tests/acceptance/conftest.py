"""Projects: one with a server of its own, and one on the server that all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from outside import Project, projects


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with an embedded server of its own."""
    yield from projects(tmp_path / "project")


@pytest.fixture
def guest(tmp_path: Path, nats_url: str, env: str) -> Iterator[Project]:
    """A project on the server that all tests share, in an environment of its own."""
    yield from projects(tmp_path / "guest", NATS_URL=nats_url, AGENTD_ENV=env)
