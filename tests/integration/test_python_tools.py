"""Python tools: functions run in worker processes, and whatever they do, the daemon survives."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_turns import journal
from tests.integration.workshop import Workshop, call, gone, pids_in, quick_loop
from tests.waiting import until

if TYPE_CHECKING:
    from tests.integration.conftest import Team

FAULTS = {
    "raises": ("raise ValueError('no such city')", "ValueError: no such city (faults.py:4)"),
    "quits": ("sys.exit(3)", "SystemExit: 3 (faults.py:4)"),
    "exits": ("os._exit(3)", "the worker process exited with code 3"),
    "segfaults": ("ctypes.string_at(0)", "the worker process was killed by SIGSEGV"),
    "kills": ("os.killpg(0, 9)", "the worker process was killed by SIGKILL"),
    "recurses": ("return fault()", "RecursionError"),
    "says_much": ("return 'x' * 100_000_000", "more than 1,000,000 characters"),
    "counts": ("return list(range(10_000_000))", "more than 1,000,000 characters"),
    "never_ends": ("return itertools.count()", "more than 1,000,000 characters"),
    "no_data": (
        "return object()",
        "the answer has a value of type object, which JSON cannot express",
    ),
    "hangs": ("time.sleep(60)", "gave no answer within"),
    "waits": ("subprocess.run(['sleep', '60'])", "gave no answer within"),
    "grips": ("re.match('(a+)+$', 'a' * 60 + 'b')", "gave no answer within"),
    "shuts": ("os.closerange(3, 100)", ""),
}


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    await workshop.close()


def faulty(statement: str) -> str:
    """A file with a function that fails and one that works."""
    return f"""import ctypes, itertools, os, re, subprocess, sys, time

def fault() -> object:
    {statement}

def pid() -> int:
    return os.getpid()
"""


@pytest.mark.parametrize(
    ("fault", "isolate"),
    [(fault, False) for fault in FAULTS]
    + [(fault, True) for fault in ("raises", "segfaults", "says_much", "waits", "grips", "shuts")],
)
async def test_a_failing_function_is_an_error(
    workshop: Workshop, fault: str, isolate: bool
) -> None:
    statement, words = FAULTS[fault]
    workshop.write(faults=faulty(statement))
    toolbox = await workshop.open(
        {"python": "faults.py:fault", "isolate": isolate}, {"python": "faults.py:pid"}
    )
    before = await call(toolbox, "pid")

    slow = "within" in words or not words
    async with quick_loop():
        answer = await call(toolbox, "fault", timeout=0.4 if slow else 20)
        after = await call(toolbox, "pid")

    assert answer.error
    assert words in answer.text
    assert not after.error
    await workshop.close()
    await gone(int(before.text), int(after.text))


async def test_a_function_gets_only_the_variables_that_its_entry_names(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    source = """
    import os

    AT_IMPORT = os.environ.get("CITY")

    def variables() -> list:
        return [AT_IMPORT, "PATH" in os.environ, "OPENAI_API_KEY" in os.environ]
    """
    workshop.write(env=source)
    declared = {"python": "env.py:variables"}
    toolbox = await workshop.open(
        {**declared, "name": "plain"},
        {**declared, "name": "named", "env": {"CITY": "Bonn", "OPENAI_API_KEY": "mine"}},
        {**declared, "name": "alone", "env": {"CITY": "Oslo"}, "isolate": True},
    )

    answers = [(await call(toolbox, name)).text for name in ("plain", "named", "alone")]

    assert answers == ["[null, true, false]", '["Bonn", true, true]', '["Oslo", true, false]']


@pytest.mark.parametrize("isolate", [False, True])
async def test_a_function_may_print_and_read(workshop: Workshop, isolate: bool) -> None:
    workshop.write(
        loud="""
        import os, sys

        def loud() -> str:
            for _ in range(1_000):
                print("x" * 100_000)
            os.write(1, b"straight to the pipe")
            return "done" + sys.stdin.read()
        """
    )
    toolbox = await workshop.open({"python": "loud.py:loud", "isolate": isolate})

    async with quick_loop():
        assert (await call(toolbox, "loud")).text == "done"


async def test_the_processes_of_an_isolated_call_end_with_it(workshop: Workshop) -> None:
    workshop.write(
        leaves="""
        import os, subprocess, time
        from pathlib import Path

        def children(wait: bool) -> list[int]:
            one = subprocess.Popen(["sleep", "60"]).pid
            two = int(subprocess.check_output("sleep 60 >/dev/null 2>&1 & echo $!", shell=True))
            Path(__file__).with_name("pids").write_text(f"{one} {two} .")
            time.sleep(60 if wait else 0)
            return [one, two]
        """
    )
    toolbox = await workshop.open({"python": "leaves.py:children", "isolate": True})

    file = workshop.folder / "tools" / "pids"

    assert not (await call(toolbox, "children", wait=False)).error
    done = pids_in(file)
    await gone(*done)

    waiting = asyncio.create_task(call(toolbox, "children", wait=True))
    await until(lambda: pids_in(file) not in (done, []))
    waiting.cancel()
    await gone(*pids_in(file))


async def test_a_worker_with_many_hanging_calls_is_replaced(workshop: Workshop) -> None:
    workshop.write(
        stuck="""
        import os, time

        def stuck() -> None: time.sleep(60)
        def pid() -> int: return os.getpid()
        """
    )
    toolbox = await workshop.open({"python": "stuck.py:stuck"}, {"python": "stuck.py:pid"})
    before = int((await call(toolbox, "pid")).text)

    stuck = [call(toolbox, "stuck", timeout=0.3) for _ in range(16)]
    assert all(answer.error for answer in await asyncio.gather(*stuck))
    after = int((await call(toolbox, "pid")).text)

    assert after != before
    await gone(before)


async def test_an_async_function_is_cancelled_at_its_timeout(workshop: Workshop) -> None:
    workshop.write(
        slow="""
        import asyncio

        ENDED = asyncio.Event()

        async def slow() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ENDED.set()

        async def ended() -> bool: return await ENDED.wait()
        """
    )
    toolbox = await workshop.open({"python": "slow.py:slow"}, {"python": "slow.py:ended"})

    assert (await call(toolbox, "slow", timeout=0.2)).error
    assert (await call(toolbox, "ended")).text == "true"


async def test_calls_run_side_by_side(workshop: Workshop) -> None:
    workshop.write(
        meet="""
        import asyncio, threading

        TWO = threading.Barrier(2)

        def threads() -> str:
            TWO.wait(20)
            return "met"

        ALL = {}

        async def tasks() -> str:
            event = ALL.setdefault("event", asyncio.Event())
            if ALL.setdefault("first", asyncio.current_task()) is not asyncio.current_task():
                event.set()
            await event.wait()
            return "met"
        """
    )
    toolbox = await workshop.open({"python": "meet.py:threads"}, {"python": "meet.py:tasks"})

    names = ["threads", "threads", "tasks", "tasks"]
    answers = await asyncio.gather(*(call(toolbox, name) for name in names))
    assert [answer.text for answer in answers] == ["met"] * 4


async def test_only_declared_functions_run_and_only_with_fitting_arguments(
    workshop: Workshop,
) -> None:
    workshop.write(
        strict="""
        from pathlib import Path
        from typing import Annotated, Literal

        from pydantic import Field

        def strict(count: Annotated[int, Field(ge=1, le=9)], way: Literal["up", "down"]) -> str:
            Path(__file__).with_name("called").write_text("1 .")
            return "ran"

        def hidden() -> str:
            return strict(1, "up")
        """
    )
    toolbox = await workshop.open({"python": "strict.py:strict"})
    values = [None, 0, 10, 1.5, "1", "", "up", [], {}, True, -1, "Down", "x" * 1_000]
    unfit: list[dict[str, Any]] = [{"count": a, "way": b} for a in values for b in values]
    unfit += [{"way": "up", "count": 1, f"more{number}": number} for number in range(200)]
    unfit += [{"count": number} for number in range(200)] + [{}, {"Count": 1, "way": "up"}]
    names = ["hidden", "Strict", "strict ", "", "__import__", "strict.py:strict", "os.system"]
    names += [f"{name}{number}" for name in names for number in range(30)]

    answers = [await call(toolbox, "strict", **arguments) for arguments in unfit]
    answers += [await call(toolbox, name, count=1, way="up") for name in names]

    assert len(unfit) >= 500
    assert len(names) >= 200
    assert all(answer.error for answer in answers)
    called = workshop.folder / "tools" / "called"
    assert not pids_in(called)
    assert (await call(toolbox, "strict", count=1, way="up")).text == "ran"
    assert pids_in(called) == [1]


async def test_arguments_have_the_types_of_the_signature(workshop: Workshop) -> None:
    workshop.write(
        typed="""
        from dataclasses import dataclass
        from datetime import date
        from typing import Literal

        from pydantic import BaseModel

        import helper

        class Point(BaseModel):
            lat: float
            lon: float

        @dataclass
        class Reading:
            day: date
            at: Point

        def typed(day: date, at: Point, unit: Literal["C", "F"] = "C") -> list[Reading]:
            assert isinstance(day, date) and isinstance(at, Point), (day, at)
            return [Reading(day, helper.north(at))]

        async def keyed(idempotency_key: str) -> str:
            return idempotency_key
        """,
        helper="def north(point): return point.model_copy(update={'lat': 90})\n",
    )
    toolbox = await workshop.open({"python": "typed.py:typed"}, {"python": "typed.py:keyed"})

    answer = await call(toolbox, "typed", day="2026-03-01", at={"lat": 1, "lon": 2})
    assert answer.text == '[{"day": "2026-03-01", "at": {"lat": 90, "lon": 2.0}}]'
    wrong = await call(toolbox, "typed", day="soon", at={"lat": 1, "lon": 2})
    assert wrong.error
    assert wrong.text.startswith("day: Input should be a valid date")
    unfit = await call(toolbox, "typed", day="2026-03-01", at={"lat": 1})
    assert "do not fit its schema" in unfit.text
    keyed = toolbox.tools["keyed"]
    assert keyed.tool.takes_key
    assert "properties" not in keyed.tool.parameters or not keyed.tool.parameters["properties"]
    assert (await call(toolbox, "keyed", key="t1.2.0")).text == "t1.2.0"


@pytest.mark.parametrize("isolate", [False, True])
async def test_an_edit_takes_effect_for_later_calls(workshop: Workshop, isolate: bool) -> None:
    entry = {"python": "edited.py:version", "isolate": isolate}
    source = """
        import os, time
        from pathlib import Path

        def version(wait_for: str = "") -> list[int]:
            while wait_for and not Path(wait_for).exists():
                time.sleep(0.01)
            return [{}, os.getpid()]
        """
    workshop.write(edited=source.format(1))
    old = await workshop.open(entry)
    flag = workshop.folder / "flag"
    running = asyncio.create_task(call(old, "version", wait_for=str(flag)))

    pids: list[int] = []
    for number in range(2, 6):
        workshop.write(edited=source.format(number))
        version, pid = json.loads((await call(await workshop.open(entry), "version")).text)
        assert version == number
        pids.append(pid)
    flag.touch()

    version, pid = json.loads((await running).text)
    assert version == 1
    await gone(pid, *pids[:-1])


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def fine(:", "tools/broken.py:1:10: error: does not compile: invalid syntax"),
        ("1 / 0", "tools/broken.py:1: error: cannot be imported: ZeroDivisionError"),
        ("import sys; sys.exit()", "tools/broken.py:1: error: cannot be imported: SystemExit"),
        ("import os; os._exit(7)", "broken.py cannot be imported: the worker process"),
        ("import jsn", "tools/broken.py:1: error: there is no module `jsn`; did you mean `json`?"),
        ("import other", "tools/other.py:2: error: cannot be imported: NameError"),
        ("def fina() -> None: ...", "broken.py has no function `fine`; did you mean `fina`?"),
        ("fine = 3", "`fine` in broken.py is not a function"),
        ("def fine(a, b: int): ...", "tools/broken.py:1:10: error: `fine` cannot be a tool: `a`"),
        ("def fine(*all: int): ...", "`*all: int` takes any number of arguments"),
        ("def fine(**all: int): ...", "`**all: int` takes arguments of any name"),
        ("def fine(a: int, /): ...", "`a: int` cannot be given by name"),
        ("def fine(a: Nope): ...", "its annotations cannot be read: NameError"),
        ("def fine(a: object()): ...", "tools/broken.py:1:10: error: `fine` cannot be a tool: `a`"),
    ],
)
async def test_a_problem_has_its_place_in_the_file(
    workshop: Workshop, source: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workshop.folder)
    if "Nope" in source:
        source = f"from __future__ import annotations\n{source}"
    workshop.write(broken=source, other="\nnope\n")
    entry = {"python": "broken.py:fine"}

    found = workshop.refusal(entry)
    found = found or "\n".join(each.render() for each in await workshop.problems(entry))

    assert problem in found


async def test_a_file_whose_import_hangs_is_refused(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    workshop.python = type(workshop.python)(import_timeout=1)
    workshop.write(hangs="import time; time.sleep(60)\ndef fine() -> None: ...")

    spec = workshop.spec({"python": "hangs.py:fine"})

    async with quick_loop():
        [problem] = await workshop.python.check(spec)

    assert problem.text == "importing hangs.py takes more than 1 s"
    assert workshop.python.open(spec.manifest.tools[0], spec).trouble
    await workshop.close()


async def test_a_file_with_the_name_of_a_library_is_refused(workshop: Workshop) -> None:
    workshop.write(json="def fine() -> None: ...")

    [problem] = await workshop.problems({"python": "json.py:fine"})
    assert problem.text == "json.py has the same name as another module, `json`"


ALONE = """
import asyncio, sys
from pathlib import Path
from typing import Any
from tests.integration.workshop import Workshop, call

async def main():
    workshop = Workshop(Path(sys.argv[1]))
    command = ["sh", "-c", "sleep 60 & echo $$$$ $! . > tools/more; wait"]
    toolbox = await workshop.open({"python": "stay.py:stay"}, {"command": command})
    await asyncio.gather(call(toolbox, "stay"), call(toolbox, "sh"))

asyncio.run(main())
"""


async def test_all_tools_end_with_a_daemon_that_is_killed(workshop: Workshop) -> None:
    workshop.write(
        stay="""
        import os, subprocess, time
        from pathlib import Path

        def stay() -> None:
            child = subprocess.Popen(["sleep", "60"])
            Path(__file__).with_name("pids").write_text(f"{os.getpid()} {child.pid} .")
            time.sleep(60)
        """
    )
    command = [sys.executable, "-c", ALONE, str(workshop.folder)]
    daemon = await asyncio.create_subprocess_exec(*command)
    files = [workshop.folder / "tools" / name for name in ("pids", "more")]
    await until(lambda: all(map(pids_in, files)))
    daemon.kill()
    await daemon.wait()

    for file in files:
        await gone(*pids_in(file))


AGENT = """
capabilities: [forecast]
tools:
  - {{python: "weather.py:forecast", isolate: {isolate}}}
  - {{command: [echo, "{{{{ text }}}}"]}}
model:
  name: mock/script
  script:
    - tool_calls:
        - {{name: forecast, arguments: {{city: Bonn}}}}
        - {{name: echo, arguments: {{text: hello}}}}
    - Done.
"""


@pytest.mark.parametrize("isolate", ["true", "false"])
async def test_an_agent_calls_its_tools_and_survives_a_bad_edit(
    team: Team, workshop: Workshop, isolate: str
) -> None:
    team.openers.update(python=workshop.python, command=workshop.commands)
    (team.folder / "tools").mkdir()
    weather, found, revisions = team.folder / "tools" / "weather.py", [], set[str]()
    for sky in ("rain", "broken", "sun"):
        fault = "1 / 0" if sky == "broken" else ""
        weather.write_text(f"def forecast(city: str) -> str: return '{sky} on ' + city\n{fault}")
        await team.run(forecaster=AGENT.format(isolate=isolate))
        revisions.add(team.runtime.agents["forecaster"].live.spec.revision)
        assert (await team.ask("forecast", "go", id=sky))["data"] == "Done."
        found += await answers(team, sky)

    assert found == ["rain on Bonn", "hello\n"] * 2 + ["sun on Bonn", "hello\n"]
    assert len(revisions) == 2


async def answers(team: Team, task: str) -> list[str]:
    """The answers of the tools of a task, in the order of the calls."""
    steps = [step for step in await journal(team, task) if step["event"] == "tool_answered"]
    return [step["text"] for step in sorted(steps, key=lambda step: step["index"])]
