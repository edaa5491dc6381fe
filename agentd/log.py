"""The log: one record a line, as text or JSON, without secrets, written by a thread."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import select
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, TextIO

from agentd.printable import printable
from agentd.settings import LogFormat

_WAITING_LINES = 10_000
_LINES_A_WRITE = 500
_FLUSH_SECONDS = 1.0
_LONGEST_TEXT = 8_000  # characters

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SHORT_LEVELS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}

# The last word of a field's name: `max_tokens` is a number, not a secret.
_SECRET_NAME = re.compile(r"(api[_-]?key|token|secret|password|authorization)$", re.IGNORECASE)
# `kept` is the name in front of a secret. Texts such as "token: x" and "tokens=5" are common and
# harmless, so a token needs `=` or a quote before its colon.
_SECRET = re.compile(
    r"""(?<=://)[^\s/@]+(?=@)                                       # a URL's user and password
    | (?P<kept>
        (?:api[_-]?key|secret|password|authorization)["']?\s*[:=]\s*["']?(?:bearer\s|basic\s)?
      | token["']?(?:=|":)\s*["']?
      | \bbearer\s(?=\S{16})
    )[^\s"',;&)}\]]{4,}
    | \b(?:sk|pk|gsk|xai|hf|ghp)[-_][\w-]{16,}                      # providers' keys
    | \bAIza[\w-]{30,}
    | \bS[UAOCNX][A-Z2-7]{56}\b                                     # a NATS seed
    | (?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]+                         # a JWT
    """,
    re.VERBOSE | re.IGNORECASE,
)


def configure(
    log_format: LogFormat = "text", *, stream: TextIO | None = None, level: str = "INFO"
) -> LineHandler:
    """Writes the records of all loggers to `stream` (it needs a descriptor; stderr by default).

    `level` applies to agentd. Libraries log from WARNING on. A second call replaces the first.
    """
    stream = stream or sys.stderr  # None if the process was started without one
    # A copy: the log must be writable as long as the handler lives, even if the stream is closed.
    descriptor = os.dup(stream.fileno()) if stream else os.open(os.devnull, os.O_WRONLY)
    colour = os.isatty(descriptor) and not os.environ.get("NO_COLOR")
    handler = LineHandler(descriptor)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter(colour=colour))
    # What no line shows need not be found out for each record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    for previous in [each for each in root.handlers if isinstance(each, LineHandler)]:
        root.removeHandler(previous)
        previous.close()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("agentd").setLevel(level)
    logging.captureWarnings(True)
    return handler


def redact(text: str) -> str:
    """`text` with what looks like a key, a token or a password replaced by `***`."""
    return _SECRET.sub(lambda found: f"{found['kept'] or ''}***", text)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


class TextFormatter(logging.Formatter):
    """`12:30:45 INFO  analyst message`; of the fields in `extra` only `agent` is shown, and the ids
    of a span."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = f"{_SHORT_LEVELS.get(record.levelname, record.levelname):5}"
        agent = printable(str(getattr(record, "agent", "")))
        text = record.getMessage()
        if trace := getattr(record, "trace_id", None):
            text += f" trace_id={trace} span_id={getattr(record, 'span_id', '')}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if self._colour:
            clock = _painted(clock, "2")
            level = _painted(level, _COLOURS.get(record.levelname, ""))
            agent = _painted(agent, "36")
        # A line break must not look like the beginning of another record.
        text = printable(_safe(text), lines=True).replace("\n", "\n  ")
        return " ".join(part for part in (clock, level, agent, text) if part)


class JsonFormatter(logging.Formatter):
    """One JSON object: `ts` (RFC 3339, UTC), `level`, `logger`, `message`, and all of `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": _safe(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _OWN_FIELDS:
                # setdefault: a field named `level` must not replace the level of the record.
                line.setdefault(name, _plain(value, name))
        if record.exc_info:
            line["exception"] = _safe(self.formatException(record.exc_info))
        return json.dumps(line)


class LineHandler(logging.Handler):
    """Writes lines to a descriptor, in its own thread.

    A slow terminal or a full pipe would otherwise stop the event loop, and with it every agent. Up
    to 10,000 lines wait in memory; further ones are dropped and counted. After the reader has
    closed the pipe, records are discarded without an error.
    """

    def __init__(self, descriptor: int) -> None:
        """Takes over the descriptor, and closes it at the end."""
        super().__init__()
        self._descriptor = descriptor
        self._waiting: SimpleQueue[bytes | Event | None] = SimpleQueue()
        self._dropped = 0
        self._reader_is_gone = False
        Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._reader_is_gone:
            return
        if self._waiting.qsize() >= _WAITING_LINES:
            self._dropped += 1
            return
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a bug in a log call must not fail a task
            place = f"{record.pathname}:{record.lineno}"
            line = self.format(_note(f"{place}: bad log call: {type(error).__name__}"))
        self._waiting.put(f"{line}\n".encode(errors="backslashreplace"))

    def flush(self) -> None:
        """Waits until the records so far are written, for one second at most."""
        written = Event()
        self._waiting.put(written)
        written.wait(_FLUSH_SECONDS)

    def close(self) -> None:
        """Writes the remaining records, as `flush` does, and ends the thread."""
        self.flush()
        self._waiting.put(None)
        super().close()

    def _write_all(self) -> None:
        lines: list[bytes] = []
        while True:
            item = self._waiting.get()
            if isinstance(item, bytes):
                lines.append(item)
                # All that wait are written at once: after each write, this thread may wait for
                # some milliseconds until the event loop lets it run again.
                if not self._waiting.empty() and len(lines) < _LINES_A_WRITE:
                    continue
            if lines and not self._reader_is_gone:
                self._write(b"".join(lines))
                self._report_dropped()
            lines.clear()
            if item is None:
                break
            if isinstance(item, Event):
                item.set()
        os.close(self._descriptor)

    def _write(self, line: bytes) -> None:
        # Not through the stream: this thread would hold the lock of the stream while the pipe is
        # full, and Python aborts at exit when it cannot get that lock.
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:
                # Another process may have made the shared terminal or pipe non-blocking.
                select.select([], [self._descriptor], [])
            except OSError:
                self._reader_is_gone = True
                return

    def _report_dropped(self) -> None:
        # Once, after all waiting lines: until then more lines may be dropped.
        if self._dropped and self._waiting.empty():
            dropped, self._dropped = self._dropped, 0
            note = _note(f"{dropped} log records were dropped: the reader of the log is too slow")
            self._write(f"{self.format(note)}\n".encode())


def _note(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"name": __name__, "levelname": "WARNING", "msg": text})


def _plain(value: Any, name: str = "") -> object:
    """The value of a field in the types of JSON, without secrets."""
    match value:
        case str():
            return "***" if is_secret_name(name) else _safe(value)
        case bool() | int() | None:
            return value
        case float():
            # `json.dumps` writes NaN and infinity, which are not JSON.
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(key): _plain(each, str(key)) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(each, name) for each in value]
        case _:
            return _safe(str(value))


def _safe(text: str) -> str:
    """`text` without secrets and not too long."""
    # Cut first: the pattern for secrets is slow on megabytes.
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}… ({len(text):,} characters)"
    return redact(text)


def _painted(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if text and colour else text
