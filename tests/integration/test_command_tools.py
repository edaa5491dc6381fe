"""`command:` tools: what a program gets, how it can fail, and that it leaves no process behind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.workshop import Workshop, call, gone, pids_in, quick_loop
from tests.waiting import until

SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    await workshop.close()


def python(program: str, *more: str, **settings: Any) -> dict[str, Any]:
    """An entry that runs a program in Python."""
    return {"command": {"argv": [sys.executable, "-c", program, *more], **settings}, "name": "run"}


@pytest.mark.parametrize(
    "text", ["two words", "; rm -rf /", "$(id) `id`", "a\nb ", "{{ x }}", "*", "", "'\"\\", "ü…🙂"]
)
async def test_a_value_stays_one_argument(workshop: Workshop, text: str) -> None:
    toolbox = await workshop.open(python(SHOW, "{{ a }}", "--b={{ a }}", "c"))

    answer = await call(toolbox, "run", a=text)

    assert json.loads(answer.text) == [text, f"--b={text}", "c"]


async def test_a_model_cannot_add_an_option(workshop: Workshop) -> None:
    toolbox = await workshop.open(
        python(SHOW, "{{ a }}"), {**python(SHOW, "--", "{{ a }}"), "name": "after"}
    )

    refused = await call(toolbox, "run", a="--output=/etc/passwd")
    assert refused.text == (
        "an argument must not begin with a dash: '--output=/etc/passwd'; for a file write ./"
    )
    assert json.loads((await call(toolbox, "after", a="-x")).text) == ["--", "-x"]


async def test_the_parameters_are_declared_or_come_from_the_templates(
    workshop: Workshop,
) -> None:
    declared = {"properties": {"count": {"type": "integer", "maximum": 9, "default": 3}}}
    toolbox = await workshop.open(
        {"command": ["git", "log", "{{ path }}", "{{ idempotency_key }}"]},
        {**python(SHOW, "-n{{ count }}"), "parameters": declared},
    )
    git = toolbox.tools["git"].tool

    assert git.parameters["properties"] == {"path": {"type": "string"}}
    assert git.parameters["required"] == ["path"]
    assert git.takes_key
    assert git.description == "Runs `git log {{ path }} {{ idempotency_key }}`."
    assert json.loads((await call(toolbox, "run")).text) == ["-n3"]
    assert json.loads((await call(toolbox, "run", count=7)).text) == ["-n7"]
    assert "do not fit its schema" in (await call(toolbox, "run", count=10)).text
    assert "do not fit its schema" in (await call(toolbox, "run", other=1)).text


async def test_a_program_gets_only_its_own_environment_and_input(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    program = """
import os, sys
print(sorted(os.environ), os.environ["MODE"], sys.stdin.read(), os.getcwd())
"""
    (workshop.folder / "data").mkdir()
    toolbox = await workshop.open(
        python(program, env={"MODE": "dry"}, stdin="<{{ text }}>\n", cwd="data")
    )

    text = (await call(toolbox, "run", text="in")).text

    assert "SECRET" not in text
    assert "dry <in>\n" in text
    assert text.strip().endswith(str(workshop.folder / "data"))


async def test_a_program_need_not_read_its_input(workshop: Workshop) -> None:
    toolbox = await workshop.open(python("print('deaf')", stdin="{{ text }}"))

    assert (await call(toolbox, "run", text="x" * 500_000)).text == "deaf\n"


OWN_PID = "import os; open('pid', 'w').write(f'{os.getpid()} .')"
FAULTS = {
    "fails": ("import sys; sys.exit('no such branch')", "exited with code 1: no such branch"),
    "dies": ("import ctypes; ctypes.string_at(0)", "was killed by SIGSEGV"),
    "says_much": ("print('x' * 100_000_000)", "wrote more than 1,000,000 bytes and was killed"),
    "never_stops": (
        "import sys\nwhile True: sys.stderr.write('x' * 10_000)",
        "wrote more than 1,000,000 bytes and was killed",
    ),
    "hangs": ("import time; time.sleep(60)", "gave no answer within"),
    "ignores": (
        "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)",
        "gave no answer within",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_failing_program_is_an_error(workshop: Workshop, fault: str) -> None:
    program, words = FAULTS[fault]
    toolbox = await workshop.open(python(f"{OWN_PID}\n{program}"))

    async with quick_loop():
        answer = await call(toolbox, "run", timeout=1 if "within" in words else 20)

    assert answer.error
    assert words in answer.text
    assert len(answer.text) < 5_000
    await gone(*pids_in(workshop.folder / "pid"))


LEAVES = """
import os, subprocess, sys, time
one = subprocess.Popen(["sleep", "60"]).pid
two = int(subprocess.check_output("sleep 60 >/dev/null & echo $!", shell=True))
if not os.fork():
    os.fork()
    open(f"pid{os.getpid()}", "w")
    time.sleep(60)
open("pids", "w").write(f"{one} {two} .")
print("done", flush=True)
time.sleep(float(sys.argv[1]))
"""


async def test_the_processes_of_a_program_end_with_it(workshop: Workshop) -> None:
    toolbox = await workshop.open(python(LEAVES, "{{ seconds }}"))
    file = workshop.folder / "pids"

    assert (await call(toolbox, "run", seconds="0")).text == "done\n"
    done = pids_in(file)
    await gone(*done)

    waiting = asyncio.create_task(call(toolbox, "run", seconds="60"))
    await until(lambda: pids_in(file) not in (done, []))
    waiting.cancel()
    await gone(*pids_in(file))


async def test_a_process_that_leaves_its_group_is_not_waited_for(workshop: Workshop) -> None:
    program = """
import subprocess
print(subprocess.Popen(["sleep", "60"], start_new_session=True).pid)
"""
    toolbox = await workshop.open(python(program))

    answer = await call(toolbox, "run")

    assert not answer.error
    os.kill(int(answer.text), 9)


async def test_a_missing_program_or_folder_is_a_warning_and_no_tool(workshop: Workshop) -> None:
    [nobody] = await workshop.problems({"command": ["no-such-program"]})
    [nowhere] = await workshop.problems({"command": {"argv": ["ls"], "cwd": "nowhere"}})

    assert nobody.severity == "warning"
    assert nobody.text == "there is no program `no-such-program` here"
    assert nowhere.text == f"there is no folder {workshop.folder / 'nowhere'}"
    spec = workshop.spec({"command": ["no-such-program"]})
    assert workshop.commands.open(spec.manifest.tools[0], spec).tools == ()


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"command": ["{{ program }}", "x"]}, "must begin with a program; the model must not"),
        ({"command": []}, "`tools.command` is empty"),
        ({"command": "rm -rf {{ x }}"}, "`tools.command` must be a mapping"),
        (
            {"command": ["ls", "{{ paht }}"], "parameters": {"properties": {"path": {}}}},
            "did you mean `path`?",
        ),
        ({"command": ["ls", "{{ path"]}, "`{{` is not closed"),
        ({"command": ["ls"], "parameters": {"type": "array"}}, "must describe an object"),
        (
            {"command": ["ls"], "parameters": {"properties": 3}},
            "is not a valid JSON Schema: 3 is not of",
        ),
        ({"agent": "x", "parameters": {}}, "has `parameters` without `command` or `http`"),
    ],
)
async def test_an_error_in_the_manifest_is_reported(
    workshop: Workshop, entry: dict[str, Any], problem: str
) -> None:
    assert problem in workshop.refusal(entry)
