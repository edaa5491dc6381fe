"""What is printed: safe on a terminal, exact for a program; tables with one line per row."""

from __future__ import annotations

import io
import json
import logging
import sys
from contextlib import redirect_stdout

import pytest

from agentd.cli import main
from agentd.cli.shared.console import (
    Said,
    SaidWarnings,
    Styled,
    say,
    say_data,
    say_json,
    table,
)

HOSTILE = "rm \x1b[8m-rf\u202e\nok"
SHOWN = "rm \\x1b[8m-rf\\u202e\\nok"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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


def test_text_for_people_and_the_cells_of_tables_are_safe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("call: ", Styled(HOSTILE, "red"), HOSTILE)
    say(HOSTILE, err=True)
    rows = table("ARGUMENTS")
    rows.add_row(HOSTILE)
    rows.show()

    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"call: {SHOWN}{SHOWN}"
    assert out.splitlines()[2].rstrip() == SHOWN
    assert err == f"{SHOWN}\n"


def test_a_style_is_only_for_a_terminal_and_only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with redirect_stdout(Terminal()) as terminal:
        say(Styled("\x1b[1mname", "green"), " is up")

    assert terminal.getvalue() == "\x1b[32m\\x1b[1mname\x1b[0m is up\n"


@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_the_exact_data_without_what_steers_a_terminal(
    capsys: pytest.CaptureFixture[str], indent: int | None
) -> None:
    value = {HOSTILE: ["é \x9b \U000e0041 \ud800", 1.5]}
    say_json(value, indent=indent)

    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert "é" in out
    assert all(c == "\n" or c.isprintable() for c in out)


def test_an_answer_is_exact_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    say_data(HOSTILE)

    assert capsys.readouterr().out == HOSTILE


def test_an_answer_is_safe_on_a_terminal_in_pieces_too() -> None:
    shown = ""
    with redirect_stdout(Terminal()) as terminal:
        for piece in ("می", "\u200cخ", "\n\tx", "\u200c\x1b[2J"):
            say_data(piece, after=shown)
            shown += piece

    assert terminal.getvalue() == "می\u200cخ\n\tx\\u200c\\x1b[2J"


def narrow(monkeypatch: pytest.MonkeyPatch, *rows: tuple[str, ...], columns: int = 40) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    listed = table("TASK", "AGENT", "ARGUMENTS", "NOTE", below=("ARGUMENTS", "NOTE"))
    for row in rows:
        listed.add_row(*row)
    with redirect_stdout(Terminal()) as terminal:
        listed.show()
    return terminal.getvalue().splitlines()


def test_a_narrow_terminal_shows_details_below_and_ids_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = '{"text": "two  spaces and more words than fit"}'
    name = "an-agent-with-a-long-name"
    head, first, *rest = narrow(monkeypatch, ("5e2a91bc", name, arguments, ""), ("b", "c", "", ""))

    assert head.split() == ["TASK", "AGENT"]
    assert first == f"5e2a91bc  {name}"
    assert "".join(line.removeprefix("    ") for line in rest[:-1]) == f"arguments {arguments}"
    assert all(len(line) <= 40 for line in rest)
    assert rest[-1].split() == ["b", "c"]


def test_a_table_that_fits_has_one_line_per_row(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = narrow(monkeypatch, ("a", "b", "{}", "x"), ("c", "d", "[]", "y"))

    assert [line.split() for line in lines[1:]] == [["a", "b", "{}", "x"], ["c", "d", "[]", "y"]]


def test_characters_of_east_asia_take_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table("NAME", "NEXT")
    rows.add_row("会話", "x")
    rows.add_row("abcd", "y")
    rows.show()

    _, first, second = capsys.readouterr().out.splitlines()
    assert (first, second) == ("会話  x", "abcd  y")


def test_what_libraries_print_and_warn_is_safe_for_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "typed \x1b[31m\u202e\n"
    warnings = SaidWarnings()
    said = "%s key=sk-12345678901234567890"
    record = logging.LogRecord("agentd.x", logging.WARNING, "", 1, said, (text,), None)
    assert Said().write(text) == len(text)
    assert capsys.readouterr().err == "typed \\x1b[31m\\u202e\n"
    warnings.emit(record)
    assert capsys.readouterr().err == "typed \\x1b[31m\\u202e\\n key=***\n"


@pytest.mark.parametrize(
    "line",
    [
        ["ask", "x", "y", "--at", "\u202ez"],
        ["ask", "x", "y", "--until", "\u202ez"],
        ["ask", "x", "y", "--env", "\u202ez"],
        ["validate", "\u202ez"],
        ["\u202ez"],
    ],
    ids=lambda line: " ".join(line[:-1]),
)
def test_a_mistake_that_repeats_an_argument_is_safe_for_a_terminal(
    line: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["agentd", *line])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert "\\u202ez" in shown
    assert "\u202e" not in shown
