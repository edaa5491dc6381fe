"""An incident, played: from the text of a wrong answer to the edit of the prompt that caused it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from outside import Project, Wire

TEAM = Path(__file__).parents[2] / "examples" / "research-team"
PROMPT = "prompts/synthesizer.md"
RIGHT = "You write the answer for the user from what a team found."
WRONG = "You write the answer for the user: buses always win."


async def test_four_commands_lead_from_a_wrong_answer_to_the_edit_of_a_prompt(
    guest: Project,
) -> None:
    shutil.copytree(TEAM, guest.root, dirs_exist_ok=True)
    for mock in (guest.root / "manifests/mocks").iterdir():
        mock.write_text(re.sub(r"(latency|interval): \d+ms", r"\1: 1ms", mock.read_text()))
    # This model repeats its prompt: the edit is the cause of the answer.
    manifest = guest.root / "manifests/synthesizer.yaml"
    manifest.write_text(re.sub("(?m)^model: .*$", "model: mock/echo", manifest.read_text()))
    guest.up().ready()
    guest.swap(PROMPT, (guest.root / PROMPT).read_text().replace(RIGHT, WRONG))
    async with guest.wire() as wire:
        await wire.event("reloaded", "synthesizer")
        await other_tasks(wire, 10_000)
        asked = ("plan", "Which bus is best?", "--until", "event.answer.ready")
        assert (await guest.run("ask", *asked)).code == 0

    found = await guest.run("log", "--grep", "buses always win")
    [shown] = [line for line in found.out.splitlines() if "event.answer.ready" in line]
    traced = await guest.run("trace", re.findall(r"\b[0-9a-f]{8}\b", shown)[0])
    [answer] = [line for line in traced.out.splitlines() if "◀" in line]
    assert "event.answer.ready" in answer
    [revision] = set(re.findall(r"✓ synthesizer .*?revision (\w+)", traced.out, re.DOTALL))
    diff = await guest.run("revisions", "diff", revision)
    assert f"{PROMPT} (changed)" in diff.out
    assert f"\n-{RIGHT}\n+{WRONG}\n" in diff.out


async def other_tasks(wire: Wire, number: int) -> None:
    """Stores the results of other tasks."""
    for each in range(number):
        content = {"success": True, "data": f"answer {each}", "error": None}
        await wire.publish(
            f"result.noise.general.noise-{each}",
            {"id": f"n{each}", "payload": {"content": content}},
        )
    await wire.recorded("result.noise.general.noise-9999", 1)
