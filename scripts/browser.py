"""Finds the Chromium that the tests of the page drive; installs the distribution's where it may."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = (
    "apt-get",
    "install",
    "--yes",
    "--no-install-recommends",
    "chromium",
    "fonts-dejavu-core",
)
MISSING = (
    "the tests of the page need a Chromium, and there is none: install the package `chromium` of "
    "your distribution (Debian: apt-get install chromium), or name one in CHROMIUM"
)


def found() -> str | None:
    """The path of a Chromium: that of CHROMIUM, or the first one in PATH."""
    named = os.environ.get("CHROMIUM")
    candidates = (named,) if named else NAMES
    return next((path for name in candidates if (path := shutil.which(name))), None)


def main() -> int:
    """Installs a Chromium if there is none; returns the exit code."""
    if found():
        return 0
    if os.environ.get("CHROMIUM") or os.geteuid() != 0 or not shutil.which("apt-get"):
        print(MISSING, file=sys.stderr)
        return 1
    print("installing chromium, for the tests of the page")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (("apt-get", "update", "--quiet"), INSTALL):
        ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if ran.returncode:
            print(f"{MISSING}\n{' '.join(command)}: {ran.stderr.strip()[-500:]}", file=sys.stderr)
            return 1
    return 0 if found() else 1


if __name__ == "__main__":
    sys.exit(main())
