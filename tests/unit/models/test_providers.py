"""A model's name says who its provider is, where it is reached, and which key it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.models.prices import PriceList
from agentd.models.providers import (
    COMPATIBLE,
    base_of,
    first,
    missing_key,
    secrets,
    split,
    unknown,
)


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("openai/gpt-4o", "openai"),
        ("gpt-4o-mini", "openai"),
        ("ft:gpt-4o:mine::x", "openai"),
        ("o1", "openai"),
        ("o3-mini", "openai"),
        ("o4-mini", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("hosted_vllm/org/model", "hosted_vllm"),
        ("claude-sonnet-4-5", ""),
        ("o100", ""),
        ("anthropic/claude-sonnet-4-5", "anthropic"),
    ],
)
def test_the_provider_of_a_name(name: str, provider: str) -> None:
    assert split(name)[0] == provider


@pytest.mark.parametrize(
    ("family", "environ", "base"),
    [
        ("openai", {}, "https://api.openai.com/v1"),
        (
            "openai",
            {"OPENAI_BASE_URL": "http://a/v1/", "OPENAI_API_BASE": "http://b"},
            "http://a/v1",
        ),
        ("openai", {"OPENAI_BASE_URL": " ", "OPENAI_API_BASE": "http://b"}, "http://b"),
        ("hosted_vllm", {}, None),
        ("hosted_vllm", {"HOSTED_VLLM_API_BASE": "http://v/v1"}, "http://v/v1"),
        ("lm_studio", {}, "http://localhost:1234/v1"),
        ("llamafile", {}, "http://localhost:8080/v1"),
        ("ollama", {}, "http://localhost:11434/v1"),
        ("ollama_chat", {"OLLAMA_API_BASE": "http://o:1/"}, "http://o:1/v1"),
        ("ollama", {"OLLAMA_HOST": "0.0.0.0"}, "http://localhost:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "box:8000"}, "http://box:8000/v1"),
        ("ollama", {"OLLAMA_HOST": "https://box/v1"}, "https://box/v1"),
    ],
)
def test_the_address_of_a_compatible_server(
    family: str, environ: dict[str, str], base: str | None
) -> None:
    assert base_of(COMPATIBLE[family], None, environ) == base
    assert base_of(COMPATIBLE[family], "http://mine/v1", environ) == "http://mine/v1"


@pytest.mark.parametrize(
    "provider",
    [
        "deepinfra",
        "azure",
        "vertex_ai",
        "bedrock",
        "modelscope",
        "inception",
        "nadir",
        "publicai",
        "veniceai",
        "openai_like",
        "sagemaker",
        "watsonx",
    ],
)
def test_every_provider_of_litellm_is_known(provider: str) -> None:
    assert unknown(f"{provider}/x", PriceList()) is None


def test_secrets_are_recognised_by_their_names() -> None:
    environ = {
        "MY_API_KEY": "12345678",
        "GITHUB_TOKEN": "abcdefgh",
        "HOME": "/a/long/path",
        "TOKEN": "1",
    }
    assert set(secrets(environ)) == {"12345678", "abcdefgh"}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gtp-4o-mini", "is not a model that litellm lists, and names no provider"),
        ("antropic/claude", "`antropic` in `antropic/claude` is not a provider"),
    ],
)
def test_an_unknown_name_is_a_problem_with_a_suggestion(name: str, problem: str) -> None:
    text = unknown(name, PriceList())

    assert text is not None
    assert problem in text
    assert "; did you mean `" in text


def test_without_litellm_s_list_every_name_without_a_provider_may_be_right(tmp_path: Path) -> None:
    assert unknown("gtp-4o-mini", PriceList(tmp_path / "missing.json")) is None


def test_the_first_variable_that_is_set_counts() -> None:
    assert first(("A", "B"), {"A": " ", "B": " b "}) == "b"
    assert first(("A", "B"), {}) is None


def test_any_of_a_provider_s_variables_is_enough() -> None:
    assert missing_key("gemini", {}) == "GEMINI_API_KEY"
    assert missing_key("gemini", {"GOOGLE_API_KEY": "x"}) is None
    assert missing_key("bedrock", {}) is None  # its credentials may come from the machine
