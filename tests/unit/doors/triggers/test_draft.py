"""The task that a trigger makes of a delivery."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentd.catalog.catalog import load
from agentd.doors.triggers.delivery import Delivery, of_file, of_request
from agentd.doors.triggers.draft import Draft, TriggerError, draft
from agentd.run.attachments import attachment

Made = Callable[..., Draft | None]

WEBHOOK = {"webhook": "w", "verify": {"bearer": "t"}}
FILES = {"files": "inbox/*"}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """The draft of a trigger for a body, or for another delivery."""

    def make(
        trigger: dict[str, Any], body: bytes = b"{}", *, delivery: Delivery | None = None
    ) -> Draft | None:
        folder = tmp_path / "manifests"
        folder.mkdir(exist_ok=True)
        manifest = {"capabilities": ["a"], "instructions": "Hi.", "triggers": [trigger]}
        (folder / "a.yaml").write_text(json.dumps(manifest))
        catalog = load(folder, environ={})
        spec = catalog.agents["a"]
        found = delivery or of_request("bearer", {"x-kind": "order"}, b"q=1", body)
        return draft(spec, spec.manifest.triggers[0], found)

    return make


def one(found: Draft | None) -> Draft:
    assert found is not None
    return found


def test_by_default_the_body_is_the_content_and_the_agent_itself_gets_it(made: Made) -> None:
    found = one(made(WEBHOOK, b'{"a": 1}'))
    task = found.message("t" * 32)

    assert (str(found.to), found.content) == ("@a", {"a": 1})
    assert (task.id, task.context.conversation_id) == ("t" * 32, "t" * 32)
    assert (task.source.id, task.source.type) == ("w", "webhook")
    assert task.context.metadata["trigger"]["delivery"] == found.delivery


def test_expressions_choose_what_the_task_is(made: Made) -> None:
    trigger = WEBHOOK | {
        "when": "headers['x-kind'] == 'order'",
        "id": "body.id",
        "task": "review.order",
        "content": "{'instruction': body.text ~ query.q}",
        "conversation": "body.thread",
        "priority": 7,
        "callback": "body.reply",
    }
    body = b'{"id": 5, "text": "Hi", "thread": "t1", "reply": "https://a.example/x"}'
    found = one(made(trigger, body))

    assert (found.delivery, str(found.to)) == ("5", "review.order")
    assert (found.content, found.conversation) == ({"instruction": "Hi1"}, "t1")
    assert found.callback == "https://a.example/x"
    assert found.message("t").routing.priority == 7
    assert found.message("t").context.conversation_id == "t1"


def test_nothing_is_started_where_when_is_not_true(made: Made) -> None:
    trigger = WEBHOOK | {"when": "body.a == 2"}

    assert made(trigger, b'{"a": 1}') is None
    assert made(trigger, b'{"a": 2}') is not None


def test_the_url_of_the_manifest_is_not_stored_with_the_task(made: Made) -> None:
    assert one(made(WEBHOOK | {"callback": "https://a.example/secret"})).callback is None


@pytest.mark.parametrize(
    ("field", "expression", "problem"),
    [
        ("when", "body.missing", "'body' has no 'missing'"),
        ("id", "body.x", "must give a text"),
        ("id", "body.empty", "must give a text"),
        ("id", "body.flag", "must give a text"),
        ("conversation", "body.x", "must give a text"),
        ("callback", "body.x", "must give a URL"),
        ("callback", "body.file", "must give a URL"),
        ("content", "'x' * 10 ** 9", "the limit is"),
    ],
)
def test_an_expression_that_fails_says_which(
    made: Made, field: str, expression: str, problem: str
) -> None:
    body = b'{"x": [], "empty": "", "flag": true, "file": "file:///etc/passwd"}'

    with pytest.raises(TriggerError) as caught:
        made(WEBHOOK | {field: expression}, body)

    assert str(caught.value).startswith(f"{field}: {expression}: ")
    assert problem in str(caught.value)


def test_a_body_is_a_value_and_never_a_template(made: Made) -> None:
    hostile = "{{ 7 * 7 }} {% include 'x' %}"
    found = one(made(WEBHOOK | {"content": "body"}, json.dumps(hostile).encode()))

    assert found.content == hostile


def test_equal_deliveries_have_one_seed_and_others_have_another(made: Made) -> None:
    trigger = WEBHOOK | {"id": "body.id"}
    seeds = [one(made(trigger, b'{"id": %d}' % number)).seed for number in (1, 1, 2)]

    assert seeds[0] == seeds[1] != seeds[2]


def file(name: str = "a.txt") -> Delivery:
    return of_file(attachment(b"text", name, name), f"inbox/{name}")


def test_a_file_is_attached_to_the_content(made: Made) -> None:
    plain = one(made(FILES, delivery=file()))
    chosen = one(made(FILES | {"content": "'Sum up ' ~ file.name"}, delivery=file()))

    assert plain.content["instruction"] == "a.txt"
    assert [part["name"] for part in plain.content["parts"]] == ["a.txt"]
    assert chosen.content["instruction"] == "Sum up a.txt"
    assert [each.data for each in chosen.files] == [b"text"]


def test_a_file_cannot_be_attached_to_a_number(made: Made) -> None:
    with pytest.raises(TriggerError, match="content: "):
        made(FILES | {"content": "7"}, delivery=file())
