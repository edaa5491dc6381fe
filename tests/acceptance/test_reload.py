"""Edits while agentd runs: valid ones are live soon, others change nothing, no task is lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from outside import Daemon, Project, Wire, eventually, projects

from agentd.catalog.catalog import load

_ids = itertools.count()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One agentd for all tests that can share it; each test edits its own agents."""
    for project in projects(tmp_path_factory.mktemp("reload") / "project"):
        project.agent("first")
        yield project.up().ready()


@pytest.fixture
def here(running: Daemon) -> Project:
    """The project in which agentd runs."""
    return running.project


@pytest.fixture
async def wire(here: Project) -> AsyncIterator[Wire]:
    async with here.wire() as wire:
        yield wire


async def answer(wire: Wire, agent: str, domain: str = "") -> dict[str, Any]:
    """The content of a result of the agent, asked now."""
    task_id = f"{agent}-{next(_ids)}"
    await wire.task(domain or agent, task_id)
    return (await wire.result(task_id)).content


async def says(wire: Wire, agent: str, prompt: str) -> str:
    """Waits until the agent answers with this prompt; returns its revision then."""

    async def answering() -> str:
        content = await answer(wire, agent)
        return content["revision"] if f'told: "{prompt}"' in content["data"] else ""

    return await eventually(answering, f"{agent} answers with {prompt}")


async def added(here: Project, wire: Wire, agent: str, *fields: str, prompt: str = "One.") -> str:
    """Writes a new agent; returns its revision once it is online."""
    here.agent(agent, *fields, prompt=prompt)
    return (await wire.event("online", agent))["revision"]


# --- valid edits -----------------------------------------------------------------------------


async def test_an_edited_prompt_is_live(here: Project, wire: Wire) -> None:
    before = await added(here, wire, "edited")
    here.write("prompts/edited.md", "Two.")
    after = await says(wire, "edited", "Two.")
    event = await wire.event("reloaded", "edited")
    assert (event["previous"], event["revision"]) == (before, after)
    here.swap("prompts/edited.md", "Three.")
    await says(wire, "edited", "Three.")
    assert len(await wire.events("reloaded", "edited")) == 2


async def test_an_edited_include_is_live_where_it_is_included(here: Project, wire: Wire) -> None:
    here.write("prompts/shared/tone.md", "Be kind.")
    here.write("prompts/shared/base.md", "{% block body %}{% endblock %}")
    await added(here, wire, "polite", prompt='Answer. {% include "shared/tone.md" %}')
    heir = (
        '{% extends "shared/base.md" %}{% block body %}{% include "shared/tone.md" %}{% endblock %}'
    )
    await added(here, wire, "heir", prompt=heir)
    plain = await added(here, wire, "plain")
    here.swap("prompts/shared/tone.md", "Be brief.")
    await says(wire, "polite", "Answer. Be brief.")
    await says(wire, "heir", "Be brief.")
    assert await says(wire, "plain", "One.") == plain


async def test_edited_defaults_are_live_in_their_folder(here: Project, wire: Wire) -> None:
    here.write("prompts/team.md", "As {{ agent.description }}.")
    here.write("manifests/team/_defaults.yaml", "description: one\nprompt: team.md\n")
    here.write("manifests/team/member.yaml", "capabilities: [member]\n")
    await wire.event("online", "member")
    outside = await added(here, wire, "outside")
    here.write("manifests/team/_defaults.yaml", "description: two\nprompt: team.md\n")
    await says(wire, "member", "As two.")
    here.write("manifests/team/_defaults.yaml", "descripton: three\nprompt: team.md\n")
    problems = (await wire.event("rejected", "member"))["problems"]
    assert problems[0]["file"] == "manifests/team/_defaults.yaml"
    await says(wire, "member", "As two.")
    assert await says(wire, "outside", "One.") == outside
    here.write("manifests/team/_defaults.yaml", "description: four\nprompt: team.md\n")
    await says(wire, "member", "As four.")


async def test_an_agent_starts_and_ends_with_its_manifest(here: Project, wire: Wire) -> None:
    here.slow_agent("guest", "700ms")
    await wire.event("online", "guest")
    await wire.task("guest", "begun")
    await asyncio.sleep(0.2)
    (here.root / "manifests" / "guest.yaml").unlink()
    await wire.event("offline", "guest")
    assert (await wire.result("begun")).content["data"] == "done"
    refused = await here.run("ask", "guest", "hello")
    assert refused.code == 1
    assert "guest (guest)" not in refused.err
    here.agent("guest", prompt="Back.")
    await wire.event("online", "guest", count=2)
    await says(wire, "guest", "Back.")


async def test_a_running_task_finishes_on_its_revision(here: Project, wire: Wire) -> None:
    here.slow_agent("steady", "1s", text="old")
    before = (await wire.event("online", "steady"))["revision"]
    await wire.task("steady", "on-old")
    await asyncio.sleep(0.2)
    here.slow_agent("steady", "1ms", text="new")
    after = (await wire.event("reloaded", "steady"))["revision"]
    await wire.task("steady", "on-new")
    new, old = await asyncio.gather(wire.result("on-new"), wire.result("on-old"))
    assert (old.content["data"], old.content["revision"]) == ("old", before)
    assert (new.content["data"], new.content["revision"]) == ("new", after)


async def test_edited_capabilities_are_live(here: Project, wire: Wire) -> None:
    await added(here, wire, "mover", "capabilities: [old-trade, kept-trade]")
    assert (await answer(wire, "mover", "old-trade"))["success"]
    here.agent("mover", "capabilities: [kept-trade, new-trade]", prompt="One.")
    await wire.event("reloaded", "mover")
    assert (await answer(wire, "mover", "new-trade"))["success"]
    assert (await answer(wire, "mover", "kept-trade"))["success"]
    await wire.task("old-trade", "nobody-online")
    assert (await answer(wire, "mover", "kept-trade"))["success"]
    assert await wire.count("result.*.*.nobody-online") == 0
    here.agent("mover", "capabilities: [old-trade]", prompt="One.")
    assert (await wire.result("nobody-online")).content["success"]


async def test_edited_concurrency_is_live(here: Project, running: Daemon, wire: Wire) -> None:
    here.slow_agent("widened", "1s", "limits: {concurrency: 1}")
    await wire.event("online", "widened")
    for number in range(8):
        await wire.task("widened", f"wide-{number}")
    in_flight = 'agentd_tasks_in_flight{agent_id="widened"} '
    await eventually(lambda: in_flight + "1.0" in running.get("/metrics")[1])
    here.slow_agent("widened", "1s", "limits: {concurrency: 4}")
    await eventually(lambda: in_flight + "4.0" in running.get("/metrics")[1])
    for number in range(8):
        assert (await wire.result(f"wide-{number}")).content["success"]


async def test_a_renamed_agent_is_a_new_agent(here: Project, wire: Wire) -> None:
    await added(here, wire, "maiden", "name: maiden", "prompt: maiden.md")
    here.agent("maiden", "name: married", "prompt: maiden.md", prompt="One.")
    await wire.event("online", "married")
    await wire.event("offline", "maiden")
    assert (await answer(wire, "maiden"))["success"]


# --- ways to write a file --------------------------------------------------------------------


async def test_a_file_that_is_written_in_pieces_is_read_whole(here: Project, wire: Wire) -> None:
    await added(here, wire, "pieces")
    for number in range(5):
        prompt = f"You are {{{{ agent.name }}}}. Piece {number}."
        with (here.root / "prompts" / "pieces.md").open("w") as file:
            file.write(prompt[:12])
            file.flush()
            await asyncio.sleep(0.03)
            file.write(prompt[12:])
        await says(wire, "pieces", f"You are pieces. Piece {number}.")
    manifest = "capabilities: [pieces]\ndescription: >\n  Whole.\nprompt: pieces.md\n"
    with (here.root / "manifests" / "pieces.yaml").open("w") as file:
        file.write(manifest[:10])
        file.flush()
        await asyncio.sleep(0.03)
        file.write(manifest[10:])
    await wire.event("reloaded", "pieces", count=6)
    assert await wire.events("rejected", "pieces") == []


async def test_temporary_files_of_editors_change_nothing(here: Project, wire: Wire) -> None:
    revision = await added(here, wire, "calm")
    for name in (".calm.yaml.swp", "calm.yaml~", "#calm.yaml#", "4913", "calm.yaml.bak"):
        here.write(f"manifests/{name}", "capabilities: [nonsense")
    os.utime(here.root / "manifests" / "calm.yaml")
    here.write("prompts/unused.md", "{{ broken")
    here.write("prompts/calm.md", "Two.")
    here.write("prompts/calm.md", "One.")
    (here.root / "prompts" / "unused.md").unlink()
    await asyncio.sleep(0.3)
    assert await says(wire, "calm", "One.") == revision
    assert await wire.events("rejected", "calm") == []


async def test_a_swapped_link_as_in_a_config_map_is_an_edit(project: Project) -> None:
    """How Kubernetes mounts a ConfigMap: files are links into `..data`, which is swapped."""
    for folder, file in (("manifests", "mapped.yaml"), ("prompts", "mapped.md")):
        (project.root / folder / "..data").symlink_to("..v1")
        project.write(f"{folder}/..v1/{file}", "One." if folder == "prompts" else MAPPED)
        (project.root / folder / file).symlink_to(f"..data/{file}")
    project.up().ready()
    async with project.wire() as wire:
        await says(wire, "mapped", "One.")
        project.write("prompts/..v2/mapped.md", "Two.")
        swap_link(project.root / "prompts" / "..data", "..v2")
        shutil.rmtree(project.root / "prompts" / "..v1")
        await says(wire, "mapped", "Two.")
        project.write("manifests/..v2/mapped.yaml", MAPPED + "name: remapped\nprompt: mapped.md\n")
        swap_link(project.root / "manifests" / "..data", "..v2")
        await wire.event("online", "remapped")


MAPPED = "capabilities: [mapped]\n"


def swap_link(link: Path, target: str) -> None:
    draft = link.with_name("..tmp")
    draft.symlink_to(target)
    draft.replace(link)


async def test_poll_finds_an_edit_without_an_event(project: Project) -> None:
    """As with a bind mount: the file is written through another name, without an event here."""
    project.agent("polled", prompt="One.")
    os.link(project.root / "prompts" / "polled.md", project.root / "elsewhere")
    project.up("--poll", "0.2").ready()
    async with project.wire() as wire:
        project.write("elsewhere", "Two.")
        await says(wire, "polled", "Two.")


async def test_sighup_reads_the_files(here: Project, running: Daemon, wire: Wire) -> None:
    await added(here, wire, "prodded")
    os.link(here.root / "prompts" / "prodded.md", here.root / "elsewhere")
    here.write("elsewhere", "Two.")
    await asyncio.sleep(0.3)
    running.send_signal(signal.SIGHUP)
    await says(wire, "prodded", "Two.")


async def test_a_folder_that_is_replaced_is_watched_again(project: Project) -> None:
    """As `git checkout` and `cp -r` do: the folder is deleted and copied; then it is edited."""
    prompt, manifest = "Prompt {}.\n", "capabilities: [settled]\ndescription: Number {}.\n"
    project.write("prompts/settled.md", prompt.format(0))
    project.write("manifests/settled.yaml", manifest.format(0))
    project.up().ready()
    reloads = 0
    async with project.wire() as wire:
        for file, text in (("prompts/settled.md", prompt), ("manifests/settled.yaml", manifest)):
            before = (await answer(wire, "settled"))["revision"]
            shutil.rmtree((project.root / file).parent)
            await asyncio.sleep(0.5)
            assert (await answer(wire, "settled"))["revision"] == before
            for number in range(1, 5):
                if number == 3:  # immediately: the new folder may get the inode of the old one
                    shutil.rmtree((project.root / file).parent)
                project.write(file, text.format(number))
                reloads += 1
                await wire.event("reloaded", "settled", count=reloads)


# --- refused edits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "file", "text", "line", "problem"),
    [
        ("bad-syntax", "prompts/bad-syntax.md", "One.\n{% if %}", 2, ""),
        ("bad-name", "prompts/bad-name.md", "One.\n\n{{ contnet }}", 3, "contnet"),
        ("bad-include", "prompts/bad-include.md", '{% include "no.md" %}', 1, "no.md"),
        ("bad-field", "manifests/bad-field.yaml", "capabilites: [x]\n", 1, "capabilities"),
        ("bad-yaml", "manifests/bad-yaml.yaml", "capabilities: [x\n", 1, ""),
        ("bad-prompt", "manifests/bad-prompt.yaml", "capabilities: [x]\nprompt: no.md", 2, "no.md"),
        ("bad-key", "manifests/bad-key.yaml", "capabilities: [x]\nmodel: openai/x", 2, "KEY"),
    ],
)
async def test_a_refused_edit_changes_nothing_and_names_its_place(
    here: Project, wire: Wire, agent: str, file: str, text: str, line: int, problem: str
) -> None:
    revision = await added(here, wire, agent)
    original = (here.root / file).read_text()
    (here.root / file).write_bytes(text.encode(errors="surrogateescape"))
    event = await wire.event("rejected", agent)
    assert event["still"] == revision
    assert [(each["file"], each["line"]) for each in event["problems"]] == [(file, line)]
    assert problem in event["problems"][0]["problem"] + event["problems"][0]["hint"]
    assert await says(wire, agent, "One.") == revision
    here.write(file, original)
    here.write(f"prompts/{agent}.md", "Two.")
    await says(wire, agent, "Two.")
    assert len(await wire.events("rejected", agent)) == 1


async def test_ps_shows_a_refused_edit_until_it_is_fixed(here: Project, wire: Wire) -> None:
    await added(here, wire, "shown")
    here.write("prompts/shown.md", "{{ nosuch }}")
    await wire.event("rejected", "shown")
    await asyncio.sleep(0.2)  # the registry is updated after the log
    table = (await here.run("ps")).out
    assert "edit refused" in next(row for row in table.splitlines() if row.startswith("shown"))
    assert "shown: edit refused: prompts/shown.md:1:" in table
    here.write("prompts/shown.md", "Two.")
    await says(wire, "shown", "Two.")
    agents = {each["agent"]: each for each in json.loads((await here.run("ps", "--json")).out)}
    assert agents["shown"]["refused"] == []


async def test_an_agent_continues_without_its_prompt_file(here: Project, wire: Wire) -> None:
    revision = await added(here, wire, "orphan")
    (here.root / "prompts" / "orphan.md").unlink()
    await wire.event("rejected", "orphan")
    assert await says(wire, "orphan", "One.") == revision
    here.write("prompts/orphan.md", "Two.")
    await says(wire, "orphan", "Two.")


async def test_a_broken_edit_of_a_moved_manifest_is_refused(here: Project, wire: Wire) -> None:
    revision = await added(here, wire, "moved", "name: moved")
    file = here.root / "manifests" / "moved.yaml"
    file.rename(file.with_name("moved-on.yaml"))
    await asyncio.sleep(0.3)
    here.write("manifests/moved-on.yaml", "capabilities: [moved\n")
    assert (await wire.event("rejected", "moved"))["still"] == revision
    assert await says(wire, "moved", "One.") == revision
    file.with_name("moved-on.yaml").unlink()
    await wire.event("offline", "moved")


async def test_a_second_agent_of_the_same_name_is_refused(here: Project, wire: Wire) -> None:
    revision = await added(here, wire, "unique")
    here.write("manifests/z-twin.yaml", "name: unique\ncapabilities: [x]\ninstructions: Twin.\n")

    async def refused() -> bool:
        events = await wire.recorded("event.status.rejected")
        return any(event.content["file"] == "manifests/z-twin.yaml" for event in events)

    await eventually(refused)
    assert await says(wire, "unique", "One.") == revision
    (here.root / "manifests" / "z-twin.yaml").unlink()


async def test_a_broken_agent_and_a_busy_folder_delay_no_edit(here: Project, wire: Wire) -> None:
    """Neither an error of one agent nor other files that change delay the edits of others."""
    await added(here, wire, "diligent")
    here.write("manifests/hopeless.yaml", "capabilities: [x\n")

    async def scribble() -> None:
        for number in itertools.count():
            here.write("prompts/.scribble", str(number))
            await asyncio.sleep(0.05)

    scribbling = asyncio.create_task(scribble())
    try:
        await asyncio.sleep(0.3)
        here.write("prompts/diligent.md", "Two.")
        await asyncio.wait_for(says(wire, "diligent", "Two."), 10)
    finally:
        scribbling.cancel()
        (here.root / "manifests" / "hopeless.yaml").unlink()


async def test_a_manifest_with_many_errors_is_refused(here: Project, wire: Wire) -> None:
    await added(here, wire, "sober")
    here.write("manifests/sober.yaml", "".join(f"wrong{n}: 1\n" for n in range(40_000)))
    await wire.event("rejected", "sober")
    here.agent("sober", prompt="Two.")
    await says(wire, "sober", "Two.")


# --- under load ------------------------------------------------------------------------------

TASKS = 1_000


async def test_edits_lose_and_double_no_task(guest: Project) -> None:
    """An edit every 100 ms, one in five with an error, while 1,000 tasks are answered."""
    guest.agent("busy", "limits: {concurrency: 32}", prompt="Edit 0.")
    guest.up().ready()
    valid: dict[str, str] = {}  # revision to prompt
    done = asyncio.Event()

    async def edit() -> None:
        for number in itertools.count(1):
            broken = number % 5 == 0
            text = "Edit {{ nosuch }}." if broken else f"Edit {number}."
            (guest.swap if number % 2 else guest.write)("prompts/busy.md", text)
            if not broken:
                revision = load(guest.root / "manifests").agents["busy"].revision
                valid[revision] = text
            if done.is_set() and not broken:
                return
            await asyncio.sleep(0.1)

    valid[load(guest.root / "manifests").agents["busy"].revision] = "Edit 0."
    async with guest.wire() as wire:
        passed = await wire.watch("result.busy.*.*")
        editing = asyncio.create_task(edit())
        for number in range(TASKS):
            await wire.task("busy", f"task{number}")
            await asyncio.sleep(0.003)
        await eventually(lambda: len({seen.subject for seen in passed}) == TASKS)
        done.set()
        await editing
        results = await wire.recorded("result.busy.*.*", TASKS)
        assert Counter(seen.subject for seen in passed) == Counter(s.subject for s in results)
        await eventually(lambda: no_task_waits(wire))
        await says(wire, "busy", list(valid.values())[-1])
    assert len(results) == TASKS
    answered = {seen.content["revision"]: seen.content["data"] for seen in results}
    assert len(answered) > 10
    assert answered.keys() <= valid.keys()
    for revision, data in answered.items():
        assert f'told: "{valid[revision]}"' in data


async def no_task_waits(wire: Wire) -> bool:
    return await wire.waiting() == 0
