"""Texts, images and files of OpenAI's clients."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

import pytest

from agentd.doors.openai.content import parts_of, said_in, task_content, with_objects
from agentd.doors.openai.errors import BadRequest
from agentd.nats.objects import digest_of
from tests.memory_bus import MemoryBus

if TYPE_CHECKING:
    from agentd.nats.bus import Bus

IMAGE = {"type": "image", "data": "iVBORw0KGgo="}
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("hi", "hi"),
        ([{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}], "a\nb"),
        ([{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "no"}], "a\nno"),
    ],
)
def test_texts_are_one_text(content: Any, text: str) -> None:
    assert parts_of(content, "here") == text
    assert task_content(text) == text


@pytest.mark.parametrize(
    "image",
    [
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "image_url", "image_url": PNG},
        {"type": "input_image", "image_url": PNG},
    ],
)
def test_an_image_is_a_part(image: Any) -> None:
    read = parts_of([{"type": "text", "text": "What?"}, image], "here")
    part = {"type": "image", "data": "iVBORw0KGgo="}
    assert read == [{"type": "text", "text": "What?"}, part]
    assert task_content(read) == {"instruction": "What?", "parts": [part]}
    assert task_content(parts_of([image], "here")) == {"parts": [part]}


def test_an_image_may_be_elsewhere() -> None:
    url = "https://example.org/x.png"
    read = parts_of([{"type": "input_image", "image_url": url}], "here")
    assert read == [{"type": "image", "url": url}]


@pytest.mark.parametrize(
    "file",
    [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "JVBERi0="}},
        {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
    ],
)
def test_a_file_is_a_part(file: Any) -> None:
    part = {"type": "file", "data": "JVBERi0=", "name": "a.pdf"}
    assert parts_of([file], "here") == [part]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hi", "hi"),
        ({"parts": [IMAGE]}, [IMAGE]),
        ({"instruction": "What?", "parts": [IMAGE]}, [{"type": "text", "text": "What?"}, IMAGE]),
        ({"order": 7}, '{"order": 7}'),
        ([1], "[1]"),
    ],
)
def test_a_content_is_what_the_user_has_said(content: Any, said: Any) -> None:
    assert said_in(content) == said


async def test_what_is_large_goes_into_the_object_store() -> None:
    bus = cast("Bus", MemoryBus())
    large = base64.b64encode(bytes(20_000)).decode()
    text, small = {"type": "text", "text": "x" * 20_000}, IMAGE
    stored = {"type": "image", "object": digest_of(bytes(20_000))}
    content = [text, small, {"type": "image", "data": large}]
    assert await with_objects(bus, content) == [text, small, stored]
    assert await with_objects(bus, "hi") == "hi"
    broken = [{"type": "image", "data": "?" * 20_000}]
    assert await with_objects(bus, broken) == broken


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_audio", "input_audio": {}}, r"here\[0\]\.type"),
        ({"type": "text"}, r"here\[0\]\.text"),
        ({"type": "input_image", "file_id": "f"}, r"here\[0\]\.image_url"),
        ({"type": "input_file", "file_id": "f"}, r"here\[0\]\.file_data"),
        ("text", r"here\[0\]"),
    ],
)
def test_what_no_agent_takes_is_refused_with_its_place(part: Any, param: str) -> None:
    with pytest.raises(BadRequest, match=f"^{param} "):
        parts_of([part], "here")
