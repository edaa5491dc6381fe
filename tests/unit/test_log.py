"""A record is one line that a program can parse, a person can read and nobody can abuse."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd import log as log_module
from agentd.log import LineHandler, configure, redact
from agentd.settings import LogFormat

log = logging.getLogger("agentd.test")
Written = Callable[[], str]


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("agentd")
    before = root.level, ours.level
    yield
    root.level, ours.level = before
    logging.captureWarnings(False)
    for handler in [each for each in root.handlers if isinstance(each, LineHandler)]:
        root.removeHandler(handler)
        handler.close()


@pytest.fixture
def written(
    request: pytest.FixtureRequest, tmp_path: Path, logging_restored: None
) -> Iterator[Written]:
    """Logging in the format that the test asks for; each call gives what was written since."""
    path = tmp_path / "log"
    with path.open("w") as stream, path.open() as lines:
        handler = configure(request.param, stream=stream)

        def read() -> str:
            handler.flush()
            return lines.read()

        yield read


def in_format(name: LogFormat) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("written", [name], indirect=True)


def one(text: str) -> dict[str, Any]:
    [line] = text.splitlines()
    return json.loads(line)


@in_format("text")
def test_text_is_clock_level_agent_and_message(written: Written) -> None:
    log.info("task %s done in %d ms", "3f2a", 12, extra={"agent": "analyst", "task": "3f2a9c"})
    log.warning("no agent in this one")

    first, second = written().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO  analyst task 3f2a done in 12 ms", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARN  no agent in this one", second)


@in_format("text")
def test_content_cannot_forge_a_record_or_control_the_terminal(written: Written) -> None:
    log.info("said %s", "hi\n12:00:00 ERROR fake\r\x1b[2J\u2028\x9b31m")

    lines = written().splitlines()
    assert [line.startswith("  ") for line in lines] == [False, True]
    assert lines[1] == "  12:00:00 ERROR fake\\r\\x1b[2J\\u2028\\x9b31m"


@in_format("text")
def test_text_names_the_span_of_a_record(written: Written) -> None:
    log.info("done", extra={"trace_id": "4bf9", "span_id": "00f0"})

    assert written().endswith("done trace_id=4bf9 span_id=00f0\n")


@in_format("text")
def test_text_shows_the_traceback_indented(written: Written) -> None:
    try:
        raise LookupError("not there")
    except LookupError:
        log.exception("a bug")

    head, *rest = written().splitlines()
    assert head.endswith("ERROR a bug")
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[-1] == "  LookupError: not there"


@in_format("json")
def test_json_is_one_object_a_line_with_all_fields(written: Written) -> None:
    log.info("done\nin two lines", extra={"agent": "analyst", "latency": 12.5, "tags": ("a", "b")})

    line = one(written())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {
        "level": "INFO",
        "logger": "agentd.test",
        "message": "done\nin two lines",
        "agent": "analyst",
        "latency": 12.5,
        "tags": ["a", "b"],
    }


@in_format("json")
def test_json_carries_the_exception(written: Written) -> None:
    try:
        raise LookupError("not there")
    except LookupError:
        log.exception("a bug")

    assert one(written())["exception"].endswith("LookupError: not there")


@in_format("json")
def test_a_field_cannot_replace_one_of_the_record(written: Written) -> None:
    log.info("true", extra={"level": "FAKE", "ts": "never"})

    line = one(written())
    assert line["level"] == "INFO"
    assert line["ts"] != "never"


@in_format("json")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=8,
    ),
)
def test_any_record_is_one_line_of_strict_json(written: Written, text: str, field: object) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    log.info("%s", text, extra={"field": field})

    [line] = written().splitlines()
    assert json.loads(line, parse_constant=refuse)["message"] == redact(text)


def test_a_bad_log_call_is_logged_and_raises_nothing(
    tmp_path: Path, logging_restored: None
) -> None:
    fields = {"msg": "%d tasks", "args": ("three",), "pathname": "agent.py", "lineno": 7}
    with (tmp_path / "log").open("w") as stream:
        handler = configure("json", stream=stream)
    handler.handle(logging.makeLogRecord(fields))
    handler.flush()

    message = one((tmp_path / "log").read_text())["message"]
    assert message == "agent.py:7: bad log call: TypeError"


@in_format("json")
def test_a_huge_message_is_cut(written: Written) -> None:
    log.info("x" * 1_000_000)

    assert one(written())["message"].endswith("… (1,000,000 characters)")


@in_format("text")
def test_libraries_log_from_warning_on(written: Written) -> None:
    logging.getLogger("somelibrary").info("chatter")
    logging.getLogger("somelibrary").warning("trouble")

    [line] = written().splitlines()
    assert line.endswith("WARN  trouble")


SECRETS = [
    ("Authorization: Bearer hunter2-hunter2", "hunter2"),
    ("nats://user:hunter2@10.0.0.1:4222", "hunter2"),
    ("nats://u:p@h1,nats://u:p@h2", ":p"),
    ("nats://hunter2token@10.0.0.1:4222", "hunter2"),
    ("OPENAI_API_KEY=hunter2hunter2", "hunter2"),
    ('{"api_key": "hunter2hunter2"}', "hunter2"),
    ("password='hunter2hunter2'", "hunter2"),
    ("/callback?token=hunter2hunter2&x=1", "hunter2"),
    ("Incorrect API key provided: sk-proj-hunter2hunter2hunter2", "hunter2"),
    ("seed SUAGMJH5XLGZKQQWAWKRZJIGMOU4HPFUYLXJMXOO5NLFEO2OOQJ5LPRDPM", "SUAGMJ"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.c2lnbmF0dXJl", "c2lnbmF"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secrets_are_replaced(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "answered in 12 ms · 333 tokens · $0.0012",
        "max_tokens: 100000, tokens=123456",
        "analyst.yaml:3:7: error: unexpected token: 'endfor'",
        "connected to nats://127.0.0.1:4222",
        "see https://example.org/a@b for the task-asking-for-directions",
    ],
)
def test_text_without_secrets_stays(text: str) -> None:
    assert redact(text) == text


@in_format("json")
def test_a_field_with_a_secrets_name_is_never_written(written: Written) -> None:
    log.info("call", extra={"model": {"name": "gpt", "api_key": "hunter2"}, "password": "hunter2"})

    line = one(written())
    assert line["model"] == {"name": "gpt", "api_key": "***"}
    assert line["password"] == "***"


def test_a_closed_pipe_is_no_error(logging_restored: None) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        handler = configure("text", stream=stream)
        os.close(reading)
        for _ in range(3):
            log.info("nobody reads this")
            handler.flush()


def test_lines_for_a_slow_reader_are_dropped_and_counted(
    logging_restored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "_WAITING_LINES", 50)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        handler = configure("text", stream=stream)
        for number in range(200):
            log.info("%d %s", number, "x" * 4000)
        lines = iter(reader.readline, "")
        seen = 0
        while "were dropped" not in (line := next(lines)):
            seen += 1
        handler.flush()

    dropped = int(line.split()[2])
    assert seen + dropped == 200
    assert dropped > 0


def test_a_second_call_replaces_the_first(tmp_path: Path, logging_restored: None) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with first.open("w") as a, second.open("w") as b:
        configure("text", stream=a)
        handler = configure("json", stream=b)
    log.info("once")
    handler.flush()

    assert first.read_text() == ""
    assert one(second.read_text())["message"] == "once"
