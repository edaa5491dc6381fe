"""What a delivery is read as: its body, the names for expressions, and its id."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from agentd.doors.triggers.delivery import of_file, of_message, of_request, readable
from agentd.errors import DecodeError
from agentd.run.attachments import attachment

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind", "data"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b'{"a": 1}', "application/cloudevents+json; charset=utf-8", {"a": 1}),
        (b'{"a": 1}', "", {"a": 1}),
        (b"[1]", "text/plain", [1]),
        (b"Hello", "text/plain", "Hello"),
        (b"Hello", "", "Hello"),
        (b"", "", ""),
        (b"a=1&b=&a=2", FORM, {"a": ["1", "2"], "b": ""}),
        (urlencode({"payload": '{"x": 2}'}).encode(), FORM, {"x": 2}),
        (b"payload=1&other=2", FORM, {"payload": "1", "other": "2"}),
    ],
)
def test_a_body_is_read_as_json_a_form_or_text(body: bytes, kind: str, data: Any) -> None:
    assert readable(body, kind) == data


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b'{"a": 1, "a": 2}', "application/json"),
        (b"[" * 100 + b"]" * 100, "application/json"),
        (b"\xff\xfe", ""),
        (b"a\0b", "text/plain"),
        (b"payload=%7B", FORM),
        (b"a=%ff", FORM),
        (b"&".join(b"a=%d" % i for i in range(2000)), FORM),
        (b"x" * (8 * 1024 * 1024 + 1), "text/plain"),
    ],
    ids=range(9),
)
def test_a_body_that_is_none_of_them_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(DecodeError):
        readable(body, kind)


def test_the_names_of_a_request_are_its_parts() -> None:
    found = of_request("none", {"x-a": "1"}, b"q=1&q=2&r=3", b'{"b": 4}')

    assert found.names == {
        "headers": {"x-a": "1"},
        "query": {"q": ["1", "2"], "r": "3"},
        "body": {"b": 4},
        "digest": hashlib.sha256(b'{"b": 4}').hexdigest(),
    }
    assert found.content == {"b": 4}


@pytest.mark.parametrize(
    ("kind", "headers", "body", "identity"),
    [
        ("github", {"x-github-delivery": "d-1"}, {}, "d-1"),
        ("slack", {}, {"event_id": "Ev1"}, "Ev1"),
        ("slack", {}, {"trigger_id": "1.2"}, "1.2"),
        ("stripe", {}, {"id": "evt_1"}, "evt_1"),
        ("bearer", {"webhook-id": "w-1"}, {}, "w-1"),
        ("none", {"idempotency-key": "k-1"}, {}, "k-1"),
    ],
)
def test_a_sender_gives_its_deliveries_an_id(
    kind: str, headers: dict[str, str], body: Any, identity: str
) -> None:
    assert of_request(kind, headers, b"", json.dumps(body).encode()).id == identity


@pytest.mark.parametrize("kind", ["github", "slack", "stripe", "hmac", "bearer", "none"])
def test_a_delivery_without_an_id_has_the_digest_of_its_body(kind: str) -> None:
    body = b'{"id": 7, "event_id": ""}'

    assert of_request(kind, {}, b"", body).id == hashlib.sha256(body).hexdigest()


def test_a_header_beside_a_signature_does_not_make_a_replay_another_delivery() -> None:
    ids = {of_request("hmac", {"idempotency-key": key}, b"", b"{}").id for key in ("1", "2")}

    assert len(ids) == 1


def test_a_message_on_nats_is_json_or_text_and_has_the_id_of_its_place() -> None:
    found = of_message("orders.created", {"Nats-Msg-Id": "7"}, b'{"a": 1}', "ORDERS 5 1.0")

    assert (found.id, found.content) == ("ORDERS 5 1.0", {"a": 1})
    assert found.names["headers"] == {"nats-msg-id": "7"}
    assert found.names["subject"] == "orders.created"
    assert of_message("s", {}, b"text", "1").content == "text"


def test_a_file_is_told_from_others_by_its_name_and_its_content() -> None:
    one = of_file(attachment(b"text", "a.txt", "a.txt"), "inbox/a.txt")
    other_name = of_file(attachment(b"text", "b.txt", "b.txt"), "inbox/b.txt")
    other_content = of_file(attachment(b"more", "a.txt", "a.txt"), "inbox/a.txt")

    assert len({one.id, other_name.id, other_content.id}) == 3
    assert one.names["file"]["path"] == "inbox/a.txt"
    assert (one.names["file"]["name"], one.names["file"]["size"]) == ("a.txt", 4)
    assert one.content == "a.txt"
