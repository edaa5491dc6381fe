"""Draws docs/images/agentd.svg, the picture in README.md, from a real run of the example.

    .venv/bin/python scripts/picture.py

One pseudo-terminal runs `agentd up`. Another one runs the commands of a user, who asks an agent,
edits its prompt, and asks again.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "agentd.svg"
COLUMNS = 114
GAP = 12  # between the two windows
PATIENCE = 30.0  # seconds

ASK = 'agentd ask analysis "The kettle is lovely, but it came late."'
GOOD_EDIT = "sed -i 's/^You are an analyst/You are a kind analyst/' prompts/analyst.md"
BAD_EDIT = "sed -i 's/_house.md/_huose.md/' prompts/analyst.md"

_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


class Terminal:
    """A command in a pseudo-terminal. `output` is what it has written so far."""

    def __init__(self, command: str, folder: Path, environ: Mapping[str, str]) -> None:
        self.output = f"\x1b[32m$\x1b[0m \x1b[1m{command}\x1b[0m\n"
        self._ours, theirs = pty.openpty()
        ioctl(theirs, TIOCSWINSZ, pack("HHHH", 50, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            cwd=folder,
            env=environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def until(self, pattern: str) -> None:
        """Reads until the output contains `pattern`.

        Raises:
            TimeoutError: it does not contain it within `PATIENCE` seconds.
        """
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.output, re.DOTALL):
            if time.monotonic() > deadline or not self._read():
                raise TimeoutError(f"no {pattern!r} in:\n{self.output}")

    def ended(self) -> str:
        """Waits until the command ends, and returns all its output."""
        while self._read():
            pass
        self._process.wait()
        os.close(self._ours)
        return self.output

    def stop(self) -> None:
        """Sends Ctrl-C, and reads the rest of the output."""
        self._process.send_signal(signal.SIGINT)
        self.ended()

    def _read(self) -> bool:
        """Waits up to a second for more output. Returns False at the end of the output."""
        if not select.select([self._ours], [], [], 1)[0]:
            return True
        try:
            self.output += os.read(self._ours, 65_536).decode().replace("\r\n", "\n")
        except OSError:  # Linux reports the end of a pseudo-terminal so
            return False
        return True


@contextmanager
def project() -> Generator[tuple[Path, dict[str, str]]]:
    """A copy of the example, and environment variables without the settings of agentd and NATS."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("manifests", "prompts"):
            shutil.copytree(ROOT / name, Path(scratch) / name)
        ambient = ("AGENTD_", "NATS_", "NO_COLOR")
        environ = {k: v for k, v in os.environ.items() if not k.startswith(ambient)}
        yield (
            Path(scratch),
            environ
            | {
                "PATH": f"{ROOT}/.venv/bin:{environ['PATH']}",
                "TERM": "xterm-256color",
                "NATS_CONFIG_HOME": scratch,
            },
        )


def play() -> tuple[str, str]:
    """The final output of `agentd up`, and that of the user's commands."""
    with project() as place:
        up = Terminal("agentd up manifests/", *place)
        try:
            up.until("agents ready")
            shown = Terminal(ASK, *place).ended()
            shown += Terminal(GOOD_EDIT, *place).ended()
            up.until("now on revision")
            shown += Terminal(ASK, *place).ended()
            shown += Terminal(BAD_EDIT, *place).ended()
            up.until("did you mean")
            shown += Terminal(ASK, *place).ended()
            up.until("(answered.*){3}\n")
            return up.output, shown
        finally:
            up.stop()


def window(title: str, output: str) -> str:
    """A terminal window as an SVG that loads no fonts or images from elsewhere."""
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere)
        console.print(Text.from_ansi(output.rstrip("\n")))
    svg = console.export_svg(title=title)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", _FONT)


def stacked(*windows: str) -> str:
    """One SVG that shows several, one below the other."""
    top, width, placed = 0.0, "0", list[str]()
    for svg in windows:
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
        assert size, "rich writes the size of a picture into its viewBox"
        width, height = size[1], float(size[2])
        placed.append(svg.replace("<svg ", f'<svg y="{top}" width="{width}" height="{height}" ', 1))
        top += height + GAP
    head = f'<svg viewBox="0 0 {width} {top - GAP}" xmlns="http://www.w3.org/2000/svg">'
    return "\n".join([head, *placed, "</svg>", ""])


def main() -> None:
    """Runs the commands, draws the picture, and prints its path."""
    daemon, user = play()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(stacked(window("one terminal", daemon), window("another", user)))
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
