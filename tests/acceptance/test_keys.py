"""`agentd keys`, and a process that accepts its keys."""

from __future__ import annotations

import json
import stat
import urllib.error
import urllib.request

from outside import Project


def get(url: str, key: str = "") -> tuple[int, str]:
    """The status of a GET, and the code of its problem."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["code"]


async def test_keys_open_an_address_that_others_reach(project: Project) -> None:
    project.agent("analyst")
    up = project.up(http="0.0.0.0:0").ready()
    assert "nothing else without a key" in up.out
    url = up.http.replace("0.0.0.0", "127.0.0.1")
    assert get(f"{url}/readyz") == (200, "")
    assert get(f"{url}/nosuch") == (401, "unauthorized")

    made = await project.run("keys", "add", "ci", "--may", "ask, read", "--expires", "90d")
    assert made.code == 0
    assert "the only time" in made.err
    key = made.out.strip()
    assert get(f"{url}/nosuch", key) == (404, "not_found")
    assert get(f"{url}/nosuch", key[:-1]) == (401, "unauthorized")
    file = project.root / ".agentd" / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (file.parent / ".gitignore").read_text() == "*\n"

    listed = await project.run("keys")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["KEY", "ci"]
    assert "ask, read" in listed.out
    as_json = json.loads((await project.run("keys", "ls", "--json")).out)
    assert [(each["name"], each["may"]) for each in as_json] == [("ci", ["ask", "read"])]
    assert key not in listed.out + up.err
    assert (await project.run("keys", "revoke", "ci")).out == "ci revoked\n"
    assert get(f"{url}/nosuch", key) == (401, "unauthorized")
    assert get(f"{url}/healthz") == (200, "")
    assert up.stop() == 0


async def test_a_wrong_key_is_a_mistake_of_the_command_line(project: Project) -> None:
    for line, says in (
        ("add ci --may fly", "approve, ask, operate, read"),
        ("add ci --may ask --expires soon", "--expires soon"),
        ("add ci --may ask --agents a.b", "a.b"),
        ("revoke nobody", "nobody"),
    ):
        done = await project.run("keys", *line.split())
        assert (done.code, done.out) == (2, "")
        assert says in done.err
    assert (await project.run("keys")).out.startswith("no ")
