"""Fixtures: projects with their own server, projects on the shared server, commands."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import forks
import pytest
from outside import Done, Project, projects

from agentd.cli import main
from agentd.log import LineHandler
from agentd.nats import records


@pytest.fixture(scope="session", autouse=True)
def end_of_forks() -> Iterator[None]:
    """Ends the process of which commands are forks."""
    yield
    forks.stop()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project that starts its own embedded server."""
    yield from projects(tmp_path / "project")


@pytest.fixture
def guest(tmp_path: Path, nats_url: str, env: str) -> Iterator[Project]:
    """A project on the server that all tests share, with a separate environment."""
    yield from projects(tmp_path / "guest", NATS_URL=nats_url, AGENTD_ENV=env)


@pytest.fixture
def typed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Done]]:
    """Runs a command in this process, which takes a tenth of the time of a subprocess."""

    def run(project: Project, *line: str, stdin: str = "") -> Done:
        monkeypatch.chdir(project.root)
        for name, value in project.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["agentd", *line])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        records.forget()  # what tests before this one have left is no message of this command
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        shown = capfd.readouterr()
        return Done(int(end.value.code or 0), shown.out, shown.err)

    yield run
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, LineHandler)]:
        root.removeHandler(handler)
        handler.close()
    logging.captureWarnings(False)
