"""`agentd revisions`: the revisions on record are listed, shown and compared."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from outside import Done, Project, eventually

Typed = Callable[..., Done]


async def test_revisions_are_listed_shown_and_compared(guest: Project, typed: Typed) -> None:
    async def revisions(*line: str) -> Done:
        return await asyncio.to_thread(typed, guest, "revisions", *line)

    guest.agent("analyst", "model: mock/echo", prompt="Be brief.\nBe kind.\n")
    guest.agent("other", "model: mock/echo")
    assert (await revisions("ls")).out.startswith("no revision is on record in")
    up = guest.up().ready()
    guest.swap("prompts/analyst.md", "Be brief.\nBe \x1b[31mrude.\n")
    async with guest.wire() as wire:
        await wire.event("reloaded", "analyst")

    async def both() -> bool:
        return len(json.loads((await revisions("ls", "analyst", "--json")).out)) == 2

    await eventually(both, "both revisions on record")
    assert up.stop() == 0

    first, second = json.loads((await revisions("ls", "analyst", "--json")).out)
    assert first["at"] < second["at"]
    assert list(first["files"]) == ["manifests/analyst.yaml", "prompts/analyst.md"]
    rows = (await revisions()).out.splitlines()
    assert rows[0].split() == ["AGENT", "REVISION", "SINCE", "LIVE", "CHANGED"]
    assert [row.split()[:2] for row in rows[1:] if "analyst" in row] == [
        ["analyst", first["revision"]],
        ["analyst", second["revision"]],
    ]
    assert rows[-1].endswith("prompts/analyst.md") or "other" in rows[-1]

    diff = (await revisions("diff", first["revision"], second["revision"])).out
    assert (await revisions("diff", second["revision"][:8])).out == diff
    assert (await revisions("diff", "analyst")).out == diff
    assert diff.splitlines()[2:] == [
        "",
        "prompts/analyst.md (changed)",
        "@@ -1,2 +1,2 @@",
        " Be brief.",
        "-Be kind.",
        r"+Be \x1b[31mrude.",
    ]
    [change] = json.loads((await revisions("diff", "analyst", "--json")).out)["files"]
    assert (change["path"], change["diff"][-1]) == ("prompts/analyst.md", "+Be \x1b[31mrude.")
    same = await revisions("diff", first["revision"], first["revision"])
    assert same.out.splitlines()[-1] == "no file differs"

    shown = (await revisions("show", first["revision"])).out
    assert shown.startswith(f"analyst {first['revision']}, live since ")
    assert "\nprompts/analyst.md\nBe brief.\nBe kind.\n" in shown
    file = await revisions("show", "analyst", "prompts/analyst.md")
    assert file.out == "Be brief.\nBe \x1b[31mrude.\n"  # for a program, as it was
    contents = json.loads((await revisions("show", "analyst", "--json")).out)["contents"]
    assert contents["manifests/analyst.yaml"].startswith("capabilities: [analyst]")

    for line, text in (
        (("show", "nothing"), "no revision 'nothing' is on record"),
        (
            ("show", "analyst", "nothing.md"),
            "has no file nothing.md; it has manifests/analyst.yaml",
        ),
        (("diff", first["revision"]), "is the first revision of analyst on record"),
        (("ls", "no agent"), "must be 1 to 64 of"),
    ):
        refused = await revisions(*line)
        assert refused.code != 0
        assert text in refused.err
