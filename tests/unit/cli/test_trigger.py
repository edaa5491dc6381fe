"""`agentd trigger` on files: what it shows, and what is wrong with the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentd.cli import app
from agentd.errors import UsageError

MANIFEST = """
capabilities: [a]
instructions: Hi.
triggers:
  - webhook: github
    verify: {github: s3cret}
    when: headers['x-github-event'] == 'push'
    content: body.text ~ query.q
    callback: body.reply
  - nats: orders.*
    content: subject
  - files: inbox/*
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "a.yaml").write_text(MANIFEST)
    (tmp_path / "body.json").write_text('{"text": "Hi", "reply": "https://a.example/x"}')


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["trigger", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def shown(*arguments: str) -> Any:
    code, text = run(*arguments, "--json")
    assert code == 0
    return json.loads(text)


def test_it_shows_the_task_that_a_request_starts() -> None:
    headers = ["--header", "X-GitHub-Event: push", "-H", "X-GitHub-Delivery: d1"]
    found = shown("github", "body.json", *headers, "--query", "q=!")

    assert (found["to"], found["delivery"]) == ("@a", "d1")
    assert found["task"]["payload"]["content"] == "Hi!"
    assert found["callback"] == "https://a.example/x"


def test_it_says_that_when_is_not_true() -> None:
    code, text = run("github", "body.json", "-H", "X-GitHub-Event: ping")

    assert (code, text.partition(":")[0]) == (1, "no task")


def test_it_shows_the_task_of_a_message_and_of_a_file() -> None:
    message = shown("orders.*", "body.json", "--subject", "orders.created")
    file = shown("inbox/*", "body.json")

    assert message["task"]["payload"]["content"] == "orders.created"
    assert file["task"]["payload"]["content"]["parts"][0]["name"] == "body.json"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("githb", "body.json"), "did you mean `github`?"),
        (("xyz", "body.json"), "the triggers are: github, inbox/*, orders.*"),
        (("github", "missing.json"), "missing.json: No such file"),
    ],
)
def test_a_wrong_command_line_is_explained(arguments: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(*arguments)

    assert problem in str(caught.value)


def test_a_header_needs_a_colon() -> None:
    assert run("github", "body.json", "-H", "nothing")[0] == 2
