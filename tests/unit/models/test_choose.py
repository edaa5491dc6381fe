"""A `model:` of a manifest becomes a model, and its problems are found before any call."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agentd.errors import ModelError
from agentd.manifest.agent import ModelRef
from agentd.manifest.rate import Allowance
from agentd.models.choose import AgentRate, Models
from agentd.models.limits.concurrency import Limiter
from agentd.models.limits.configured_model import ConfiguredModel
from agentd.models.limits.limited_model import LimitedModel
from agentd.models.litellm_bridge import LitellmModel
from agentd.models.openai_http import OpenAIModel
from agentd.models.port import Model
from agentd.models.unavailable import UnavailableModel

KEY = {"OPENAI_API_KEY": "sk-test"}


def check(name: str, environ: dict[str, str] | None = None, **fields: str) -> list[str]:
    return Models(environ or {}).check(ModelRef.model_validate({"name": name, **fields}))


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


def test_a_server_at_another_address_needs_no_key() -> None:
    assert check("openai/llama", api_base="http://127.0.0.1:8080/v1") == []
    assert check("openai/llama", {"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"}) == []
    assert check("ollama/llama3.1") == []
    assert check("lm_studio/x") == []
    assert check("anthropic/claude-x", api_base="http://gateway") == []
    assert check("openai/gpt-4o", api_base="https://eu.api.openai.com/v1") != []


def test_a_server_needs_an_http_address() -> None:
    assert check("hosted_vllm/x") == [
        "no address for hosted_vllm/x: set `api_base` or HOSTED_VLLM_API_BASE"
    ]
    for address in ("ftp://x", "http://[x", "http://:8000", "http://x:0"):
        assert check("openai/x", {"OPENAI_BASE_URL": address}) == [
            f"`{address}` is not an http:// or https:// address (for openai/x)"
        ]


def test_an_address_that_ends_in_the_name_of_a_call_is_reported_before_it_is_used() -> None:
    base = "http://desk:8080/v1/chat/completions"
    assert check("openai/x", api_base=f"{base}/") == [
        f"`{base}`: leave out /chat/completions; agentd adds it (for openai/x)"
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("opnai/gpt-4o", "did you mean `openai/gpt-4o`?"),
        ("antropic/claude", "did you mean `anthropic/claude`?"),
        ("gtp-4o-mini", "did you mean `gpt-4o-mini`?"),
        ("zzzzzzzzzzzz", "names no provider"),
        ("zzzzzzzzzzzz/x", "not a provider that litellm knows"),
        ("openai/", "has no model after the provider"),
    ],
)
def test_a_name_that_cannot_be_called_is_a_problem(name: str, problem: str) -> None:
    assert problem in check(name, KEY)[0]
    with pytest.raises(ModelError) as caught:
        Models(KEY).open(ModelRef(name=name))
    assert caught.value.code == "model_config"


def test_a_key_that_cannot_be_sent_in_a_header_is_a_problem() -> None:
    assert (
        "was it copied with typographic quotes"
        in check("openai/x", {"OPENAI_API_KEY": "sk-\u201cquoted\u201d"})[0]
    )
    assert check("openai/x", {"OPENAI_API_KEY": "sk-fine\n"}) == []


def test_other_models_ignore_a_script() -> None:
    models = Models(KEY)

    assert models.open(ModelRef(name="openai/x", script=["Hello."])) is models.open(
        ModelRef(name="openai/x")
    )


def test_open_raises_the_problems_that_check_finds() -> None:
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set") as caught:
        Models({}).open(ModelRef(name="openai/gpt-4o"))
    assert caught.value.code == "model_auth"


def test_compatible_servers_are_called_directly_and_all_others_through_litellm() -> None:
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


def test_an_endpoint_is_an_address_with_a_key() -> None:
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


def test_equal_refs_share_one_model() -> None:
    models = Models(KEY)
    first = models.open(ModelRef(name="gpt-4o"))
    assert models.open(ModelRef(name="gpt-4o")) is first
    assert models.open(ModelRef(name="gpt-4o", timeout=3.0)) is not first


def opened(**fields: Any) -> Model:
    return Models(KEY).open(ModelRef.model_validate({"name": "openai/x", **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        {"parameters": {"seed": 1}},
        {"rate": "5/min"},
        {"tokens": "5/min"},
        {"cache": "5s"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_a_manifest_says_about_calls_makes_a_configured_model(fields: dict[str, Any]) -> None:
    assert isinstance(opened(**fields), ConfiguredModel)


def test_refs_that_differ_in_what_they_say_about_calls_share_their_model() -> None:
    models = Models(KEY)
    plain = models.open(ModelRef(name="openai/x"))
    configured = models.open(ModelRef(name="openai/x", parameters={"seed": 1}))
    rated = models.open(ModelRef(name="openai/x"), agent=AgentRate("me", Allowance(5, 60.0)))

    for each in (configured, rated):
        assert isinstance(each, ConfiguredModel)
        assert each.model is plain


def test_a_model_without_a_key_stays_in_the_list_as_unavailable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refs = [ModelRef(name="openai/gpt-4o"), ModelRef(name="mock/echo")]
    first, second = Models({}).open_all(refs)

    assert isinstance(first, UnavailableModel)
    assert second.is_mock
    assert caplog.messages == [
        "OPENAI_API_KEY is not set (needed by openai/gpt-4o); "
        "the other models of the list are called instead"
    ]


def test_a_list_in_which_no_model_has_a_key_is_refused() -> None:
    refs = [ModelRef(name="openai/gpt-4o"), ModelRef(name="anthropic/claude-x")]
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set") as caught:
        Models({}).open_all(refs)
    assert caught.value.code == "model_auth"


def test_any_other_problem_of_a_list_is_an_error() -> None:
    refs = [ModelRef(name="mock/echo"), ModelRef(name="opnai/gpt-4o")]
    with pytest.raises(ModelError, match="did you mean"):
        Models({}).open_all(refs)


def test_whether_a_model_takes_images_is_not_known_of_mocks() -> None:
    models = Models({})

    assert [models.takes_images(name) for name in ("gpt-4o", "o3-mini", "mock/echo")] == [
        True,
        False,
        None,
    ]


def test_an_unknown_mock_is_a_problem() -> None:
    # No manifest has one, but `AGENTD_MODEL` may.
    ref = ModelRef.model_construct(name="mock/ecko")

    assert Models({}).check(ref) == ["`mock/ecko` is not a mock model; did you mean `mock/echo`?"]


def test_the_problems_of_a_script_are_found() -> None:
    ref = ModelRef(name="mock/script", script=[{"tex": "x"}])
    with pytest.raises(ModelError, match="unknown key `tex`") as caught:
        Models({}).open(ref)
    assert caught.value.code == "model_config"


def test_a_script_from_a_file_is_given_beside_its_ref() -> None:
    ref = ModelRef(name="mock/script", script="turns.yaml")
    models = Models({})
    assert models.check(ref)
    assert models.check(ref, ["hello"]) == []
    assert models.open(ref, ["hello"]).is_mock
    assert models.open(ref, ["hello"]) is models.open(ref, ["hello"])
    assert models.open(ref, ["hello"]) is not models.open(ref, ["goodbye"])


@pytest.mark.parametrize(
    ("fields", "marks"),
    [
        ({"name": "anthropic/claude-x", "prompt_cache": True}, True),
        ({"name": "anthropic/claude-x"}, False),
        (
            {"name": "openai/x", "api_base": "https://openrouter.ai/api/v1", "prompt_cache": True},
            True,
        ),
        ({"name": "openai/gpt-4o", "prompt_cache": True}, False),
        ({"name": "mock/echo", "prompt_cache": True}, True),
    ],
)
def test_openai_itself_gets_no_marks_for_its_cache(fields: dict[str, Any], marks: bool) -> None:
    keys = {**KEY, "ANTHROPIC_API_KEY": "sk-ant"}
    model = Models(keys).open(ModelRef.model_validate(fields))
    assert isinstance(model, ConfiguredModel) is marks
