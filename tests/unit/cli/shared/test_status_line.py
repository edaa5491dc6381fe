"""The line that shows that a command still waits."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import pytest

from agentd.cli.shared import status_line
from agentd.cli.shared.console import say
from agentd.cli.shared.status_line import StatusLine
from tests.waiting import until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_it_is_replaced_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_line, "_EVERY", 0.01)
    terminal, status = Terminal(), StatusLine("waiting for \x1b[8m ada")
    with redirect_stderr(terminal):
        async with status.ticking():
            await until(lambda: terminal.getvalue().count("ada · 0 s") > 1)
            say("done", err=True)
    shown = terminal.getvalue()
    assert shown.startswith("\x1b[2mwaiting for \\x1b[8m ada · 0 s\x1b[0m\r\x1b[2K\x1b[2m")
    assert "\r\x1b[2Kdone\n" in shown


async def test_it_is_not_shown_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    async with StatusLine("waiting").ticking():
        say("done", err=True)
    assert capsys.readouterr().err == "done\n"
