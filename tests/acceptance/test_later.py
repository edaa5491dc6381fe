"""Tasks for later: they survive a restart of everything, and are listed and removed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

from outside import Done, Project, until


async def test_a_task_for_later_survives_a_restart_of_agentd_and_the_server(
    project: Project,
) -> None:
    """It is due while neither agentd nor the server runs."""
    project.agent("worker")
    first = project.up().ready()
    done = await project.run("ask", "worker", "later", "--in", "1s", "--json")
    task = json.loads(done.out)["id"]
    server = project.server()["pid"]
    first.process.kill()
    os.kill(server, signal.SIGKILL)
    first.wait()
    project.up().ready()
    async with project.wire() as wire:
        result = await wire.result(task)
        assert "later" in result.content["data"]
        assert await wire.count("result.worker.*.*") == 1


def test_schedules_are_listed_and_removed(guest: Project, typed: Callable[..., Done]) -> None:
    guest.agent("news", 'schedule: {cron: "0 7 * * 1-5", time_zone: Asia/Tokyo, task: Collect.}')
    up = guest.up().ready()
    until(lambda: "scheduled 0 0 7 * * 1-5 (Asia/Tokyo)" in up.err, "it is scheduled")
    later = typed(guest, "ask", "news", "--at", "2030-01-01T09:00+01:00", "Well?")
    assert later.code == 0, later.err
    task = later.out.split()[1]
    event = '{"type": "event", "id": "e1", "payload": {"content": 1}}'
    assert typed(guest, "send", "--in", "1h", "some.thing", stdin=event).code == 0
    listed = json.loads(typed(guest, "schedules", "ls", "--json").out)
    assert [(each["id"], each["to"]) for each in listed] == [
        ("@news", "task._agent.news"),
        ("e1", "event.some.thing"),
        (task, "task.news.general.5"),
    ]
    assert listed[0]["next"].endswith("T07:00:00+09:00")
    assert "Asia/Tokyo" in typed(guest, "schedules", "ls").out
    assert (
        typed(guest, "send", "--in", "1h", "some.thing", stdin=event.replace("e1", "e2")).code == 0
    )
    several = typed(guest, "schedules", "rm", "e")
    assert (several.code, "2 scheduled messages have an id" in several.err) == (2, True)
    assert typed(guest, "schedules", "rm", "e2").code == 0
    begun = task[:8]
    assert typed(guest, "schedules", "rm", begun, "e").out == f"{begun} removed\ne removed\n"
    assert "not scheduled (any more)" in typed(guest, "schedules", "rm", task).err
    assert "news is online" in typed(guest, "schedules", "rm", "@news").err
    assert up.stop() == 0
    assert typed(guest, "schedules", "rm", "@news").code == 0
    assert "nothing is scheduled" in typed(guest, "schedules", "ls").out


def test_an_impossible_time_is_refused(guest: Project, typed: Callable[..., Done]) -> None:
    for flags in (
        ["--at", "2020-01-01T09:00"],
        ["--in", "soon"],
        ["--up", "manifests", "--in", "1h"],
    ):
        assert typed(guest, "ask", "news", "Well?", *flags).code == 2
