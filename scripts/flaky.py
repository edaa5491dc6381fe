"""Runs tests on a slow or busy machine, several times, and lists the tests that failed.

    .venv/bin/python scripts/flaky.py --cpu 0.2 tests/integration        # make test-slow
    .venv/bin/python scripts/flaky.py --busy 8 --times 20 tests/unit     # make test-load

All other arguments go to pytest. The output of a run is shown only if the run failed. Tests learn
from the variable TEST_SLOWNESS how much slower than usual they may be; see `tests/waiting.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
THROTTLE = Path(__file__).with_name("throttle.py")
# It ends by itself when its parent was killed.
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(1_000_000))"


def main() -> int:
    """Returns 1 if a run failed."""
    parser = argparse.ArgumentParser(description="Run tests on a slow or busy machine.")
    parser.add_argument("--cpu", type=float, default=1.0, help="the fraction of the CPU [1]")
    parser.add_argument("--busy", type=int, default=0, help="busy processes beside the tests [0]")
    parser.add_argument("--times", type=int, default=1, help="runs [1]")
    arguments, for_pytest = parser.parse_known_args()
    failed, bad_runs = Counter[str](), 0
    with busy_processes(arguments.busy):
        for number in range(1, arguments.times + 1):
            started = time.monotonic()
            code, names = run(for_pytest, arguments.cpu, slowness(arguments.cpu, arguments.busy))
            bad_runs += code != 0
            failed.update(names)
            result = f"{len(names)} failed" if names else f"exit code {code}" if code else "passed"
            seconds = time.monotonic() - started
            print(f"run {number} of {arguments.times}: {result} in {seconds:.0f} s", flush=True)
    for name, count in failed.most_common():
        print(f"{count:4} of {arguments.times}  {name}")
    return int(bad_runs > 0)


def slowness(cpu: float, busy: int) -> float:
    """How many times slower than alone a test may be."""
    return (1 + busy / (os.cpu_count() or 1)) / cpu


@contextlib.contextmanager
def busy_processes(count: int) -> Generator[None]:
    """Processes that use as much of the CPU as they get, until the block ends."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def run(for_pytest: Sequence[str], cpu: float, slowness: float) -> tuple[int, list[str]]:
    """Runs the tests once. Returns the exit code and the names of the tests that failed."""
    with tempfile.TemporaryDirectory(prefix="agentd-flaky-") as folder:
        report, output = Path(folder, "report.xml"), Path(folder, "output")
        command = [sys.executable, "-m", "pytest", *for_pytest, f"--junitxml={report}"]
        if cpu < 1:
            command = [sys.executable, str(THROTTLE), str(cpu), *command]
        environ = os.environ | {"TEST_SLOWNESS": f"{slowness:g}"}
        with output.open("wb") as file:
            code = subprocess.call(
                command, cwd=ROOT, env=environ, stdout=file, stderr=subprocess.STDOUT
            )
        if code:
            print(output.read_text(errors="replace"))
        return code, failures(report.read_text()) if report.exists() else []


def failures(report: str) -> list[str]:
    """The tests that failed, from pytest's JUnit XML: `tests.unit.test_log::test_a_name`."""
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in ElementTree.fromstring(report).iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]


if __name__ == "__main__":
    sys.exit(main())
