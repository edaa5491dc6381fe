"""`openapi:` tools against a real server: documents in files and at URLs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web

from agentd.tools.toolbox import Toolbox
from tests.integration.http_site import Site, running
from tests.integration.workshop import call
from tests.waiting import until

if TYPE_CHECKING:
    from tests.integration.conftest import Team

PETS: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "pets.yaml").read_text())


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(tmp_path) as site:
        yield site


def fetched(site: Site, **fields: Any) -> dict[str, Any]:
    """An entry with a document and an API at the site."""
    own = {"document": site.url("/pets.json"), "base_url": site.url("/v1")}
    return {"openapi": {**own, "allow_private": ["api.test"], **fields}}


def names(toolbox: Toolbox) -> set[str]:
    return set(toolbox.tools)


ALL = {"listPets", "create_pet", "create_pet_2", "get_pets_petId_json"}


async def test_the_operations_of_a_file_are_tools(site: Site) -> None:
    site.on("/v1/pets", {"pets": ["Rex"]})
    site.environ["KEY"] = "s3cret-key"
    toolbox = site.open(
        {
            "openapi": {
                "document": "pets.yaml",
                "base_url": site.url("/v1"),
                "headers": {"Authorization": "Bearer ${KEY}"},
                "allow_private": ["api.test"],
            },
            "name": "pets",
            "deny": ["create_pet_2"],
        },
        pets=PETS,
    )

    assert names(toolbox) == {f"pets_{name}" for name in ALL - {"create_pet_2"}}
    listed = await call(toolbox, "pets_listPets", tags=["a&b", "c"])
    assert json.loads(listed.text) == {"pets": ["Rex"]}
    made = await call(toolbox, "pets_create_pet", body={"name": "Rex", "kind": "dog"})
    assert not made.error
    assert [(seen.method, seen.target, seen.body) for seen in site.seen] == [
        ("GET", "/v1/pets?tags=a%26b&tags=c", b""),
        ("POST", "/v1/pets", b'{"name": "Rex", "kind": "dog"}'),
    ]
    assert site.seen[0].headers["Authorization"] == "Bearer s3cret-key"


async def test_arguments_that_do_not_fit_are_not_sent(site: Site) -> None:
    toolbox = site.open(fetched(site, document="pets.yaml"), pets=PETS)

    for body in ({"kind": "dog"}, {"name": "Rex", "kind": "bird"}, {"name": 1}, [], None):
        answer = await call(toolbox, "create_pet", body=body)
        assert answer.error
        assert "do not fit its schema" in answer.text
    assert site.seen == []


@pytest.mark.parametrize("written", [json.dumps(PETS), yaml.safe_dump(PETS)], ids=["json", "yaml"])
async def test_a_document_is_fetched_while_agents_run(site: Site, written: str) -> None:
    site.on("/pets.json", text=written)
    toolbox = site.open(fetched(site) | {"required": True})
    assert names(toolbox) == set()
    assert toolbox.missing == (f"{site.url('/pets.json')} is being fetched",)

    await until(lambda: not toolbox.missing)

    assert names(toolbox) == ALL
    answer = await call(toolbox, "get_pets_petId_json", petId=7)
    assert json.loads(answer.text) == {"path": "/v1/pets/7.json"}


async def test_a_document_is_fetched_until_that_succeeds(site: Site) -> None:
    answers = iter([(503, "later"), (200, "<html>"), (200, json.dumps(PETS))])

    async def answer(request: web.Request) -> web.Response:
        del request
        status, text = next(answers)
        return web.Response(status=status, text=text)

    site.handlers["/pets.json"] = answer
    toolbox = site.open(fetched(site) | {"required": True})
    troubles: set[str] = set()
    await until(lambda: bool(troubles.update(toolbox.missing)) or not toolbox.missing)

    assert names(toolbox) == ALL
    assert len(site.seen) == 3
    assert any("answered 503 Service Unavailable" in trouble for trouble in troubles)


async def test_a_document_is_fetched_once_for_all_toolboxes(site: Site) -> None:
    site.on("/pets.json", PETS)
    first, second = site.open(fetched(site)), site.open(fetched(site) | {"allow": ["listPets"]})
    await until(lambda: bool(first.tools and second.tools))
    third = site.open(fetched(site) | {"name": "p", "allow": ["create_pet"]})

    assert (names(first), names(second), names(third)) == (ALL, {"listPets"}, {"p_create_pet"})
    assert len(site.seen) == 1


@pytest.mark.parametrize(
    ("document", "fields", "words"),
    [
        ({"swagger": "2.0"}, {}, "/pets.json is Swagger 2.0"),
        (
            PETS,
            {"base_url": None, "headers": {"X-Key": "k"}},
            "query` of the manifest to https://api.pets.test",
        ),
        (
            {**PETS, "paths": {f"/{n}": {"get": {}} for n in range(9999)}},
            {},
            "has 9,999 operations",
        ),
    ],
)
async def test_a_document_that_cannot_be_used_is_reported(
    site: Site, document: Any, fields: Any, words: str
) -> None:
    site.on("/pets.json", document)
    toolbox = site.open(fetched(site, **fields) | {"required": True})

    await until(lambda: words in "".join(toolbox.missing))

    assert names(toolbox) == set()


async def test_a_document_at_a_private_address_is_not_fetched(site: Site) -> None:
    toolbox = site.open(fetched(site, allow_private=False) | {"required": True})

    await until(lambda: "is not a public address" in "".join(toolbox.missing))

    assert site.seen == []


async def test_fetching_ends_with_the_last_toolbox(site: Site) -> None:
    asked = asyncio.Event()

    async def refuse(request: web.Request) -> web.Response:
        del request
        asked.set()
        return web.Response(status=503)

    site.handlers["/pets.json"] = refuse
    before = asyncio.all_tasks()
    toolbox = site.open(fetched(site))
    fetching = asyncio.all_tasks() - before
    assert len(fetching) == 1
    await asked.wait()
    del toolbox

    async with asyncio.timeout(20):
        await asyncio.gather(*fetching)


async def test_an_agent_calls_an_operation(site: Site, team: Team) -> None:
    site.on("/v1/pets", {"pets": ["Rex"]})
    team.openers["openapi"] = site.openapi
    (team.folder / "manifests").mkdir(exist_ok=True)
    (team.folder / "manifests" / "pets.yaml").write_text(yaml.safe_dump(PETS))
    await team.run(
        keeper=f"""
        capabilities: [pets]
        tools:
          - openapi:
              document: pets.yaml
              base_url: {site.url("/v1")}
              allow_private: [api.test]
            allow: [listPets]
        model:
          name: mock/script
          script: [{{tool_calls: [{{name: listPets, arguments: {{}}}}]}}, One is Rex.]
        """
    )

    assert (await team.ask("pets", "Which pets?"))["data"] == "One is Rex."
    assert [seen.target for seen in site.seen] == ["/v1/pets"]
