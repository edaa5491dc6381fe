"""`python -m agentd.record.audit.verifier EXPORT.jsonl --key KEY`: verifies an export.

Give the key that you were given elsewhere: a forger of the file writes a key of its own into it.
"""

from __future__ import annotations

import argparse
import sys

from agentd.record.audit.verifier.export import check
from agentd.record.audit.verifier.judge import show
from agentd.record.audit.verifier.note import Key


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", help="the export, made by `agentd audit export`")
    parser.add_argument("--key", action="append", default=[], help="the public key of the audit")
    parser.add_argument("--part", action="store_true", help="the file has a part of the messages")
    arguments = parser.parse_args()
    try:
        keys = [Key.parse(key) for key in arguments.key]
        with open(arguments.file, "rb") as lines:
            report = check(lines, keys, part=arguments.part)
    except (OSError, ValueError) as error:
        parser.exit(2, f"{error}\n")
    show(report, lambda line: sys.stdout.write(line + "\n"))
    return 1 if report.findings else 0


def run() -> None:
    """Ends the process with the exit code of `main`; the entry of the program."""
    sys.exit(main())


if __name__ == "__main__":
    run()
