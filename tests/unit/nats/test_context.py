"""Contexts of the nats command line: found, read, and refused if agentd cannot use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import UsageError
from agentd.nats.context import DEFAULT_URL, home, read

SECRET = "s3cr3t"


def write(config: Path, name: str, content: str | bytes | dict[str, Any]) -> None:
    """A file in the folder of contexts of `config`."""
    folder = config / "context"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content) if isinstance(content, dict) else content
    (folder / f"{name}.json").write_bytes(text.encode() if isinstance(text, str) else text)


def named(config: Path, name: str) -> dict[str, str]:
    return {"NATS_CONFIG_HOME": str(config), "NATS_CONTEXT": name}


def test_without_contexts_there_is_none(tmp_path: Path) -> None:
    assert read({"HOME": str(tmp_path)}) is None


def test_the_variable_takes_precedence_over_the_selected_context(tmp_path: Path) -> None:
    for name in ("lab", "prod"):
        write(tmp_path, name, {"url": f"nats://{name}"})
    (tmp_path / "context.txt").write_text("prod\n")

    selected = read({"NATS_CONFIG_HOME": str(tmp_path)})
    assert selected is not None
    assert (selected.name, selected.url) == ("prod", "nats://prod")
    chosen = read(named(tmp_path, "lab"))
    assert chosen is not None
    assert (chosen.name, chosen.file) == ("lab", tmp_path / "context" / "lab.json")


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("NATS_CONFIG_HOME", "."),
        ("XDG_CONFIG_HOME", "nats"),
        ("HOME", ".config/nats"),
    ],
)
def test_contexts_are_read_from_the_folders_of_the_tool(
    tmp_path: Path, variable: str, folder: str
) -> None:
    write(tmp_path / folder, "lab", {"url": "nats://lab"})
    context = read({variable: str(tmp_path), "NATS_CONTEXT": "lab"})

    assert context is not None
    assert context.url == "nats://lab"


def test_empty_fields_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "x", {"url": "", "user": "me", "token": "", "nsc": "", "tls_first": None})
    context = read(named(tmp_path, "x"))

    assert context is not None
    assert context.url == DEFAULT_URL
    assert context.values == {"user": "me"}
    assert context.tls_first is False


def test_the_values_do_not_show_in_the_repr(tmp_path: Path) -> None:
    write(tmp_path, "x", {"token": SECRET, "tls_first": True})
    context = read(named(tmp_path, "x"))

    assert context is not None
    assert context.tls_first is True
    assert SECRET not in repr(context)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ('{\n "url": x}', r"bad\.json:2:9: "),
        ("[]", r"bad\.json: should be a JSON object"),
        (b"\xff\xfe\x00", r"bad\.json: not UTF-8"),
        ({"token": [SECRET]}, r'bad\.json: "token" should be a string'),
        ({"tls_first": "yes"}, r'bad\.json: "tls_first" should be true or false'),
        ({"nsc": "nsc://a/b"}, r'bad\.json: agentd cannot use "nsc"; set NATS_URL'),
        ({"socks_proxy": "x"}, r'bad\.json: agentd cannot use "socks_proxy"'),
        ({"password": f"op://{SECRET}"}, r'bad\.json: agentd cannot look up the op: of "password"'),
        ({"creds": f"data:{SECRET}"}, r'the data: of "creds"'),
    ],
)
def test_the_error_names_the_file_and_the_field_and_no_value(
    tmp_path: Path, content: str | bytes | dict[str, Any], error: str
) -> None:
    write(tmp_path, "bad", content)
    with pytest.raises(UsageError, match=error) as raised:
        read(named(tmp_path, "bad"))
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("prdo", "; did you mean `prod`?"),
        ("other", "; existing ones: lab, prod"),
        ("../context/prod", "; existing ones: lab, prod"),
        ("/etc/passwd", "; existing ones: lab, prod"),
    ],
)
def test_a_context_that_does_not_exist_is_an_error_with_a_hint(
    tmp_path: Path, name: str, hint: str
) -> None:
    for existing in ("lab", "prod"):
        write(tmp_path, existing, {})
    with pytest.raises(UsageError) as raised:
        read(named(tmp_path, name))
    assert str(raised.value) == f"NATS_CONTEXT={name}: there is no such nats context{hint}"

    (tmp_path / "context.txt").write_text(name)
    with pytest.raises(UsageError, match=r"context\.txt selects"):
        read({"NATS_CONFIG_HOME": str(tmp_path)})


def test_without_any_context_the_error_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"no such nats context in {tmp_path / 'context'}"):
        read(named(tmp_path, "x"))


def test_the_home_folder_is_that_of_the_environment() -> None:
    assert home({"HOME": "/somewhere"}) == Path("/somewhere")
    assert home({}) == Path.home()
