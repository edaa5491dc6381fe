"""Users with the permissions of docs/operations.md, on a server that enforces them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from outside import Done, Project, projects

from agentd.nats.streams import JOINS
from agentd.protocol.server_subjects import api, direct_get
from agentd.protocol.subjects import matches
from tests.nats_servers import JETSTREAM, server

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
TOOL = '''\
def pay(usd: float) -> str:
    """Pays."""
    return "paid"
'''


def documented() -> str:
    """The configuration with the users of each role; the password of each is `p`."""
    [text] = re.findall(r"```conf\n(authorization.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return text.replace("change-me", "p")


def test_only_up_may_read_the_secret() -> None:
    """With it, a sender could sign the topic of a task, and answer for others."""
    roles = re.split(r"\{ user: (\w+)", documented())[1:]
    allowed = {
        user: re.findall(r'"([^"]+)"', lists.partition("publish:")[2].partition("subscribe:")[0])
        for user, lists in zip(roles[::2], roles[1::2], strict=True)
    }
    reads = (direct_get(JOINS), direct_get(JOINS, "x"), api(f"STREAM.MSG.GET.{JOINS}"))
    assert list(allowed) == ["up", "sender", "reader", "auditor", "approver"]
    assert [
        user
        for user, patterns in allowed.items()
        if any(matches(pattern, read) for pattern in patterns for read in reads)
    ] == ["up"]


class Guarded:
    """A server with limited users, a project on it, and commands of one user."""

    def __init__(self, url: str, log: Path, project: Project, typed: Callable[..., Done]) -> None:
        self._url = url
        self._log = log
        self._typed = typed
        self.project = project

    def url(self, user: str) -> str:
        return self._url.replace("://", f"://{user}:p@")

    def run(self, user: str, *line: str) -> Done:
        self.project.environ["NATS_URL"] = self.url(user)
        return self._typed(self.project, *line)

    def violations(self) -> list[str]:
        return [line for line in self._log.read_text().splitlines() if "Violation" in line]


@pytest.fixture
def guarded(
    request: pytest.FixtureRequest, tmp_path: Path, typed: Callable[..., Done]
) -> Iterator[Guarded]:
    """The parameter has permissions that are removed from all users."""
    users = documented()
    for permission in getattr(request, "param", ()):
        assert permission in users
        users = users.replace(f'"{permission}", ', "")
    config = f"max_payload: 64KB\n{JETSTREAM.format(folder=tmp_path)}{users}"
    with server(tmp_path, config) as url:
        for project in projects(tmp_path / "project"):
            yield Guarded(url, tmp_path / "nats.log", project, typed)


def test_each_role_works_with_its_documented_permissions(guarded: Guarded) -> None:
    project = guarded.project
    project.agent("me", "schedule: {every: 1h, task: go}")
    project.agent("hears", "subscribe: [event.x.*]")
    project.write("tools/bank.py", TOOL)
    script = "{tool_calls: [{name: pay, arguments: {usd: 5}}]}, Paid."
    project.agent(
        "payer",
        f"model: {{name: mock/script, script: [{script}]}}",
        'tools: [{python: "bank.py:pay", approval: true}]',
    )
    daemon = project.up(NATS_URL=guarded.url("up")).ready()
    project.write("long.txt", "long " * 40_000)

    project.write("both.json", '{"id": "both", "payload": {"content": "hi"}}')

    for user, line, shown in (
        ("sender", "ask me hello", "hello"),
        ("sender", "ask @me hello", "hello"),
        ("sender", "ask me --file long.txt read", "long"),
        ("reader", "route payer both.json", "payer"),
        ("sender", "send payer both.json", "sent"),
        ("reader", "ps", "payer"),
        ("reader", "schedules ls", "me"),
        ("reader", "dlq ls", ""),
        ("reader", "tap --all --count 1", "event."),
        ("reader", "log --agent me --grep hello", "result."),
        ("reader", "cost", "me"),
        ("auditor", "audit witness", "cosigned"),
        ("auditor", "audit verify", "nothing is wrong"),
        ("approver", "approvals ls", "pay"),
        ("approver", "approvals approve both", "approved"),
    ):
        done = guarded.run(user, *line.split())
        assert done.code == 0, done.err
        assert shown in done.out

    assert daemon.stop() == 0
    assert guarded.violations() == []
    assert "permissions" not in daemon.err


@pytest.mark.parametrize(
    ("guarded", "named"),
    [
        (
            ("$KV.agentd_joins.dev.>", "$JS.ACK.AGENTD_WORK.>"),
            ("publish to what", '"$KV.agentd_joins.dev._probe"', '"$JS.ACK.AGENTD_WORK._probe.'),
        ),
        (("ring.dev.>", "stored.dev.>"), ("subscribe to what agentd needs", '"ring.dev.>"')),
    ],
    indirect=["guarded"],
)
def test_a_start_names_every_missing_permission_as_it_is_written(
    guarded: Guarded, named: tuple[str, ...]
) -> None:
    guarded.project.agent("me")

    up = guarded.project.up(NATS_URL=guarded.url("up"))

    assert up.wait() == 3
    for text in named:
        assert text in up.err
