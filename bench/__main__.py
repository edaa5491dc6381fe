"""`python -m bench`: runs the measurements and reports them."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

from agentd.errors import AgentdError
from bench import (
    audit,
    doors,
    first_chunk,
    idle,
    indexing,
    joining,
    memory,
    neighbours,
    parallel,
    relay,
    reload,
    report,
    sharing,
    startup,
    throughput,
    tool_calls,
)
from bench.figures import Section

Measurement = Callable[[], Awaitable[list[Section]]]

FULL: Mapping[str, Measurement] = {
    "startup": lambda: startup.measure(repeats=7),
    "memory": lambda: memory.measure(repeats=3),
    "reload": lambda: reload.measure(repeats=3, edits=50),
    "joining": lambda: joining.measure(repeats=3, agents=30),
    "first-chunk": lambda: first_chunk.measure(repeats=3, asks=100),
    "throughput": lambda: throughput.measure(repeats=3, seconds=2.0, patience=10.0),
    "neighbours": lambda: neighbours.measure(repeats=7, seconds=3.0),
    "parallel": lambda: parallel.measure(repeats=3),
    "sharing": lambda: sharing.measure(repeats=5),
    "tool-calls": lambda: tool_calls.measure(repeats=3, asks=100),
    "relay": lambda: relay.measure(repeats=5, seconds=5.0),
    "doors": lambda: doors.measure(repeats=5, seconds=3.0, asks=100),
    "idle": lambda: idle.measure(connections=10_000, asks=100),
    "audit": lambda: audit.measure(repeats=3),
    "index": lambda: indexing.measure(messages=1_000_000, repeats=2),
}
QUICK: Mapping[str, Measurement] = {
    "startup": lambda: startup.measure(repeats=3),
    "memory": lambda: memory.measure(repeats=1),
    "reload": lambda: reload.measure(repeats=1, edits=20),
    "joining": lambda: joining.measure(repeats=1, agents=10),
    "first-chunk": lambda: first_chunk.measure(repeats=1, asks=20),
    "throughput": lambda: throughput.measure(repeats=1, seconds=0.7, patience=0.0),
    "neighbours": lambda: neighbours.measure(repeats=1, seconds=1.0),
    "parallel": lambda: parallel.measure(repeats=1),
    "sharing": lambda: sharing.measure(repeats=1),
    "tool-calls": lambda: tool_calls.measure(repeats=1, asks=20),
    "relay": lambda: relay.measure(repeats=1, seconds=2.0),
    "doors": lambda: doors.measure(repeats=1, seconds=2.0, asks=20),
    "idle": lambda: idle.measure(connections=2_000, asks=20),
    "audit": lambda: audit.measure(repeats=1),
    "index": lambda: indexing.measure(messages=50_000, repeats=1),
}


async def measure(names: list[str], measurements: Mapping[str, Measurement]) -> bool:
    """Runs these measurements one after the other. Returns whether none of them failed."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _cancel, asyncio.current_task())
    started = time.monotonic()
    conditions: dict[str, object] = {
        **report.machine(),
        "load average before": report.load_average(),
    }
    print("# agentd's benchmarks\n")
    print(" · ".join(f"{name} {value}" for name, value in conditions.items()))
    sections: list[Section] = []
    failed = False
    for name in names:
        try:
            measured = await measurements[name]()
        except (RuntimeError, TimeoutError, AgentdError) as error:
            # The other measurements still run.
            why = str(error) or type(error).__name__
            measured = [Section(title=name, figures=(), notes=[f"FAILED: {why}"])]
            failed = True
        report.show(measured)
        sections += measured
    conditions["load average after"] = report.load_average()
    conditions["seconds"] = round(time.monotonic() - started)
    report.show_aims(sections)
    path = report.save(sections, conditions)
    loads = conditions["load average after"]
    print(f"\n{conditions['seconds']} s, load average {loads}; {path.relative_to(report.ROOT)}")
    return not failed


def _cancel(task: asyncio.Task[None] | None) -> None:
    """Handles SIGTERM: the cancellation ends all processes that were started."""
    if task:
        task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures agentd.")
    parser.add_argument("--quick", action="store_true", help="a few minutes, rough figures")
    parser.add_argument(
        "--only", action="append", choices=list(FULL), metavar="NAME", help=", ".join(FULL)
    )
    arguments = parser.parse_args()
    measurements = QUICK if arguments.quick else FULL
    try:
        done = asyncio.run(measure(arguments.only or list(measurements), measurements))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
