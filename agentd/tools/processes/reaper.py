"""Ends process groups whose parent is gone, however it went: `python -I -S reaper.py`.

The parent tells it on its standard input `+123` when it has started a group and `-123` when that
one has ended. The kernel closes the pipe with the parent: what is then left is killed.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Returns when the parent is gone, and its groups with it."""
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
