"""The audit on a real server: who keeps the tree, and what an attacker does to the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentd.errors import UsageError
from agentd.nats import jetstream, streams
from agentd.nats.bus import Bus
from agentd.nats.jetstream import ApiError
from agentd.protocol.subjects import Subjects
from agentd.record.audit import export, keys, step, witness
from agentd.record.audit.keeper import Keeper
from agentd.record.audit.verifier.export import check
from agentd.record.audit.verifier.judge import Report
from agentd.record.audit.verifier.note import Checkpoint, Key
from agentd.record.audit.verify import Known, verify
from agentd.record.audit.witness import NotConsistent, WitnessFile
from agentd.settings import Settings
from tests.nats_servers import JETSTREAM, connected, server
from tests.waiting import PATIENCE


@pytest.fixture
async def keeper(bus: Bus, env: str) -> AsyncIterator[Keeper]:
    made = Keeper(bus, env, "first")
    made.open()
    yield made
    await made.close()


async def put(bus: Bus, env: str, *data: bytes, subject: str = "event.a.b", **headers: str) -> int:
    """Stores messages; returns the sequence of the last one."""
    named, sequence = f"agents.{env}.{subject}", 0
    for each in data:
        answer = await bus.request(named, each, headers=headers or None)
        sequence = json.loads(answer.data)["seq"]
    return sequence


async def covered(bus: Bus, env: str, sequence: int) -> step.Step:
    """The newest step, once the tree has the message with this sequence."""
    async with asyncio.timeout(PATIENCE):
        while True:
            newest = await step.newest(bus, env)
            if newest is not None and newest.last >= sequence:
                return newest
            await asyncio.sleep(0.05)


async def verified(bus: Bus, env: str, **known: list[Key] | list[Checkpoint]) -> Report:
    return await verify(bus, env, Known(**known))  # type: ignore[arg-type]


async def test_what_is_stored_is_in_the_tree_and_verified(
    bus: Bus, env: str, keeper: Keeper
) -> None:
    # Headers with the names of those that the server appends, and bytes that are no text.
    first = await put(bus, env, b"\xff", **{"Nats-Sequence": "5", "Nats-Stream": "AGENTD_LOG"})
    last = await put(bus, env, *(b"%d" % number for number in range(600)))
    newest = await covered(bus, env, last)

    report = await verified(bus, env, keys=[Key.parse(newest.key)])
    assert (report.findings, report.notes) == ([], [])
    assert (report.messages, report.first, report.last) == (601, first, last)
    lines = [line async for line in export.exported(bus, env)]
    assert check(lines, [Key.parse(newest.key)]).messages == 601


async def test_nobody_deletes_from_the_audit(bus: Bus, env: str, keeper: Keeper) -> None:
    newest = await covered(bus, env, await put(bus, env, b"x"))

    for call, request in (
        (f"STREAM.MSG.DELETE.{streams.AUDIT}", {"seq": newest.sequence}),
        (f"STREAM.PURGE.{streams.AUDIT}", {}),
    ):
        with pytest.raises(ApiError):
            await jetstream.api(bus, call, request)
    rolled = await bus.request(step.subject(env), b"", headers={"Nats-Rollup": "sub"})
    assert b"rollup not permitted" in rolled.data


async def test_another_process_takes_over_when_the_keeper_dies(bus: Bus, env: str) -> None:
    first, second = Keeper(bus, env, "first"), Keeper(bus, env, "second")
    dying = asyncio.create_task(first.run())
    before = await covered(bus, env, await put(bus, env, b"1"))
    second.open()
    await asyncio.sleep(1.5)
    dying.cancel()  # its lease is not released
    began = asyncio.get_running_loop().time()
    after = await covered(bus, env, await put(bus, env, b"2"))

    assert after.number == before.number + 1
    assert asyncio.get_running_loop().time() - began < PATIENCE / 2
    assert (await verified(bus, env)).findings == []
    await second.close()


async def test_heartbeats_alone_make_no_step(bus: Bus, env: str, keeper: Keeper) -> None:
    last = await put(bus, env, b"x")
    newest = await covered(bus, env, last)
    await put(bus, env, b"beat", subject="event.status.heartbeat", **{"Nats-TTL": "30s"})
    await keeper.close()  # which adds what is left

    assert await step.newest(bus, env) == newest


async def test_a_deleted_message_is_found_and_an_erased_one_is_not(
    bus: Bus, env: str, keeper: Keeper
) -> None:
    one, two = await put(bus, env, b"1"), await put(bus, env, b"2")
    await covered(bus, env, two)
    await jetstream.delete(bus, streams.LOG, one)
    await jetstream.delete(bus, streams.LOG, two)
    erased = json.dumps({"payload": {"content": {"erased": [[two, two]]}}}).encode()
    await put(bus, env, erased, subject="event.conversation.forgotten")

    report = await verified(bus, env)
    assert [(each.sequence, each.text[:10]) for each in report.findings] == [(one, "is missing")]
    assert report.gone == {"erased": 1}


async def test_replicas_share_a_key_and_nobody_else_can_sign(bus: Bus, env: str) -> None:
    assert await keys.shared(bus, env) == await keys.shared(bus, env)
    assert await keys.shared(bus, f"{env}x") != await keys.shared(bus, env)


async def test_a_witness_signs_one_tree_and_no_other(
    bus: Bus, env: str, tmp_path: Path, keeper: Keeper
) -> None:
    file = WitnessFile(tmp_path / "w" / "witness.json", "example.org/w")
    await covered(bus, env, await put(bus, env, b"1"))
    first = await witness.cosign(bus, env, file, None, 1796080000)
    await covered(bus, env, await put(bus, env, b"2"))
    second = await witness.cosign(bus, env, file, None, 1796080060)

    assert second.size > first.size
    assert second.signed_by(file.public(), keys.verify) == 1796080060
    assert (await witness.newest_note(bus, env)).count("example.org/w") == 1
    # Who may publish here stores a note in its name: it hides nothing.
    forged = Checkpoint.parse(first.text + "\n" + "\n".join(first.lines()) + "\n")
    fake = keys.witness("example.org/w").cosign(forged.text, 1796099999)
    note = "\n".join([forged.text, forged.lines()[0]]) + "\n" + fake
    await bus.request(Subjects(env).audit("cosigned", "x"), note.encode())
    report = await verified(bus, env, witnesses=[file.public()])
    assert report.findings == []
    assert f"example.org/w cosigned {second.size} leaves at 2026-11" in " ".join(report.notes)
    other = await verified(bus, env, witnesses=[keys.witness("other").public])
    assert "has not cosigned" in other.findings[0].text

    # Another tree under the same name: what a thief of the key would publish.
    await keeper.close()
    env_of_thief = f"{env}thief"
    signer = await keys.shared(bus, env)
    thief = Keeper(bus, env_of_thief, "thief", key=signer)
    thief.open()
    await covered(bus, env_of_thief, await put(bus, env_of_thief, b"3"))
    await thief.close()
    with pytest.raises(NotConsistent, match="does not go on from the one"):
        await witness.cosign(bus, env_of_thief, file, None, 1796080120)


@asynccontextmanager
async def own(folder: Path) -> AsyncGenerator[Bus]:
    """A connection to a server with its own store."""
    with server(folder, JETSTREAM.format(folder=folder)) as url:
        async with connected(url) as bus:
            await streams.ensure(bus, Settings())
            yield bus


async def filled(folder: Path) -> tuple[int, str, Checkpoint]:
    """Fifty answers in a log, and the audit of them: the first sequence, the key, a checkpoint."""
    async with own(folder) as bus:
        keeper = Keeper(bus, "dev", "first")
        keeper.open()
        first = await put(bus, "dev", b"answer-00 is 0 dollars")
        answers = [b"answer-%02d is %d dollars" % (n, n) for n in range(1, 50)]
        await covered(bus, "dev", await put(bus, "dev", *answers))
        await keeper.close()
        newest = await step.newest(bus, "dev")
        assert newest is not None
        assert (await verified(bus, "dev")).findings == []
        return first, newest.key, newest.checkpoint


def blocks(folder: Path, stream: str) -> list[Path]:
    return sorted(folder.glob(f"store/jetstream/$G/streams/{stream}/msgs/*.blk"))


async def test_an_edited_store_on_the_disk_is_found(tmp_path: Path) -> None:
    first, key, _ = await filled(tmp_path)
    [block] = blocks(tmp_path, streams.LOG)
    data = block.read_bytes()
    assert data.count(b"answer-17 is 17") == 1
    block.write_bytes(data.replace(b"answer-17 is 17", b"answer-17 is 99"))

    async with own(tmp_path) as bus:
        report = await verified(bus, "dev", keys=[Key.parse(key)])
    assert report.findings[0].sequence == first + 17


async def test_a_store_without_its_end_is_found(tmp_path: Path) -> None:
    first, key, _ = await filled(tmp_path)
    [block] = blocks(tmp_path, streams.LOG)
    data = block.read_bytes()
    block.write_bytes(data[: data.index(b"answer-40") - 100])
    for index in block.parent.glob("index.db"):
        index.unlink()

    async with own(tmp_path) as bus:
        report = await verified(bus, "dev", keys=[Key.parse(key)])
        assert first + 38 <= report.findings[0].sequence <= first + 40
        # The server gives the sequences of lost messages to others. They are in the tree, too.
        keeper = Keeper(bus, "dev", "second")
        keeper.open()
        await covered(bus, "dev", await put(bus, "dev", *(b"new" for _ in range(20))))
        await keeper.close()
        again = await verified(bus, "dev", keys=[Key.parse(key)])
    assert again.findings[0].sequence == report.findings[0].sequence
    assert again.last > first + 50


async def test_a_keeper_says_that_its_checkpoints_were_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with own(tmp_path) as bus:
        keeper = Keeper(bus, "dev", "first")
        keeper.open()
        before = await covered(bus, "dev", await put(bus, "dev", b"1"))
        await jetstream.api(bus, f"STREAM.DELETE.{streams.AUDIT}")
        await streams.heal(bus, Settings())
        await covered(bus, "dev", await put(bus, "dev", b"2"))
        await keeper.close()

        said = f"had a checkpoint of {before.checkpoint.size} leaves and has one of 0"
        assert said in caplog.text
        assert (await verified(bus, "dev")).messages == 2


async def test_an_audit_that_was_made_anew_is_found_with_a_checkpoint_that_was_kept(
    tmp_path: Path,
) -> None:
    _, key, kept = await filled(tmp_path)
    async with own(tmp_path) as bus:
        await jetstream.api(bus, f"STREAM.DELETE.{streams.AUDIT}")
        with pytest.raises(UsageError, match="has no checkpoint"):
            await verified(bus, "dev")
        await streams.heal(bus, Settings())
        with pytest.raises(UsageError, match="has no checkpoint"):
            await verified(bus, "dev")
        # With the key of the environment, even a perfect forgery.
        keeper = Keeper(bus, "dev", "thief")
        keeper.open()
        await covered(bus, "dev", await put(bus, "dev", b"x"))
        await keeper.close()

        assert (await verified(bus, "dev", keys=[Key.parse(key)])).findings == []
        report = await verified(bus, "dev", keys=[Key.parse(key)], checkpoints=[kept])
    assert f"the checkpoint of {kept.size} leaves" in report.findings[0].text
