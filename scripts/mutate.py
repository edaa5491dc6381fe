"""Mutates the pure modules with mutmut and prints how many mutants their unit tests kill.

    .venv/bin/python scripts/mutate.py                           # make mutate
    .venv/bin/python scripts/mutate.py 'agentd.queue.bands.*'    # one module

A mutant is a copy of a function with one small change. A test that fails with it kills it. The exit
code is 1 if less than MINIMUM percent are killed. `[tool.mutmut]` in pyproject.toml lists the
modules and their tests. `docs/mutation.md` explains the mutants that survive.

To see one of them: `.venv/bin/mutmut show agentd.queue.bands.x_route_of__mutmut_1`
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
MUTANTS = ROOT / "mutants"
MINIMUM = 85.0  # percent of the mutants that must be killed
# The exit codes that mutmut stores for a mutant. The negative ones are signals.
KILLED = frozenset({1, 3})  # a test failed; pytest itself failed
TIMED_OUT = frozenset({24, 36, 152, 255, -9, -24})
NOT_RUN = None  # another module was asked for


def main(names: Sequence[str]) -> int:
    """Returns 1 if too few mutants are killed, or if mutmut itself fails."""
    # From scratch: mutmut keeps the result of an unchanged function, even if its tests changed.
    shutil.rmtree(MUTANTS, ignore_errors=True)
    if code := run_mutmut(names):
        return code
    results = {module: Counter(codes.values()) for module, codes in stored_results()}
    if not any(map(count_of, results.values())):
        print("no mutant was made")
        return 1
    print(f"{'module':36} {'killed':>8} {'survived':>10} {'percent':>8}")
    for module, codes in results.items():
        if count_of(codes):
            print(line(module, codes))
    total = sum(results.values(), Counter[int | None]())
    print(line("all", total))
    for _, codes in stored_results():
        for name, code in codes.items():
            if code is not NOT_RUN and code not in KILLED | TIMED_OUT:
                print(f"survived: {name}", flush=True)
    return int(percent(total) < MINIMUM)


def run_mutmut(names: Sequence[str]) -> int:
    """Runs mutmut. Its output is printed only if it fails, and without its many progress lines,
    which begin with a character of a spinner."""
    command = [str(Path(sys.executable).with_name("mutmut")), "run", *names]
    with tempfile.TemporaryFile("w+") as output:
        code = subprocess.call(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        if code:
            output.seek(0)
            print(*(text for text in output if not "⠀" <= text.strip()[:1] <= "⣿"), sep="")
    return code


def stored_results() -> Iterator[tuple[str, Mapping[str, int | None]]]:
    """Each module with the exit code of each of its mutants, as mutmut stores them."""
    for file in sorted(MUTANTS.rglob("*.py.meta")):
        module = ".".join(file.relative_to(MUTANTS).parts).removesuffix(".py.meta")
        yield module, json.loads(file.read_text())["exit_code_by_key"]


def count_of(codes: Counter[int | None]) -> int:
    """How many mutants were run."""
    return codes.total() - codes[NOT_RUN]


def killed_of(codes: Counter[int | None]) -> int:
    """How many mutants were killed. A mutant that runs too long is killed, too."""
    return sum(codes[code] for code in KILLED | TIMED_OUT)


def percent(codes: Counter[int | None]) -> float:
    """How many percent of the mutants were killed."""
    return 100 * killed_of(codes) / count_of(codes)


def line(module: str, codes: Counter[int | None]) -> str:
    """A line of the table."""
    killed, count = killed_of(codes), count_of(codes)
    return f"{module:36} {killed:8} {count - killed:10} {percent(codes):8.1f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
