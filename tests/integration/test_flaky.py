"""The scripts that slow the machine down to find flaky tests, on tests of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from scripts.flaky import failures, slowness

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Uses the CPU for a second of wall time and prints the share that it got.
SPIN = """\
import time
end = time.monotonic() + 1
while time.monotonic() < end: pass
print(time.process_time())
"""


def throttled(*command: str, cpu: float = 0.2) -> list[str]:
    return [sys.executable, str(SCRIPTS / "throttle.py"), str(cpu), *command]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_throttled_command_gets_a_fraction_of_the_cpu() -> None:
    command = throttled(sys.executable, "-c", SPIN)
    used = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert used < 0.5


def test_a_daemon_that_leaves_its_parent_is_throttled_too(tmp_path: Path) -> None:
    file = tmp_path / "used"
    # The outer shell ends while the daemon, in a session of its own, still runs.
    daemon = f"setsid {sys.executable} -c '{SPIN}' > {file} & sleep 2"
    subprocess.run(throttled("sh", "-c", f"({daemon}) & sleep 2.5"), check=True)

    assert float(file.read_text()) < 0.5


def test_the_exit_code_is_that_of_the_command_and_what_it_leaves_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {pid}; exit 7"

    assert subprocess.run(throttled("sh", "-c", script), check=False).returncode == 7
    assert not is_running(int(pid.read_text()))


def test_a_process_that_a_test_has_stopped_stays_stopped(tmp_path: Path) -> None:
    file = tmp_path / "states"
    script = """\
        sleep 60 & pid=$!
        kill -STOP $pid
        for i in $(seq 40); do grep State: /proc/$pid/status >> $0; sleep 0.01; done
        kill -CONT $pid; kill $pid; wait $pid
    """
    done = subprocess.run(throttled("sh", "-c", script, str(file), cpu=0.5), check=False)

    assert done.returncode == 128 + signal.SIGTERM
    first, *states = file.read_text().splitlines()
    assert set(states) == {"State:\tT (stopped)"}, first
    assert len(states) == 39


def test_every_test_that_failed_in_any_run_is_listed(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(
        "from pathlib import Path\n"
        "def test_good(): pass\n"
        "def test_flaky(tmp_path_factory):\n"
        f"    runs = Path({str(tmp_path)!r}, 'runs')\n"
        "    runs.write_text(runs.read_text() + '.' if runs.exists() else '.')\n"
        "    assert len(runs.read_text()) != 2\n"
    )
    command = [sys.executable, SCRIPTS / "flaky.py", "--busy", "1", "--times", "3", tmp_path]
    # Without plugins pytest starts in a third of the time.
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)

    assert done.returncode == 1
    assert "run 1 of 3: passed" in done.stdout
    assert "run 2 of 3: 1 failed" in done.stdout
    assert "run 3 of 3: passed" in done.stdout
    assert "1 of 3" in done.stdout.splitlines()[-1]
    assert done.stdout.endswith("test_two::test_flaky\n")


def test_slowness_is_the_share_of_the_cpu_that_the_tests_do_not_get() -> None:
    cores = os.cpu_count() or 1

    assert slowness(0.2, 0) == 5
    assert slowness(1, 3 * cores) == 4


def test_tests_that_failed_are_read_from_the_report() -> None:
    report = (
        '<testsuites><testsuite><testcase classname="a.b" name="good"/>'
        '<testcase classname="a.b" name="bad"><failure message="no"/></testcase>'
        '<testcase classname="a.b" name="ugly"><error message="no"/></testcase>'
        "</testsuite></testsuites>"
    )

    assert failures(report) == ["a.b::bad", "a.b::ugly"]
