"""What `agentd tap` prints of a message, valid or not."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import cast

from agentd.cli.tap import json_of, line_of
from agentd.nats.bus import Msg


def msg(data: bytes, headers: dict[str, str] | None = None) -> Msg:
    subject = "agents.dev.task.analysis.general"
    return cast("Msg", SimpleNamespace(subject=subject, data=data, headers=headers))


def test_a_line_has_time_subject_sender_and_content() -> None:
    line = line_of(msg(b'{"source": {"id": "ann"}, "payload": {"content": "Hello."}}'))

    assert re.fullmatch(r"\d\d:\d\d:\d\d  task\.analysis\.general +ann +Hello\.", line)


def test_invalid_bytes_are_counted_with_the_reason() -> None:
    line = line_of(msg(b'{"payload": {}}'))

    assert "  15 bytes, not a valid message: payload.content" in line


def test_json_has_subject_headers_and_message() -> None:
    shown = json_of(msg(b'{"payload": {}}', {"Nats-Msg-Id": "m1"}))

    assert shown == {
        "subject": "agents.dev.task.analysis.general",
        "headers": {"Nats-Msg-Id": "m1"},
        "message": {"payload": {}},
    }


def test_bytes_that_are_not_json_are_shown_in_base64() -> None:
    shown = json_of(msg(b"\xff"))

    assert (shown["base64"], shown["headers"]) == ("/w==", {})
