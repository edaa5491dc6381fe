"""Runs the build stage of the Dockerfile without Docker, from a clean copy into a clean venv.

    python docker/check.py

It takes up to a minute and needs python3.13. COPY obeys .dockerignore. RUN commands run unchanged,
except that /opt/agentd is a temporary folder. At the end, the agentd in that folder must start.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = "/opt/agentd"


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions of all stages, continued lines joined: `("COPY", "agentd agentd")`."""
    text = re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE).replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(name, " ".join(rest.split())) for name, rest in lines]


def ignored(folder: str, names: list[str]) -> set[str]:
    """The files below an included folder that .dockerignore excludes."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    return {name for name in names if any(fnmatch(name, pattern) for pattern in patterns)}


def copy(sources: list[str], destination: Path) -> None:
    """Copies files and the contents of folders, as COPY does."""
    for source in sources:
        path = ROOT / source
        if path.is_dir():
            shutil.copytree(path, destination, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(path, destination)


def build(scratch: Path) -> Path:
    """Runs the first stage. Returns the venv that it has made."""
    source, target = scratch / "src", scratch / "agentd"
    source.mkdir()
    subprocess.run(["python3.13", "-m", "venv", scratch / "python"], check=True)
    environ = os.environ | {"PATH": f"{scratch}/python/bin:{os.environ['PATH']}"}
    environ.pop("VIRTUAL_ENV", None)
    stage = instructions(
        (ROOT / "Dockerfile").read_text().partition("\nFROM python:3.13-slim\n")[0]
    )
    for name, rest in stage:
        if name == "COPY":
            *sources, destination = rest.split()
            copy(sources, source / destination)
        elif name == "RUN":
            print("RUN", rest, flush=True)
            command = rest.replace(TARGET, str(target))
            subprocess.run(command, shell=True, check=True, cwd=source, env=environ)
    return target


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        venv = build(Path(scratch))
        for command in (["--help"], ["validate", "manifests/"]):
            subprocess.run([venv / "bin" / "agentd", *command], check=True, cwd=ROOT)
        size = sum(file.lstat().st_size for file in venv.rglob("*") if file.is_file())
        print(f"{size / 1e6:.0f} MB in {TARGET}")


if __name__ == "__main__":
    sys.exit(main())
