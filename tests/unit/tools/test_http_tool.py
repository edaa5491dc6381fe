"""`http:` tools: what a manifest makes of them, and that errors keep the secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentd.catalog.catalog import Catalog, load
from agentd.catalog.spec import AgentSpec
from agentd.protocol.message import AgentIdentity, new
from agentd.templates.requests.request import BadRequest, HttpRequest
from agentd.tools.http_tool import HttpTools, RequestTool, place_of
from agentd.tools.port import Call, ToolError
from agentd.tools.secrets import Secrets
from agentd.tools.web.addresses import Reach
from agentd.tools.web.fetch import Web

TASK = new("task", "Work.", source=AgentIdentity(id="tester"))


async def no_money() -> float:
    return 0.0


async def unknown_host(host: str, port: int) -> Sequence[str]:
    raise OSError(f"no address for {host}:{port}")


def call(**arguments: Any) -> Call:
    return Call(arguments=arguments, key="k", timeout=5, task=TASK, agent="a", money=no_money)


def spec(folder: Path, *https: str) -> AgentSpec:
    (folder / "manifests").mkdir()
    tools = ", ".join(f"{{http: {http}}}" for http in https)
    manifest = f"capabilities: [a]\ninstructions: Hi.\ntools: [{tools}]\n"
    (folder / "manifests" / "a.yaml").write_text(manifest)
    catalog = load(folder / "manifests", environ={"TOKEN": "token-123456"})
    assert not catalog.problems, [problem.render() for problem in catalog.problems]
    return catalog.agents["a"]


def opened(folder: Path, http: str) -> Any:
    found = spec(folder, http)
    [tool] = HttpTools(Web(unknown_host)).open(found.manifest.tools[0], found).tools
    return tool


@pytest.mark.parametrize(
    ("url", "method", "name"),
    [
        ("https://api.test/v1/forecast?city={{ city }}", "GET", "forecast"),
        ("https://api.test/users/{{ id }}", "DELETE", "delete_users"),
        ("https://api.test/", "GET", "api_test"),
        ("https://api.test", "POST", "post_api_test"),
        ("https://api.test/a.b/{{ c }}-d", "GET", "-d"),
        (f"https://api.test/{'x' * 80}", "GET", "x" * 64),
    ],
)
def test_the_default_name_comes_from_the_address(
    tmp_path: Path, url: str, method: str, name: str
) -> None:
    assert opened(tmp_path, f"{{url: '{url}', method: {method}}}").name == name


def test_the_tool_has_the_schema_and_description_of_the_request(tmp_path: Path) -> None:
    http = "{url: 'https://api.test/{{ city }}?k=${TOKEN}', headers: {K: '{{ idempotency_key }}'}}"
    tool = opened(tmp_path, http)

    assert tool.description == "GET https://api.test/{{ city }}"
    assert tool.parameters["required"] == ["city"]
    assert tool.takes_key
    assert not tool.reach.private


def test_an_entry_is_found_by_identity_not_by_value(tmp_path: Path) -> None:
    found = spec(tmp_path, "{url: 'https://a.test'}")
    entry = found.manifest.tools[0]
    twin = entry.model_copy()
    both = replace(found, manifest=found.manifest.model_copy(update={"tools": (twin, entry)}))

    assert [place_of(each, both) for each in (entry, twin)] == [1, 0]


@pytest.mark.parametrize(
    ("http", "host"),
    [
        ("{url: 'http://127.0.0.1:8080/{{ x }}'}", "127.0.0.1"),
        ("{url: 'http://localhost/x'}", "localhost"),
        ("{url: 'http://[::1]/x'}", "::1"),
        ("{url: 'http://10.1.2.3/x', allow_private: [192.168.0.0/16]}", "10.1.2.3"),
        ("{url: 'http://169.254.169.254/x', allow_private: true}", "169.254.169.254"),
        ("{url: 'http://10.1.2.3/x', allow_private: [10.0.0.0/8]}", ""),
        ("{url: 'http://localhost/x', allow_private: true}", ""),
        ("{url: 'https://api.test/localhost'}", ""),
    ],
)
async def test_an_address_that_no_call_may_reach_is_an_error(
    tmp_path: Path, http: str, host: str
) -> None:
    found = await HttpTools(Web(unknown_host)).check(spec(tmp_path, http))

    text = f"{host} is not a public address, so every call would be refused"
    assert [each.text for each in found] == ([text] if host else [])
    assert all((each.line, each.severity) == (3, "error") for each in found)


class Refusing:
    """Makes no request."""

    def request(self, arguments: Mapping[str, Any], key: str) -> HttpRequest:
        raise BadRequest(f"cannot send {arguments['x']} with {key}")


async def test_arguments_that_make_no_request_are_an_error_without_secrets() -> None:
    secrets = Secrets(["token-123456"])
    tool = RequestTool("t", "", {}, False, Refusing(), Web(unknown_host), Reach(), secrets)

    with pytest.raises(ToolError) as caught:
        await tool.call(call(x="token-123456"))
    assert str(caught.value) == "cannot send [secret] with k"
    assert caught.value.__cause__ is None


async def test_a_host_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    found = spec(tmp_path, "{url: 'https://api.test/x'}")
    tools = HttpTools(Web(unknown_host))
    [tool] = tools.open(found.manifest.tools[0], found).tools

    with pytest.raises(ToolError, match=r"there is no host api\.test"):
        await tool.call(call())
    await tools.close()


def read(folder: Path, manifest: str, **environ: str) -> Catalog:
    (folder / "manifests").mkdir()
    (folder / "manifests" / "a.yaml").write_text(
        f"capabilities: [a]\ninstructions: Hi.\n{manifest}"
    )
    return load(folder / "manifests", environ=environ)


@pytest.mark.parametrize(
    ("http", "place", "words"),
    [
        ("{url: 'https://{{ host }}/x'}", "4:17", "`url` takes its host from an argument"),
        ("{url: https://a.test, pick: 'a..b'}", "4:39", "`pick` is not a valid path"),
        ("{url: https://a.test, headers: {Host: b}}", "4:49", "is set by agentd itself"),
        ("{url: https://a.test, allow_private: [10.0.0.1/8]}", "4:33", "hosts and networks"),
        ("{url: https://a.test, heders: {}}", "4:33", "unknown field `heders`; did you mean"),
    ],
)
def test_a_problem_has_its_place_in_the_file(
    tmp_path: Path, http: str, place: str, words: str
) -> None:
    catalog = read(tmp_path, f"tools:\n  - http: {http}\n")
    found = [problem.render() for problem in catalog.problems if problem.severity == "error"]

    assert len(found) == 1, found
    assert words in found[0]
    assert f"a.yaml:{place}: " in found[0]
