"""A name finds its server, and what cannot work is said before anything is called."""

from __future__ import annotations

import re

import pytest

from agentd.errors import ModelError
from agentd.manifest.agent import ModelRef
from agentd.models.choose import Models
from agentd.models.limits.concurrency import Limiter
from agentd.models.limits.limited_model import LimitedModel
from agentd.models.litellm_bridge import LitellmModel
from agentd.models.openai_http import OpenAIModel
from agentd.models.prices import PriceList
from agentd.models.providers import COMPATIBLE, base_of, secrets, split, unknown

KEY = {"OPENAI_API_KEY": "sk-test"}


def check(name: str, environ: dict[str, str] | None = None, **fields: str) -> list[str]:
    return Models(environ or {}).check(ModelRef.model_validate({"name": name, **fields}))


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
def test_where_a_compatible_server_is(
    family: str, environ: dict[str, str], base: str | None
) -> None:
    assert base_of(COMPATIBLE[family], None, environ) == base
    assert base_of(COMPATIBLE[family], "http://mine/v1", environ) == "http://mine/v1"


def test_a_missing_key_is_named() -> None:
    for name in ("openai/gpt-4o", "gpt-4o"):
        assert check(name) == [f"OPENAI_API_KEY is not set (needed by {name})"]
        assert check(name, KEY) == []
        assert check(name, api_key="sk-mine") == []
    assert check("anthropic/claude-x") == [
        "ANTHROPIC_API_KEY is not set (needed by anthropic/claude-x)"
    ]
    assert check("claude-sonnet-4-5") == [
        "ANTHROPIC_API_KEY is not set (needed by claude-sonnet-4-5)"
    ]
    assert check("gemini/x", {"GOOGLE_API_KEY": "x"}) == []
    assert check("bedrock/anthropic.claude") == []  # its credentials may come from the machine


def test_a_server_of_ones_own_needs_no_key() -> None:
    assert check("openai/llama", api_base="http://127.0.0.1:8080/v1") == []
    assert check("openai/llama", {"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"}) == []
    assert check("ollama/llama3.1") == []
    assert check("lm_studio/x") == []
    assert check("anthropic/claude-x", api_base="http://gateway") == []
    assert check("openai/gpt-4o", api_base="https://eu.api.openai.com/v1") != []


def test_a_server_without_an_address() -> None:
    assert check("hosted_vllm/x") == [
        "`api_base` or HOSTED_VLLM_API_BASE must say where hosted_vllm/x is served"
    ]
    assert "not an http(s) address" in check("openai/x", {"OPENAI_BASE_URL": "ftp://x"})[0]
    assert "not an http(s) address" in check("openai/x", {"OPENAI_BASE_URL": "http://[x"})[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("opnai/gpt-4o", "did you mean `openai/gpt-4o`?"),
        ("antropic/claude", "did you mean `anthropic/claude`?"),
        ("gtp-4o-mini", "did you mean `gpt-4o-mini`?"),
        ("zzzzzzzzzzzz", "names no provider"),
        ("zzzzzzzzzzzz/x", "no provider that litellm knows"),
        ("openai/", "names no model"),
    ],
)
def test_a_nonsense_name(name: str, said: str) -> None:
    assert said in check(name, KEY)[0]
    with pytest.raises(ModelError) as caught:
        Models(KEY).open(ModelRef(name=name))
    assert caught.value.code == "model_config"


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
def test_litellm_s_providers_are_known(provider: str) -> None:
    assert unknown(f"{provider}/x", PriceList()) is None


def test_a_key_that_cannot_stand_in_a_header() -> None:
    assert "characters" in check("openai/x", {"OPENAI_API_KEY": "sk-\u201cquoted\u201d"})[0]
    assert check("openai/x", {"OPENAI_API_KEY": "sk-fine\n"}) == []


def test_a_script_is_only_for_the_mock() -> None:
    models = Models(KEY)

    assert models.open(ModelRef(name="openai/x", script=["Hello."])) is models.open(
        ModelRef(name="openai/x")
    )


def test_open_raises_what_check_says() -> None:
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set") as caught:
        Models({}).open(ModelRef(name="openai/gpt-4o"))
    assert caught.value.code == "model_auth"


def test_who_answers() -> None:
    models = Models({**KEY, "ANTHROPIC_API_KEY": "x"})
    for name in ("openai/gpt-4o", "gpt-4o", "ollama/x", "lm_studio/x", "llamafile/x"):
        model = models.open(ModelRef(name=name))
        assert isinstance(model, LimitedModel)
        assert isinstance(model.model, OpenAIModel)
        assert (model.name, model.is_mock) == (name, False)
    for name in ("anthropic/x", "claude-sonnet-4-5", "openai/responses/gpt-4o"):
        model = models.open(ModelRef(name=name))
        assert isinstance(model, LimitedModel)
        assert isinstance(model.model, LitellmModel)


def test_endpoints_are_addresses_with_a_key() -> None:
    models = Models({**KEY, "ANTHROPIC_API_KEY": "x"})

    def limiter(name: str, **fields: str) -> Limiter:
        model = models.open(ModelRef.model_validate({"name": name, **fields}))
        assert isinstance(model, LimitedModel)
        return model.limiter

    ours = limiter("openai/gpt-4o")
    assert ours is limiter("o3-mini")
    assert ours is not limiter("openai/gpt-4o", api_key="sk-another")
    assert ours is not limiter("openai/gpt-4o", api_base="http://127.0.0.1:1/v1")
    assert limiter("anthropic/x") is limiter("claude-sonnet-4-5")
    assert limiter("anthropic/x") is not limiter("anthropic/x", api_key="another")
    assert limiter("anthropic/x").name.startswith("anthropic (key ")
    assert limiter("lm_studio/x").name == "http://localhost:1234/v1"
    secret = limiter("openai/x", api_base="https://me:pass@host/v1?key=k", api_key="sk-secret")
    assert re.fullmatch(r"https://host/v1 \(key [0-9a-f]{6}\)", secret.name)
    assert not isinstance(models.open(ModelRef(name="mock/echo")), LimitedModel)


def test_equal_refs_are_one_model() -> None:
    models = Models(KEY)
    first = models.open(ModelRef(name="gpt-4o"))
    assert models.open(ModelRef(name="gpt-4o")) is first
    assert models.open(ModelRef(name="gpt-4o", timeout=3.0)) is not first


def test_secrets_are_known_by_their_names() -> None:
    environ = {"MY_API_KEY": "12345678", "GITHUB_TOKEN": "abcdefgh", "HOME": "/a/long/path"}
    assert set(secrets(environ)) == {"12345678", "abcdefgh"}
