"""Secrets: which texts of a tool are secret, and that they are hidden in every encoding."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from agentd.catalog.catalog import load
from agentd.catalog.spec import AgentSpec
from agentd.manifest.yaml.nodes import environment_values
from agentd.tools.secrets import HIDDEN, Secrets, secrets_of

SECRET = "s3cret/+ö k"


def spec(folder: Path, tools: str, **environ: str) -> AgentSpec:
    (folder / "manifests").mkdir()
    manifest = f"capabilities: [a]\ninstructions: Hi.\ntools: {tools}\n"
    (folder / "manifests" / "a.yaml").write_text(manifest)
    catalog = load(folder / "manifests", environ=environ)
    assert not catalog.problems
    return catalog.agents["a"]


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_hidden_in_every_encoding(form: str) -> None:
    assert Secrets([SECRET]).hide(f"a {form} b") == f"a {HIDDEN} b"


def test_a_short_text_is_not_hidden() -> None:
    assert Secrets(["short"]).hide("a short text") == "a short text"
    assert Secrets(["longer"]).hide("a longer text") == f"a {HIDDEN} text"


def test_the_longer_of_two_secrets_is_hidden_as_a_whole() -> None:
    assert Secrets(["secret-1", "secret-12"]).hide("secret-12") == HIDDEN


def test_secrets_are_hidden_in_names_and_values_of_data() -> None:
    secrets = Secrets([SECRET])
    value = {"a": [SECRET, 1, None, True], SECRET: {"b": f"<{SECRET}>"}}

    assert secrets.hide_in(value) == {
        "a": [HIDDEN, 1, None, True],
        HIDDEN: {"b": f"<{HIDDEN}>"},
    }


def test_without_secrets_nothing_changes() -> None:
    value = {"a": ["text"]}

    assert Secrets([]).hide("text") == "text"
    assert Secrets([]).hide_in(value) is value


def test_values_from_the_environment_are_secrets_of_their_entry(tmp_path: Path) -> None:
    text = (
        "[{http: {url: 'https://a.test/x?k=${KEY}', headers: {A: 'B ${TOKEN}'}}},"
        " {http: {url: 'https://b.test/${OTHER}'}}]"
    )
    found = spec(tmp_path, text, KEY="key-123456", TOKEN="token-123456", OTHER="other-123456")

    secrets = secrets_of(found, 0, headers={}, origins=["https://a.test"])

    assert secrets.hide("key-123456 token-123456") == f"{HIDDEN} {HIDDEN}"
    assert secrets.hide("other-123456") == "other-123456"
    assert {"key-123456", "token-123456"} <= set(environment_values(found.root))


def test_a_part_of_the_address_is_no_secret(tmp_path: Path) -> None:
    found = spec(tmp_path, "[{http: {url: 'https://${HOST}/x'}}]", HOST="api.test")

    secrets = secrets_of(found, 0, headers={}, origins=["https://api.test"])

    assert secrets.hide("https://api.test/x") == "https://api.test/x"


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("Authorization", True),
        ("X-Api-Key", True),
        ("Cookie", True),
        ("X-Auth-Token", True),
        ("Accept", False),
        ("User-Agent", False),
    ],
)
def test_the_values_of_credential_headers_are_secrets(
    tmp_path: Path, name: str, hidden: bool
) -> None:
    found = spec(tmp_path, "[{http: {url: 'https://a.test'}}]")

    secrets = secrets_of(found, 0, headers={name: "Bearer abcdef-{{ x }}"}, origins=[])

    assert (secrets.hide("abcdef-1") == f"{HIDDEN}1") is hidden
