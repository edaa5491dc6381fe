"""The time that `--at` and `--in` give, and how a command's coroutine ends."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from agentd.cli.shared import options


def test_without_a_flag_nothing_is_due() -> None:
    assert options.due(None, None) is None


def test_in_counts_from_now() -> None:
    now = datetime.now().astimezone()
    due = options.due(None, "10m")

    assert due is not None
    assert timedelta(minutes=9) < due - now < timedelta(minutes=11)


def test_at_is_a_time_with_its_zone() -> None:
    due = options.due("2030-01-01T09:00+01:00", None)

    assert due is not None
    assert due.timestamp() == 1893484800


@pytest.mark.parametrize(
    ("at", "within", "problem"),
    [
        ("2020-01-01T09:00", None, "is in the past"),
        ("9999-01-01T00:00Z", None, "more than ten years away"),
        ("noon", None, "is not a time"),
        (None, "soon", "must be a duration"),
        ("2030-01-01T09:00", "1h", "not both"),
    ],
)
def test_an_invalid_time_is_an_error(at: str | None, within: str | None, problem: str) -> None:
    with pytest.raises(typer.BadParameter, match=problem):
        options.due(at, within)


def test_a_command_exits_with_the_code_of_its_coroutine() -> None:
    async def work() -> int:
        return 7

    with pytest.raises(typer.Exit) as end:
        options.run(work())

    assert end.value.exit_code == 7


def test_ctrl_c_exits_with_130() -> None:
    async def work() -> int:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as end:
        options.run(work())

    assert end.value.exit_code == 130


def test_a_group_without_a_command_lists() -> None:
    seen: list[dict[str, object]] = []
    group = typer.Typer()
    group.command("rm")(lambda: None)
    options.list_without_command(group, lambda **given: seen.append(given))
    run = CliRunner().invoke

    assert run(group, ["--env", "x"]).exit_code == 0
    assert seen == [{"as_json": False, "env": "x", "nats": None}]
    assert run(group, ["rm"]).exit_code == 0
    wrong = run(group, ["--env", "x", "rm"])
    assert (wrong.exit_code, len(seen)) == (2, 1)
    assert "write the options after `rm`" in wrong.output
