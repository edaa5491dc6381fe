"""Tables in a pipe: one line per row, whatever its length, and plain text."""

from __future__ import annotations

import pytest

from agentd.cli.shared.console import table


def test_a_table_in_a_pipe_has_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table("AGENT", "PROBLEM")
    rows.add_row("analyst", "x" * 150)
    rows.add_row("b", "y")
    rows.show()

    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["AGENT", "PROBLEM"]
    assert first.split() == ["analyst", "x" * 150]
    assert second.index("y") == first.index("x")


def test_markup_in_a_cell_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table("TEXT")
    rows.add_row("[bold]not bold[/bold] :smile:")
    rows.show()

    assert "[bold]not bold[/bold] :smile:" in capsys.readouterr().out
