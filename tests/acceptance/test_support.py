"""The example in examples/support: a webhook, a refund that a person changes, the answer back."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from outside import Daemon, Project, until

SUPPORT = Path(__file__).parents[2] / "examples" / "support"
REQUEST = {"customer": "Ann", "order": "A-17", "text": "My kettle leaks. I want my money back."}


@pytest.fixture
def support(project: Project) -> Project:
    """A project with a copy of the example."""
    shutil.copytree(SUPPORT, project.root, dirs_exist_ok=True)
    return project


def post(up: Daemon, path: str, body: Any, **headers: str) -> str:
    """Posts JSON; returns what is answered."""
    data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(up.http + path, data, {**kind, **headers})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def waiting(up: Daemon) -> list[dict[str, Any]]:
    return json.loads(up.get("/api/approvals")[1])["approvals"]


async def test_a_customer_is_answered_after_a_person_has_changed_the_refund(
    support: Project,
) -> None:
    up = support.up().ready()
    asking = asyncio.create_task(
        asyncio.to_thread(post, up, "/hooks/support", REQUEST, Authorization="Bearer change-me")
    )
    await asyncio.to_thread(until, lambda: len(waiting(up)) == 1, "a request for approval")
    [approval] = waiting(up)
    assert approval["calls"][0]["arguments"] == {"order": "A-17", "usd": 80}
    edit = {"decision": "edit", "arguments": {"order": "A-17", "usd": 40}}
    path = f"/api/approvals/{approval['task']}"
    decided = json.loads(await asyncio.to_thread(post, up, path, edit))
    assert decided["calls"][0]["decision"] == "edited"
    assert "We have refunded" in await asking
    shown = json.loads(up.get(path)[1])
    assert shown["calls"][0]["arguments"]["usd"] == 80
    assert shown["decisions"][0]["arguments"]["usd"] == 40
    async with support.wire() as wire:
        told = [each.content["data"] for each in await wire.recorded("result._agent.notifier.>")]
    assert "told the team: refunds waits for a decision on refund" in told


async def test_its_tests_pass_and_call_the_functions_of_its_tools(support: Project) -> None:
    done = await support.run("test", "manifests")
    assert done.code == 0, done.out + done.err
    assert "4 passed" in done.out
