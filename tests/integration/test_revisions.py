"""The revisions of agents go on record with their files, on a real server, and are read back."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentd import __version__
from agentd.nats import jetstream, streams
from agentd.nats.streams import REVISIONS
from agentd.protocol.message import new_id
from agentd.protocol.stream_subjects import file_piece, revision
from agentd.record import revisions
from agentd.record.revisions import RecordedRevision, RevisionRecorder
from agentd.settings import Settings
from tests.nats_servers import JETSTREAM, connected, server
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from tests.integration.conftest import Team

WORKER = "capabilities: [work]\nprompt: worker.md\n"


async def on_record(team: Team, count: int) -> list[RecordedRevision]:
    """The revisions of the environment, as soon as there are so many."""
    async with asyncio.timeout(PATIENCE):
        for _ in itertools.count():
            found = [each async for each in revisions.recorded(team.bus, team.subjects.env)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)
    raise AssertionError("unreachable")


async def text(team: Team, digest: str) -> str | None:
    data = await revisions.content(team.bus, team.subjects.env, digest)
    return None if data is None else data.decode()


def write_prompt(team: Team, prompt: str) -> None:
    (team.folder / "prompts").mkdir(exist_ok=True)
    (team.folder / "prompts" / "worker.md").write_text(prompt)


async def test_the_revision_that_a_result_names_is_on_record_with_its_files(team: Team) -> None:
    write_prompt(team, "Old.")
    await team.run(worker=WORKER)
    result = await team.ask("work", "hello")
    write_prompt(team, "New.")
    await team.run()
    later = await team.ask("work", "hello")

    old, new = await on_record(team, 2)
    assert [old.revision, new.revision] == [result["revision"], later["revision"]]
    assert (old.agent, old.env, old.agentd) == ("worker", team.subjects.env, __version__)
    assert old.at <= new.at
    assert sorted(old.files) == ["manifests/worker.yaml", "prompts/worker.md"]
    assert await text(team, old.files["manifests/worker.yaml"]) == WORKER
    assert await text(team, old.files["prompts/worker.md"]) == "Old."
    assert await text(team, new.files["prompts/worker.md"]) == "New."


async def test_an_unchanged_file_and_a_known_revision_are_stored_once(
    team: Team, other: Team
) -> None:
    for each in (team, other):
        write_prompt(each, "Old.")
        await each.run(worker=WORKER)
    write_prompt(team, "New.")
    await team.run()
    write_prompt(team, "Old.")
    await team.run()
    await on_record(team, 2)
    await team.runtime.recorder.settle()
    await other.runtime.recorder.settle()

    pattern = f"agentd.{team.subjects.env}.>"
    stored = [
        (msg.headers or {})["Nats-Subject"].split(".")[2]
        async for msg in jetstream.stored(team.bus, REVISIONS, pattern)
    ]
    assert sorted(stored) == ["file", "file", "file", "revision", "revision"]


async def test_a_secret_is_nowhere_on_record(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_KEY", "very-secret-1")
    model = "model: {name: openai/x, api_key: '${WORKER_KEY}', api_base: 'http://127.0.0.1:9'}\n"
    await team.run(worker=f"capabilities: [work]\n{model}")
    [found] = await on_record(team, 1)

    assert "${WORKER_KEY}" in (await text(team, found.files["manifests/worker.yaml"]) or "")
    pattern = f"agentd.{team.subjects.env}.>"
    async for msg in jetstream.stored(team.bus, REVISIONS, pattern):
        assert b"very-secret" not in msg.data


async def test_a_file_larger_than_a_message_is_whole(team: Team) -> None:
    await team.run(worker="capabilities: [work]\n")
    large = " ".join(map(str, range(200_000))).encode()[: 1024**2]
    spec = team.runtime.agents["worker"].live.spec
    sources = {"tools/large.py": large, "tools/__init__.py": b""}
    recorder = RevisionRecorder(team.bus, team.subjects.env, lambda: [])
    recorder.keep(replace(spec, revision="0123456789ab", sources=sources))
    await recorder.settle()

    _, found = await on_record(team, 2)
    assert await text(team, found.files["tools/large.py"]) == large.decode()
    assert await text(team, found.files["tools/__init__.py"]) == ""


async def test_what_is_stored_later_on_the_same_subject_does_not_count(team: Team) -> None:
    write_prompt(team, "Old.")
    await team.run(worker=WORKER)
    [found] = await on_record(team, 1)
    env, digest = team.subjects.env, found.files["prompts/worker.md"]
    forged = json.dumps({**vars(found), "files": {}}).encode()
    subject = revision(env, "worker", found.revision)
    await jetstream.store(team.bus, subject, forged, message_id=new_id())
    await jetstream.store(team.bus, file_piece(env, digest, 0), b"Bad.", message_id=new_id())

    assert await on_record(team, 1) == [found]
    assert await text(team, digest) == "Old."


async def test_bytes_that_are_no_record_and_files_that_are_gone_cost_only_themselves(
    team: Team,
) -> None:
    env = team.subjects.env
    for name, data in (("a1", b"\xff"), ("b2", b'{"agent": 5}')):
        await jetstream.store(team.bus, revision(env, "worker", name), data, message_id=new_id())
    await jetstream.store(team.bus, file_piece(env, "ab" * 32, 0), b"other", message_id=new_id())
    await team.run(worker="capabilities: [work]\n")

    [found] = await on_record(team, 1)
    assert found.agent == "worker"
    assert await revisions.content(team.bus, env, "ab" * 32) is None
    assert await revisions.content(team.bus, env, "cd" * 32) is None


async def test_what_nats_refuses_is_logged_once_and_tried_again(
    tmp_path: Path, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    await team.run(worker="capabilities: [work]\n")
    spec = team.runtime.agents["worker"].live.spec
    with server(tmp_path, JETSTREAM.format(folder=tmp_path)) as url:
        async with connected(url) as bus:
            recorder = RevisionRecorder(bus, "dev", lambda: [spec])
            recorder.keep(spec)
            await recorder.settle()  # there is no such stream yet
            await recorder.settle()
            assert caplog.text.count("is not on record yet") == 1
            await streams.ensure(bus, Settings())
            await recorder.settle()
            assert [each.agent async for each in revisions.recorded(bus, "dev")] == ["worker"]
            await jetstream.api(bus, f"STREAM.DELETE.{REVISIONS}")
            await streams.heal(bus, Settings())
            recorder.keep_live()
            await recorder.settle()
            assert [each.agent async for each in revisions.recorded(bus, "dev")] == ["worker"]
