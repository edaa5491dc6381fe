"""Which files may be sent with a task, and which parts an earlier turn may have."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from agentd.errors import TaskError, UsageError
from agentd.nats import objects
from agentd.protocol import media
from agentd.protocol.fields import AgentIdentity, Context, HistoryMessage
from agentd.protocol.message import new
from agentd.run import attachments
from tests.memory_bus import MemoryBus

if TYPE_CHECKING:
    from agentd.nats.bus import Bus

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        ("text", "text"),
        ({"instruction": "look", "parts": [{"type": "x"}]}, {"instruction": "look"}),
        ({"parts": [{"type": "x"}]}, None),
        ({"parts": [1]}, {"parts": [1]}),
        ({"a": 1}, {"a": 1}),
        (None, None),
    ],
)
def test_a_content_without_its_parts(content: Any, rest: Any) -> None:
    assert attachments.without(content) == rest


def test_files_join_what_is_said() -> None:
    file = {"type": "file", "object": "x"}
    assert attachments.with_parts("look", [file]) == {"instruction": "look", "parts": [file]}
    assert attachments.with_parts({"a": 1, "parts": [1]}, [file]) == {"a": 1, "parts": [1, file]}
    assert attachments.with_parts(7, []) == 7
    for wrong in (7, [1], {"parts": "x"}):
        with pytest.raises(UsageError, match="with a text, or with an object"):
            attachments.with_parts(wrong, [file])


async def test_the_files_of_a_history_are_fetched() -> None:
    bus = cast("Bus", MemoryBus())
    stored = {"type": "image", "object": await objects.put(bus, PNG)}
    inline = {"type": "file", "data": base64.b64encode(b"Hi.").decode(), "name": "a.txt"}
    lost = {"type": "image", "object": f"sha256:{'0' * 64}", "name": "old.png"}
    seen = {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}
    text = {"type": "text", "text": "Look."}
    history = (
        HistoryMessage(role="user", content=[text, stored, inline, lost, seen]),
        HistoryMessage(role="assistant", content="A dot."),
    )
    context = Context(conversation_id="c", history=history)
    task = new("task", "x", source=AgentIdentity(id="me"), context=context)
    first, second = (await attachments.with_files(bus, task)).context.history
    assert first.content == [
        text,
        media.part(PNG, "image/png", "image"),
        {"type": "text", "text": "[a.txt]\nHi."},
        {"type": "text", "text": "[old.png: no longer shown]"},
        seen,
    ]
    assert second.content == "A dot."


async def test_a_malformed_file_of_a_history_is_an_error() -> None:
    history = (HistoryMessage(role="user", content=[{"type": "image", "data": "?"}]),)
    context = Context(conversation_id="c", history=history)
    task = new("task", "x", source=AgentIdentity(id="me"), context=context)
    with pytest.raises(TaskError, match=r"context\.history\[0\]\.content has `data`") as refused:
        await attachments.with_files(cast("Bus", MemoryBus()), task)
    assert refused.value.code == "bad_part"


def test_a_file_is_known_by_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(PNG)
    (found,) = attachments.attachments([file])
    assert found.data == PNG
    assert found.part == {
        "type": "image",
        "object": found.part["object"],
        "mediaType": "image/png",
        "name": "photo.jpg",
        "size": len(PNG),
    }
    assert found.part["object"].startswith("sha256:")


def test_what_cannot_be_sent_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone.png: No such file"):
        attachments.attachments([tmp_path / "gone.png"])
    with pytest.raises(UsageError, match="Is a directory"):
        attachments.attachments([tmp_path])
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04\0")
    with pytest.raises(UsageError, match=r"x.zip is neither an image that models take \(png, jpeg"):
        attachments.attachments([tmp_path / "x.zip"])
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        file.truncate(attachments.LARGEST + 1)
    with pytest.raises(UsageError, match=r"has 20.0 MB; a task takes 20 MB of files"):
        attachments.attachments([large])
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_bytes(b"x" * 11_000_000)
    with pytest.raises(UsageError, match=r"with .*two.txt these are 22.0 MB"):
        attachments.attachments([tmp_path / "one.txt", tmp_path / "two.txt"])


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "input_audio"}],
        [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
        [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/x.png"}}],
        [{"type": "image_url", "image_url": {"url": "https://localhost/x.png"}}],
        [{"type": "image_url", "image_url": {"url": "https://169.254.169.254/x.png"}}],
        [{"type": "image_url", "image_url": {"url": "https://[::1]/x.png"}}],
        [{"type": "image_url", "image_url": {"url": "data:text/html;base64,PGI+"}}],
        [{"type": "image_url", "image_url": "https://example.org/x.png"}],
        [{"type": "text"}],
        ["text"],
    ],
)
def test_an_earlier_turn_has_text_and_images_only(content: Any) -> None:
    with pytest.raises(TaskError, match=r"^h\[0\] ") as told:
        attachments.checked(content, "h")
    assert told.value.code == "bad_part"


def test_an_earlier_turn_keeps_what_models_take() -> None:
    text = {"type": "text", "text": "look"}
    image = media.part(PNG, "image/png", "")
    named = {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}
    assert attachments.checked([{**text, "cache_control": {}}, image, named], "h") == [
        text,
        image,
        named,
    ]
    assert attachments.checked("text", "h") == "text"
    assert attachments.checked({"a": 1}, "h") == '{"a": 1}'
