"""What a manifest's schedule may say, each mistake at its place; and how the server is told."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import typer

from agentd.cli.shared import options
from agentd.manifest.file import read_manifest
from agentd.nats.schedules import Timing
from agentd.problems import errors
from agentd.queue.delivery import Parcel, parcel
from agentd.runtime.agent_schedules import in_words, next_time


def mistakes(schedule: str) -> list[str]:
    text = f"capabilities: [a]\nschedule: {schedule}\n"
    draft = read_manifest(text.encode(), "m.yaml", stem="m", defaults=[], environ={})
    return [
        f"{each.line}:{each.column} {each.text}; {each.hint}" for each in errors(draft.problems)
    ]


@pytest.mark.parametrize(
    ("schedule", "mistake"),
    [
        ("{every: 500ms, task: x}", "2:19 `schedule.every` must be at least 1s; "),
        (
            "{cron: 0 25 * * *, task: x}",
            "2:18 `schedule.cron` has an invalid hour: `25`; use 0 to 23",
        ),
        ("{every: 1h, cron: 0 7 * * *, task: x}", "needs either `every` or `cron`"),
        ("{every: 1h}", "`schedule.task` is missing"),
        ("{every: 1h, time_zone: Europe/Berlin, task: x}", "has a `time_zone` without `cron`"),
        (
            "{cron: 0 7 * * *, time_zone: Europe/Berln, task: x}",
            "`schedule.time_zone` is not a known time zone: `Europe/Berln`; "
            "did you mean `Europe/Berlin`?",
        ),
    ],
)
def test_a_mistake_has_its_place(schedule: str, mistake: str) -> None:
    [told] = mistakes(schedule)
    assert mistake in told


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        (Timing.every(3600), "every 1h"),
        (Timing.every(90), "every 90s"),
        (Timing.every(1.5), "every 1.5s"),
        (Timing.every(2 * 86400), "every 2d"),
        (Timing("0 0 7 * * 1-5"), "0 0 7 * * 1-5"),
        (Timing("@every 1h30m"), "@every 1h30m"),
        (Timing("0 0 7 * * 1-5", "Asia/Tokyo"), "0 0 7 * * 1-5 (Asia/Tokyo)"),
    ],
)
def test_a_timing_in_words(timing: Timing, words: str) -> None:
    assert in_words(timing) == words


def test_a_timing_as_the_server_is_told() -> None:
    assert Timing.at(0.25).pattern == "@at 1970-01-01T00:00:00.250Z"
    assert Timing.at(0.25).moment == 0.25
    assert Timing.every(90).pattern == "@every 90000ms"
    assert Timing.every(90).moment is None


def test_when_it_is_due_next_as_far_as_we_know() -> None:
    assert next_time(Timing.at(5)) == 5
    assert next_time(Timing.every(5)) is None
    assert next_time(Timing("0 0 7 * * *", "No/Where")) is None
    assert next_time(Timing("*-5 0 7 * * *")) is None
    assert (next_time(Timing("0 0 7 * * *")) or 0) % 86400 == 7 * 3600


@pytest.mark.parametrize("value", ["purge", "", "soon"])
def test_only_a_time_overtakes_a_task(value: str) -> None:
    assert delivered(value).overtaken_at is None


def test_a_task_that_is_sent_twice_has_one_id() -> None:
    first, again = delivered("2026-11-23T07:00:00Z"), delivered("2026-11-23T07:00:00Z", sequence=9)
    assert first.default_id == again.default_id
    assert first.default_id != delivered("2026-11-24T07:00:00Z").default_id
    assert delivered("purge").default_id != delivered("purge", sequence=9).default_id


def delivered(due_next: str, sequence: int = 7) -> Parcel:
    headers = {
        "Nats-Stream-Source": f"AGENTD_LOG {sequence} a b agents.dev.task.d.s x",
        "Nats-Scheduler": "agents.dev.sched.agent.news",
        "Nats-Schedule-Next": due_next,
    }
    return parcel(b"", headers, attempt=1, stored_at=0)


def test_a_due_time_on_the_command_line() -> None:
    now = datetime.now().astimezone()
    assert options.due(None, None) is None
    within = options.due(None, "10m")
    assert within is not None
    assert timedelta(minutes=9) < within - now < timedelta(minutes=11)
    later = options.due("2030-01-01T09:00+01:00", None)
    assert later is not None
    assert later.timestamp() == 1893484800


@pytest.mark.parametrize(
    ("at", "within", "mistake"),
    [
        ("2020-01-01T09:00", None, "is in the past"),
        ("9999-01-01T00:00Z", None, "more than ten years away"),
        ("noon", None, "is no time"),
        (None, "soon", "must be a duration"),
        ("2030-01-01T09:00", "1h", "not both"),
    ],
)
def test_a_due_time_that_is_none(at: str | None, within: str | None, mistake: str) -> None:
    with pytest.raises(typer.BadParameter, match=mistake):
        options.due(at, within)
