"""The HTTP server over real sockets: its port, its start and its end, and health."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from typing import Any

import aiohttp
import pytest
from serving import serving

from agentd.doors.limits import Limits
from agentd.doors.server import HttpServer
from agentd.errors import StartError, UsageError
from agentd.metrics import Metrics


def loopbacks() -> list[str]:
    """The loopback addresses that this machine has."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return ["127.0.0.1"]
    return ["127.0.0.1", "[::1]"]


async def get(server: HttpServer, path: str) -> tuple[int, str, str]:
    """Status, content type and body."""
    async with aiohttp.ClientSession() as client, client.get(f"{server.url}{path}") as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def get_json(server: HttpServer, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as client, client.get(f"{server.url}{path}") as answer:
        return answer.status, await answer.json()


async def test_healthz_answers_while_the_event_loop_runs() -> None:
    async with serving(status=lambda: {"waiting_for": ["NATS"]}) as server:
        assert await get_json(server, "/healthz") == (200, {"alive": True})


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/else"])
@pytest.mark.parametrize(
    ("bind", "host", "answered"),
    [
        ("127.0.0.1:0", "127.0.0.1:8000", True),
        ("127.0.0.1:0", "localhost", True),
        ("127.0.0.1:0", "LOCALHOST:1", True),
        ("127.0.0.1:0", "[::1]:8000", True),
        ("127.0.0.1:0", "127.0.0.1.example.org", False),
        ("127.0.0.1:0", "rebound.example.org:8000", False),
        ("127.0.0.1:0", "192.168.0.1", False),
        ("127.0.0.1:0", "localhost@rebound.example.org", False),
        ("localhost:0", "rebound.example.org", False),
        ("localhost:0", "127.0.0.1", True),
        ("0.0.0.0:0", "agentd.default.svc:8000", True),
    ],
)
async def test_a_loopback_address_answers_only_to_its_own_names(
    path: str, bind: str, host: str, answered: bool
) -> None:
    """A page in a browser here can have its own name resolve to 127.0.0.1."""
    async with serving(bind) as server, aiohttp.ClientSession() as client:
        assert server.url is not None
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        async with client.get(f"{url}{path}", headers={"Host": host}) as answer:
            assert (answer.status != 421) is answered


async def test_readyz_lists_what_the_process_waits_for() -> None:
    waiting = ["NATS", "manifests"]
    async with serving(status=lambda: {"waiting_for": waiting, "agents": 6}) as server:
        assert await get_json(server, "/readyz") == (
            503,
            {"ready": False, "waiting_for": ["NATS", "manifests"], "agents": 6},
        )
        waiting.clear()
        assert await get_json(server, "/readyz") == (
            200,
            {"ready": True, "waiting_for": [], "agents": 6},
        )


async def test_metrics_are_in_the_format_of_prometheus() -> None:
    metrics = Metrics()
    metrics.task("analyst", "success", 0.1)
    async with serving(metrics=metrics) as server:
        status, content_type, body = await get(server, "/metrics")

    assert status == 200
    assert content_type.startswith("text/plain; version=")
    assert 'agent_tasks_total{agent_id="analyst",status="success"} 1.0' in body


async def test_many_scrapes_at_the_same_time_take_one_thread() -> None:
    class Slow(Metrics):
        made = 0

        def expose(self, accept: str = "") -> tuple[bytes, str]:
            self.made += 1
            time.sleep(0.3)
            return super().expose(accept)

    metrics = Slow()
    async with serving(metrics=metrics) as server:
        pages = await asyncio.gather(*(get(server, "/metrics") for _ in range(30)))
        assert {page[0] for page in pages} == {200}
        assert metrics.made < 10
        before = metrics.made
        await get(server, "/metrics")
        assert metrics.made == before + 1


async def test_other_paths_are_not_served_until_agents_run() -> None:
    async with serving() as server:
        status, content_type, body = await get(server, "/api/tasks")
    assert (status, content_type) == (503, "application/problem+json")
    assert '"code":"starting"' in body


async def test_a_second_process_without_a_flag_gets_a_free_port() -> None:
    async with serving(None) as first, serving(None) as second:
        assert first.url
        assert second.url != first.url
        assert (await get(second, "/healthz"))[0] == 200
        assert (await get(first, "/healthz"))[0] == 200


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error() -> None:
    async with serving() as first:
        assert first.url
        bind = first.url.removeprefix("http://")
        with pytest.raises(StartError, match=f"cannot listen on {bind}: address already in use"):
            async with serving(bind):
                pass


async def test_an_address_of_another_machine_is_an_error() -> None:
    reason = "cannot listen on 203.0.113.1:8000: cannot assign requested address"
    with pytest.raises(StartError, match=reason):
        async with serving("203.0.113.1:8000"):
            pass


async def test_closing_frees_the_port() -> None:
    async with serving() as server:
        assert server.url
        bind = server.url.removeprefix("http://")
        await get(server, "/healthz")
    assert server.url is None
    async with serving(bind) as again:
        assert again.url == f"http://{bind}"


async def test_a_client_that_keeps_its_connection_does_not_delay_the_shutdown() -> None:
    async with aiohttp.ClientSession() as client:
        async with serving() as server, client.get(f"{server.url}/healthz") as answer:
            await answer.read()
        assert server.url is None


async def test_off_starts_no_server() -> None:
    async with serving("off") as server:
        assert server.url is None


@pytest.mark.parametrize("host", loopbacks())
async def test_the_url_can_be_opened(host: str) -> None:
    async with serving(f"{host}:0") as server:
        assert re.fullmatch(rf"http://{re.escape(host)}:[1-9]\d*", server.url or "")
        assert (await get(server, "/healthz"))[0] == 200


@pytest.mark.parametrize(
    "bind",
    ["", "8000", "localhost", "127.0.0.1:", "127.0.0.1:70000", "::1:80", "http://x:80", "a b:80"],
)
def test_an_invalid_address_is_a_usage_error(bind: str) -> None:
    with pytest.raises(UsageError, match=r"like 127\.0\.0\.1:8000"):
        HttpServer(bind, Limits())


async def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(StartError, match=r"^cannot listen on 192\.0\.2\.1:8000: [^()]*$"):
        async with serving("192.0.2.1:8000"):
            pass
