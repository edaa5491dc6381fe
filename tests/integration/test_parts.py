"""Images and files on their way from a sender to a model."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentd.nats import objects
from agentd.nats.bus import Bus
from agentd.run import attachments
from agentd.testing.stub_model import Behaviour, StubModel
from tests.objects import replace_object

if TYPE_CHECKING:
    from tests.integration.conftest import Team

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
IN_BASE64 = base64.b64encode(PNG).decode()
SHOWN = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IN_BASE64}"}}
LOOK = {"type": "text", "text": "look"}


@pytest.fixture
async def stub() -> AsyncIterator[StubModel]:
    async with StubModel(Behaviour(text="seen ")).serve() as served:
        yield served


def seeing(stub: StubModel, more: str = "", *, model: str = "gpt-4o-mini") -> str:
    ref = f"{{name: openai/{model}, api_base: {stub.url}, api_key: none}}"
    return f"capabilities: [sight]\nmodel: {ref}\n{more}"


async def test_each_kind_of_part_reaches_the_model(team: Team, stub: StubModel) -> None:
    await team.run(eye=seeing(stub))
    digest = await objects.put(team.bus, PNG)
    pdf = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}
    content = {
        "instruction": "look",
        "parts": [
            {"type": "image", "object": digest, "mediaType": "image/png", "name": "x.png"},
            {"type": "image", "data": IN_BASE64},
            {"type": "image", "url": "https://example.org/x.png"},
            {"type": "file", "data": "JVBERi0=", "name": "a.pdf"},
            {"type": "file", "data": "YSxi", "name": "a.csv"},
            {"type": "file", "data": IN_BASE64, "name": "a.png"},
            {"type": "text", "text": "well?"},
        ],
    }
    result = await team.ask("sight", content)

    assert result["success"], result
    assert stub.last[-1]["messages"][-1]["content"] == [
        LOOK,
        SHOWN,
        SHOWN,
        {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}},
        {"type": "file", "file": pdf},
        {"type": "text", "text": "[a.csv]\na,b"},
        SHOWN,
        {"type": "text", "text": "well?"},
    ]


async def test_text_alone_stays_text(team: Team, stub: StubModel) -> None:
    await team.run(eye=seeing(stub))
    file = {"type": "file", "data": "YSxi", "name": "a.csv"}
    for content, shown in (
        ({"instruction": "look", "parts": [file]}, "look\n\n[a.csv]\na,b"),
        ({"parts": [file]}, "[a.csv]\na,b"),
        ({"a": 1, "parts": ["x"]}, '{"a": 1, "parts": ["x"]}'),  # a field of the sender's own
    ):
        await team.ask("sight", content)
        assert stub.last[-1]["messages"][-1]["content"] == shown


async def test_the_manifest_makes_the_text(team: Team, stub: StubModel) -> None:
    await team.run(eye=seeing(stub, 'input: "Closely: {{ content.instruction }}"\n'))
    image = {"type": "image", "data": IN_BASE64}
    await team.ask("sight", {"instruction": "look", "parts": [image]})
    text = {"type": "text", "text": "Closely: look"}
    assert stub.last[-1]["messages"][-1]["content"] == [text, SHOWN]


async def test_the_mock_says_what_it_was_shown(team: Team) -> None:
    await team.run(eye="capabilities: [sight]\n")
    image = {"type": "image", "data": base64.b64encode(PNG * 200).decode()}
    result = await team.ask("sight", {"instruction": "look", "parts": [image]})
    assert 'asked: "look [image/png, 14 kB]"' in result["data"]


async def test_a_picture_is_remembered_in_words(team: Team, stub: StubModel) -> None:
    await team.run(eye=seeing(stub, "history: {}\n"))
    context = {"conversationId": "c1"}
    image = {"type": "image", "data": IN_BASE64}
    await team.ask("sight", {"instruction": "look", "parts": [image]}, context=context)
    await team.ask("sight", "and?", context=context)
    first, *_ = stub.last[-1]["messages"][1:]
    assert first == {"role": "user", "content": "look\n[image/png, 1 kB]"}


async def test_a_picture_costs_tokens_not_bytes(team: Team, stub: StubModel) -> None:
    """Its 2 MB would be some 500,000 tokens, and more than the sender allows."""
    await team.run(eye=seeing(stub))
    digest = await objects.put(team.bus, PNG + bytes(2_000_000))
    content = {"instruction": "look", "parts": [{"type": "image", "object": digest}]}
    payload = {"content": content, "constraints": {"maxTokens": 3_000}}
    result = await team.ask("sight", None, payload=payload)
    assert result["success"], result


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ([{"type": "text", "text": "x"}] * 33, "bad_part", "at most 32 parts"),
        ([LOOK, "x"], "bad_part", "parts[1] must be an object with a `type`"),
        ([LOOK, {"type": "video"}], "bad_part", "parts[1] must have a `type`: text, image or file"),
        ([{"type": "text"}], "bad_part", "must have a `text` that is text"),
        ([{"type": "image"}], "bad_part", "must have one of `url`, `data` and `object`"),
        ([{"type": "image", "url": "https://a.b", "data": "x"}], "bad_part", "must have one of"),
        ([{"type": "image", "url": "http://example.org/x"}], "bad_part", "not a public https://"),
        (
            [{"type": "image", "url": "https://10.0.0.1/x"}],
            "bad_part",
            "not a public https:// address",
        ),
        (
            [{"type": "image", "url": "file:///etc/passwd"}],
            "bad_part",
            "not a public https:// address",
        ),
        ([{"type": "file", "url": "https://a.b/x.pdf"}], "bad_part", "is a file with a `url`"),
        ([{"type": "image", "data": "not base64!"}], "bad_part", "is not base64"),
        (
            [{"type": "image", "data": "YSxi"}],
            "unsupported_part",
            "is neither an image that models",
        ),
        (
            [{"type": "file", "data": "UEsDBAD/"}],
            "unsupported_part",
            "nor a PDF, nor text in UTF-8",
        ),
        (
            [{"type": "file", "data": "YSxi", "name": "a\nb"}],
            "bad_part",
            "`name` that is not one line",
        ),
        (
            [{"type": "image", "object": "x.png"}],
            "bad_part",
            "`object` that is not a digest",
        ),
        ([{"type": "image", "object": f"sha256:{'0' * 64}"}], "object_missing", "no longer exists"),
    ],
)
async def test_what_is_wrong_with_a_part_is_told(
    team: Team, given: Any, code: str, text: str
) -> None:
    await team.run(eye="capabilities: [sight]\n")
    result = await team.ask("sight", {"instruction": "look", "parts": given})
    assert result["error"]["code"] == code
    assert text in result["error"]["message"]


async def test_an_object_that_is_not_what_its_digest_says_is_not_shown(team: Team) -> None:
    await team.run(eye="capabilities: [sight]\n")
    digest = objects.digest_of(b"something else")
    await replace_object(team.bus, digest, PNG)
    result = await team.ask("sight", {"parts": [{"type": "image", "object": digest}]})
    assert result["error"]["code"] == "object_missing"
    assert "does not match its digest" in result["error"]["message"]


async def test_files_are_bounded_together_and_before_they_are_read(team: Team) -> None:
    await team.run(eye="capabilities: [sight]\n")
    large = await objects.put(team.bus, b"x" * (attachments.LARGEST + 1))
    result = await team.ask("sight", {"parts": [{"type": "file", "object": large}]})
    assert result["error"]["code"] == "object_too_large"
    half = await objects.put(team.bus, b"x" * (attachments.LARGEST // 2 + 1))
    result = await team.ask("sight", {"parts": [{"type": "file", "object": half}] * 2})
    assert result["error"]["code"] == "object_too_large"


async def test_a_model_that_is_known_to_be_blind_is_not_paid(team: Team, stub: StubModel) -> None:
    await team.run(eye=seeing(stub, model="o3-mini"))
    image = {"type": "image", "url": "https://example.org/x.png"}
    result = await team.ask("sight", {"instruction": "look", "parts": [image]})
    assert result["error"]["code"] == "unsupported_part"
    assert "openai/o3-mini takes no images" in result["error"]["message"]
    assert stub.count == 0


async def test_of_several_models_one_that_sees_is_asked(team: Team, stub: StubModel) -> None:
    names = ("o3-mini", "gpt-4o-mini")
    refs = [f"{{name: openai/{name}, api_base: {stub.url}, api_key: none}}" for name in names]
    await team.run(eye=f"capabilities: [sight]\nmodel: [{', '.join(refs)}]\n")
    image = {"type": "image", "url": "https://example.org/x.png"}
    assert (await team.ask("sight", {"instruction": "look", "parts": [image]}))["success"]
    assert (await team.ask("sight", "think"))["success"]
    assert [body["model"] for body in stub.last] == ["gpt-4o-mini", "o3-mini"]


async def test_reasoning_is_counted_in_the_result(team: Team) -> None:
    usage = "{input: 10, output: 50, reasoning: 40}"
    await team.run(
        thinker="capabilities: [thought]\nmodel: {name: mock/script, "
        f"script: [{{text: because, reasoning: hm, usage: {usage}}}]}}\n"
    )
    result = await team.ask("thought", "why?")
    assert result["usage"]["reasoningTokens"] == 40
    assert result["reasoning"] == "hm"


async def test_an_upload_is_kept_once(bus: Bus, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(PNG + bytes(300_000))
    attached = attachments.attachments([file])
    await attachments.upload(bus, [*attached, *attached])
    digest = attached[0].part["object"]
    assert await objects.fetch(bus, digest) == file.read_bytes()
