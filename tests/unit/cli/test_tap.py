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

    assert re.fullmatch(r"\d\d:\d\d:\d\d  - +task\.analysis\.general +ann +Hello\.", line)


def test_ids_are_as_short_as_in_lists_and_logs() -> None:
    task, event = "5e2a91bc" * 4, f"agents.dev.event.run.{'0d4f77aa' * 4}"
    data = f'{{"id": "{task}", "type": "task", "payload": {{"content": "Hello."}}}}'.encode()

    assert "  5e2a91bc  task.analysis.general  " in line_of(msg(data))
    shown = line_of(cast("Msg", SimpleNamespace(subject=event, data=b"{}", headers={})))
    assert "  event.run.0d4f77aa  " in shown


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
