"""What bytes are by their first bytes, and how images and files stand in a model's message."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.protocol import media

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
PDF = b"%PDF-1.4\n..."


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (PNG, "", "image/png"),
        (PNG, "photo.jpg", "image/png"),
        (b"\xff\xd8\xff\xe0", "", "image/jpeg"),
        (b"GIF87a...", "", "image/gif"),
        (b"GIF89a...", "", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "", "image/webp"),
        (b"RIFF....WAVE", "", "text/plain"),
        (b"XIFF....WEBP", "", "text/plain"),
        (PDF, "x.txt", "application/pdf"),
        (b"a,b\n1,2\n", "table.csv", "text/csv"),
        (b"{}", "data.json", "application/json"),
        (b"<svg/>", "picture.svg", "text/plain"),
        ("über".encode(), "", "text/plain"),
        (b"", "empty", "text/plain"),
        (b"PK\x03\x04\0", "paper.docx", None),
        ("über".encode("latin-1"), "old.txt", None),
    ],
)
def test_bytes_say_what_they_are(data: bytes, name: str, kind: str | None) -> None:
    assert media.media_type(data, name) == kind


def test_bytes_need_no_name() -> None:
    assert media.media_type(b"hello") == "text/plain"


def test_each_kind_has_its_place_in_a_message() -> None:
    encoded = base64.b64encode(PNG).decode()
    assert media.part(PNG, "image/png", "photo.png") == {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{encoded}"},
    }
    assert media.part(PDF, media.PDF, "paper.pdf") == {
        "type": "file",
        "file": {
            "filename": "paper.pdf",
            "file_data": "data:application/pdf;base64," + base64.b64encode(PDF).decode(),
        },
    }
    assert media.part("ü".encode(), "text/csv", "table.csv") == {
        "type": "text",
        "text": "[table.csv]\nü",
    }


def test_a_content_in_words_names_what_an_image_or_a_file_is() -> None:
    image = media.part(PNG * 200, "image/png", "photo.png")
    pdf = media.part(PDF, media.PDF, "paper.pdf")
    text = media.part(b"a,b", "text/csv", "table.csv")
    named = {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}
    assert media.in_words([image, pdf, text, named]) == (
        "[image/png, 14 kB]\n[paper.pdf, 1 kB]\n[table.csv]\na,b\n[https://example.org/x.png]"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("hello", "hello"),
        (None, ""),
        ([], ""),
        (["a", "", 7], "a\n7"),
        ({"ä": 1}, '{"ä": 1}'),
        ([{"type": "input_audio"}], "[input_audio]"),
        ([{"type": "image_url", "image_url": {}}], "[image_url]"),
        ([{"type": "file", "file": {"file_data": "data:a/b;c;base64,eA=="}}], "[a/b, 1 kB]"),
    ],
)
def test_any_content_can_be_put_in_words(content: Any, words: str) -> None:
    assert media.in_words(content) == words


@pytest.mark.parametrize(("size", "shown"), [(1_499, "1"), (1_501, "2"), (5_000_000, "5,000")])
def test_sizes_are_shown_in_thousands_of_bytes(size: int, shown: str) -> None:
    image = media.part(b"x" * size, "image/png", "")
    assert media.in_words([image]) == f"[image/png, {shown} kB]"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 100_000])
def test_the_size_of_a_part_is_that_of_its_bytes(size: int) -> None:
    found = media.size(media.part(b"x" * size, "image/png", ""))
    assert found == size
    assert isinstance(found, int)


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"type": "text", "text": "x"},
        {"type": "image_url", "image_url": "data:x"},
        {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}},
    ],
)
def test_a_part_without_bytes_of_its_own_has_no_size(part: dict[str, Any]) -> None:
    assert media.size(part) == 0


def test_an_equals_sign_in_the_media_type_is_no_padding() -> None:
    assert media.size({"image_url": {"url": "data:image/png;x=y;base64,eHh4"}}) == 3


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["type", "text", "image_url", "file", "url"]), x)
        ),
    )
)
def test_words_are_found_for_whatever_a_stranger_sends(content: Any) -> None:
    assert isinstance(media.in_words(content), str)
