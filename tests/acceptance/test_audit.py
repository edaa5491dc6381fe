"""`agentd audit`: verifies the log, exports proofs, cosigns checkpoints, and fails when it must."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from outside import Done, Project, eventually

from agentd.record.audit.verifier.note import Checkpoint

Typed = Callable[..., Done]


async def test_an_operator_proves_what_the_log_holds(guest: Project, typed: Typed) -> None:
    async def audit(*line: str, stdin: str = "") -> Done:
        return await asyncio.to_thread(typed, guest, "audit", *line, stdin=stdin)

    none = await audit("verify")
    assert (none.code, "has no checkpoint" in none.err) == (2, True)
    guest.agent("analyst")
    daemon = guest.up().ready()
    async with guest.wire() as wire:
        await wire.task("analyst", "t1")
        await eventually(lambda: wire.count("result.analyst.general.t1"), "the result")
        daemon.stop()  # it adds what is left to the tree

        key = (await audit("key")).out.strip()
        note = (await audit("checkpoint")).out
        assert note.startswith(key.partition("+")[0])
        guest.write("kept.txt", note)
        done = await audit("verify", "--key", key, "--checkpoint", "kept.txt")
        assert (done.code, done.out.splitlines()[-1]) == (0, "verified: nothing is wrong")

        assert (await audit("export", "all.jsonl")).code == 0
        offline = await audit("verify", "all.jsonl", "--key", key)
        assert (offline.code, offline.out.splitlines()[-1]) == (0, "verified: nothing is wrong")
        part = (await audit("export", "-", "--only", "result.>")).out
        report = await audit("verify", "-", "--key", key, "--part", "--json", stdin=part)
        assert json.loads(report.out)["messages"] == 1

        # A witness: its cosignature becomes a part of the newest checkpoint.
        assert (await audit("witness", "--key", key)).code == 0
        cosigned = Checkpoint.parse((await audit("checkpoint")).out)
        assert [name for name, _, _ in cosigned.signatures][1:] == ["agentd/witness"]

        await wire.erase("result.analyst.general.t1")
        done = await audit("verify", "--key", key, "--json")
        [finding] = json.loads(done.out)["findings"]
        assert (done.code, finding["text"].partition(":")[0]) == (1, "is missing")
        [result] = [json.loads(line) for line in part.splitlines() if "sequence" in line[:40]]
        assert finding["sequence"] == result["sequence"]

        # Without the tree it costs nothing.
        guest.up(AGENTD_AUDIT="off").ready()
        await wire.task("analyst", "t2")
        await eventually(lambda: wire.count("result.analyst.general.t2"), "the second result")
        assert (await audit("checkpoint")).out.splitlines()[1] == str(cosigned.size)


def test_a_wrong_key_or_file_says_what_is_wrong(guest: Project, typed: Typed) -> None:
    wrong = typed(guest, "audit", "verify", "--key", "nonsense")
    assert (wrong.code, "`agentd audit key` prints one" in wrong.err) == (2, True)
    missing = typed(guest, "audit", "verify", "none.jsonl")
    assert (missing.code, "none.jsonl: No such file" in missing.err) == (2, True)
    made = typed(guest, "audit", "key", "--new", "audit.key")
    assert made.out.startswith("agentd/t")
    guest.agent("analyst")
    (guest.root / "audit.key").write_text("damaged")
    daemon = guest.up(AGENTD_AUDIT_KEY="audit.key")
    assert (daemon.wait(), "AGENTD_AUDIT_KEY=audit.key cannot be used" in daemon.err) == (2, True)
