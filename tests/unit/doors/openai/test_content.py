"""Texts, images and files of OpenAI's clients."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.doors.openai.content import chat_content, task_content
from agentd.doors.openai.errors import BadRequest

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
    assert chat_content(content, "here") == text
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
    read = chat_content([{"type": "text", "text": "What?"}, image], "here")
    assert read[1] == {"type": "image_url", "image_url": {"url": PNG}}
    parts = [{"type": "image", "data": "iVBORw0KGgo="}]
    assert task_content(read) == {"instruction": "What?", "parts": parts}
    assert task_content(chat_content([image], "here")) == {"parts": parts}


def test_an_image_may_be_elsewhere() -> None:
    url = "https://example.org/x.png"
    read = chat_content([{"type": "input_image", "image_url": url}], "here")
    assert task_content(read) == {"parts": [{"type": "image", "url": url}]}


@pytest.mark.parametrize(
    "file",
    [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "JVBERi0="}},
        {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
    ],
)
def test_a_file_is_a_part(file: Any) -> None:
    read = chat_content([file], "here")
    assert read == [{"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}]
    part = {"type": "file", "data": "JVBERi0=", "name": "a.pdf"}
    assert task_content(read) == {"parts": [part]}


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
        chat_content([part], "here")
