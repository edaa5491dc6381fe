"""Checks the alerts and the dashboard with Prometheus' own tool, and plays the tests of the alerts.

Where the tool is not installed, it is taken from Debian's package `prometheus`, without installing
the package, which would start a server.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEPLOY = Path(__file__).parents[1] / "deploy"
KEPT = Path(sys.prefix) / "bin" / "promtool"
MISSING = (
    "the alert rules are not checked: there is no promtool. Install the package `prometheus` of "
    "your distribution, or name a promtool in PROMTOOL"
)


def found() -> str | None:
    """The path of a promtool: that of PROMTOOL, the first one in PATH, or the one that is kept."""
    named = os.environ.get("PROMTOOL")
    candidates = (named,) if named else ("promtool", str(KEPT))
    return next((path for name in candidates if (path := shutil.which(name))), None)


def fetch() -> None:
    """Takes promtool from the package, if there are Debian's tools."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return
    with tempfile.TemporaryDirectory() as folder:
        for command in (["apt-get", "update"], ["apt-get", "download", "prometheus"]):
            subprocess.run(command, cwd=folder, capture_output=True, check=False)
        for package in Path(folder).glob("prometheus_*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
            shutil.copy(Path(folder) / "usr" / "bin" / "promtool", KEPT)


def main() -> int:
    """Returns the exit code: 0 also where the tool cannot be had, which is said."""
    if not found():
        fetch()
    tool = found()
    if tool is None:
        print(MISSING, file=sys.stderr)
        return 0
    with tempfile.NamedTemporaryFile("w", suffix=".json") as queries:
        json.dump(as_rules(), queries)
        queries.flush()
        for check in (
            ["check", "rules", "alerts.yml", queries.name],
            ["test", "rules", "alerts.test.yml"],
        ):
            done = subprocess.run([tool, *check], cwd=DEPLOY, check=False)
            if done.returncode:
                return done.returncode
    return 0


def as_rules() -> dict[str, object]:
    """The queries of the dashboard in the form of rules, which promtool can check."""
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    rules = [
        {
            "record": f"dashboard:query{number}",
            "expr": query.replace("$job", ".*").replace("$__rate_interval", "5m"),
        }
        for number, query in enumerate(queries)
    ]
    return {"groups": [{"name": "dashboard", "rules": rules}]}


if __name__ == "__main__":
    sys.exit(main())
