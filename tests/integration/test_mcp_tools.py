"""MCP servers: what they offer, how they fail and come back, and that none is left running."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agentd.catalog.catalog import load
from agentd.errors import TaskError
from agentd.problems import errors
from agentd.protocol.message import AgentIdentity, new
from agentd.tools.mcp.server import TimeLimits
from agentd.tools.mcp_tool import McpServers, McpSource
from agentd.tools.port import Call, ToolError
from tests.integration.test_turns import journal
from tests.recorded_spans import ids, recorded
from tests.waiting import until

if TYPE_CHECKING:
    from tests.integration.conftest import Team

PROGRAMS = Path(__file__).parent / "mcp_servers"
EVERYTHING = [sys.executable, str(PROGRAMS / "everything.py")]
FAULTY = [sys.executable, "-I", "-S", str(PROGRAMS / "faulty.py")]
QUICK = TimeLimits(first_pause=0.05, longest_pause=0.5, linger=0.05)
TEXTS = {
    "resources": {"readme": "file:///readme", "logo": "file:///logo"},
    "prompts": {"review": {"prompt": "review", "arguments": {"language": "Go"}}},
}


def processes(mark: str) -> list[str]:
    """The programs with `mark` in their environment."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue  # it has just ended, or is not ours
    return found


@pytest.fixture
def mark() -> str:
    """A mark for the programs of one test."""
    return secrets.token_hex(8)


class Bench:
    """Opens servers that a manifest declares."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.servers = McpServers({**os.environ, "OUR_SECRET": "s3cret"}, limits=QUICK)
        self._folder = folder
        self._mark = mark
        self._numbers = itertools.count()

    def open(self, *command: str, mcp: dict[str, Any] | None = None, **more: Any) -> McpSource:
        server: dict[str, Any] = {**(mcp or {})}
        if command:
            server |= {"command": command, "env": {"MARK": self._mark}}
        manifest = {"capabilities": [], "instructions": "Hi.", "tools": [{"mcp": server, **more}]}
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        (folder / "me.yaml").write_text(json.dumps(manifest))
        catalog = load(folder)
        assert not errors(catalog.problems), catalog.problems
        spec = catalog.agents["me"]
        return self.servers.open(spec.manifest.tools[0], spec)

    async def there(self, *command: str, **more: Any) -> McpSource:
        source = self.open(*command, **more)
        await until(lambda: not source.trouble)
        return source


@pytest.fixture
async def bench(tmp_path: Path, mark: str) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, mark)
    yield bench
    await bench.servers.close()
    await until(lambda: not processes(mark))


async def call(source: McpSource, name: str, **arguments: Any) -> Any:
    [tool] = [tool for tool in source.tools if tool.name == name]
    task = new("task", "x", source=AgentIdentity(id="me"))
    return await tool.call(
        Call(arguments=arguments, key="k1", timeout=20, task=task, agent="me", money=_enough)
    )


async def started_again(source: McpSource, before: str) -> None:
    """Waits until the server runs in another process than `before`."""
    async with asyncio.timeout(20):
        for delay in itertools.repeat(0.05):
            with contextlib.suppress(ToolError, ValueError):  # it is not there, nor are its tools
                if await call(source, "pid") != before:
                    return
            await asyncio.sleep(delay)


async def _enough() -> float:
    return 1.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextlib.asynccontextmanager
async def running(command: list[str]) -> AsyncGenerator[None]:
    """Runs a program that agentd did not start."""
    program = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    yield
    program.kill()
    await program.wait()


@pytest.fixture(params=["stdio", "http"])
async def everything(request: pytest.FixtureRequest, bench: Bench) -> AsyncIterator[McpSource]:
    """The server with every feature, over either transport."""
    if request.param == "stdio":
        yield await bench.there(*EVERYTHING, mcp=TEXTS)
        return
    port = free_port()
    async with running([*EVERYTHING, str(port)]):
        yield await bench.there(mcp={"url": f"http://127.0.0.1:{port}/mcp", **TEXTS})


async def test_all_features_of_a_server_can_be_used(everything: McpSource) -> None:
    assert await call(everything, "echo", text="hi") == "hi"
    assert json.loads(await call(everything, "add", a=1, b=2)) == {"value": 3}
    assert await call(everything, "picture") == (
        "Here:\n[image/png, 12 kB]\na note\n[readme: file:///readme]"
    )
    assert await call(everything, "long", steps=20) == "20 steps"
    assert await call(everything, "tell") == "k1"
    assert await everything.prepare() == {
        "readme": "Read me.",
        "logo": "[image/png, 2 kB, file:///logo]",
        "review": "Review this Go code.",
    }


async def test_a_call_names_the_span_of_its_tool(everything: McpSource) -> None:
    with recorded() as found:
        with found.tracer.tool("tell", "{}", call_id="c", description="", agent="me"):
            parent = await call(everything, "tell", field="traceparent")
        trace, span = ids(found.one("execute_tool tell"))
    assert parent.startswith(f"00-{trace}-{span}-")


async def test_a_request_of_a_server_that_agentd_does_not_support_is_refused(
    everything: McpSource,
) -> None:
    assert await call(everything, "ask") == "the client offers []"
    with pytest.raises(ToolError, match="did not declare"):
        await call(everything, "confirm")
    with pytest.raises(ToolError, match="no luck today"):
        await call(everything, "fail")
    assert await call(everything, "echo", text="hi") == "hi"


async def test_a_server_that_reports_a_change_is_asked_again(everything: McpSource) -> None:
    assert (await everything.prepare())["readme"] == "Read me."
    await call(everything, "rewrite", text="Another one.")
    await call(everything, "grow")
    await until(lambda: any(tool.name == "grown" for tool in everything.tools))
    assert (await everything.prepare())["readme"] == "Another one."


async def test_changes_of_a_server_with_an_older_protocol_are_noticed(bench: Bench) -> None:
    source = await bench.there(*FAULTY, "banner")
    assert len(source.tools) == 13  # on three pages
    await call(source, "grow")
    await until(lambda: any(tool.name == "grown" for tool in source.tools))


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ([*FAULTY, "exits"], "faulty.py: exited with code 1: there is no database"),
        (["no-such-program"], "no-such-program: there is no program 'no-such-program'"),
        (["echo", "Hello!"], "echo: exited with code 0"),
        (["cat"], "cat: answered with an error: Method not found"),
    ],
)
async def test_a_server_that_fails_has_no_tools_but_a_reason(
    bench: Bench, command: list[str], why: str
) -> None:
    source = bench.open(*command)
    assert await source.prepare() == {}
    assert source.tools == ()
    assert source.trouble.startswith(why)
    assert "next attempt in" in source.trouble


async def test_an_address_without_a_server_has_no_tools(bench: Bench) -> None:
    source = bench.open(mcp={"url": "http://127.0.0.1:9/mcp?key=s3cret"})
    await source.prepare()
    assert source.trouble.startswith("127.0.0.1:9/mcp: cannot be reached")
    assert "s3cret" not in source.trouble


@contextlib.asynccontextmanager
async def http_server(
    answer: Callable[[dict[str, Any]], web.Response], port: int = 0
) -> AsyncGenerator[str]:
    """Runs an HTTP server that answers each request with `answer`; gives its address."""

    async def handle(request: web.Request) -> web.Response:
        return answer(await request.json() if request.can_read_body else {})

    app = web.Application()
    app.router.add_route("*", "/mcp", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "kind", "why"),
    [
        (401, "text/plain", "answered with HTTP 401"),
        (200, "text/html", "answered with an error: Unexpected content type"),
        (200, "application/json", "answered with an error: Failed to parse JSON"),
    ],
)
async def test_an_address_without_mcp_has_a_reason(
    bench: Bench, status: int, kind: str, why: str
) -> None:
    def answer(_: dict[str, Any]) -> web.Response:
        return web.Response(status=status, content_type=kind, text="Hello!")

    async with http_server(answer) as url:
        source = bench.open(mcp={"url": url})
        await source.prepare()
        assert source.trouble.partition(": ")[2].startswith(why)


def large(request: dict[str, Any]) -> web.Response:
    """The answers of a server with one tool."""
    params: dict[str, Any] = request.get("params", {})
    match request.get("method"):
        case "initialize":
            result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}}
            result["serverInfo"] = {"name": "large", "version": "1"}
        case "tools/list":
            result = {"tools": [{"name": "large", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            text = "x" * params["arguments"]["size"]
            result = dict[str, Any](content=[{"type": "text", "text": text}])
            if values := params["arguments"].get("values"):
                result["structuredContent"] = {"values": [[]] * values}
        case _:
            return web.Response(status=404 if "id" in request else 202)
    answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
    if params.get("arguments", {}).get("as_event"):
        body = f"id: 7\r\nretry: 10\r\ndata: {json.dumps(answer)}\r\n\r\n"
        return web.Response(text=body, content_type="text/event-stream")
    if (kind := params.get("arguments", {}).get("compressed")) is None:
        return web.json_response(answer)
    body = json.dumps(answer)
    return web.Response(
        body=gzip.compress((f"data: {body}\n\n" if "event" in kind else body).encode()),
        headers={"Content-Type": kind, "Content-Encoding": "gzip"},
    )


async def test_an_answer_over_http_that_is_too_large_fails_only_its_call(bench: Bench) -> None:
    async with http_server(large) as url:
        source = await bench.there(mcp={"url": url, "headers": {"X": "Y"}})
        with pytest.raises(ToolError, match="the answer has more than 4,194,304 bytes"):
            await call(source, "large", size=20_000_000)
        with pytest.raises(ToolError, match="it has too many values; the limit is 200,000"):
            await call(source, "large", size=1, values=300_000)
        assert len(await call(source, "large", size=1_000_000)) == 1_000_000


async def test_an_event_that_is_too_large_fails_only_its_call(bench: Bench) -> None:
    async with http_server(large) as url:
        source = await bench.there(mcp={"url": url})
        with pytest.raises(ToolError, match=r"has 20,000,\d+ bytes, the limit is 4,194,304"):
            await call(source, "large", size=20_000_000, as_event=True)
        with pytest.raises(ToolError, match="it has too many values; the limit is 200,000"):
            await call(source, "large", size=1, values=300_000, as_event=True)
        assert len(await call(source, "large", size=1_000_000, as_event=True)) == 1_000_000


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_an_answer_that_is_compressed_is_not_unpacked(bench: Bench, kind: str) -> None:
    """3 MB of gzip became 3 GB, in 47 seconds that blocked the event loop."""
    async with http_server(large) as url:
        source = await bench.there(mcp={"url": url})
        with pytest.raises(ToolError, match=r"compressed \(gzip\)|ended before it answered"):
            await call(source, "large", size=1_000_000, compressed=kind)
        await until(lambda: not source.trouble)
        assert await call(source, "large", size=1) == "x"


async def test_a_server_over_http_is_connected_again(bench: Bench) -> None:
    port = free_port()
    async with http_server(large, port) as url:
        source = await bench.there(mcp={"url": url})
    with pytest.raises(ToolError, match="ended before it answered"):
        await call(source, "large", size=1)
    await until(lambda: "cannot be reached" in source.trouble)
    async with http_server(large, port):
        await until(lambda: bool(source.tools))
        assert await call(source, "large", size=1) == "x"


async def test_a_server_that_never_answers_times_out(tmp_path: Path, mark: str) -> None:
    bench = Bench(tmp_path, mark)
    bench.servers = McpServers(limits=TimeLimits(start=0.2))
    source = bench.open(*FAULTY, "mute", timeout="5s")
    await source.prepare()
    assert source.trouble.startswith("faulty.py: gave no answer within 0.2 s, next attempt in 1 s")
    await bench.servers.close()
    await until(lambda: not processes(mark))


async def test_a_server_that_dies_in_a_call_is_restarted(bench: Bench) -> None:
    source = await bench.there(*FAULTY)
    before = await call(source, "pid")
    with pytest.raises(ToolError, match=r"faulty\.py ended before .*: was killed by SIGKILL"):
        await call(source, "die")
    await started_again(source, before)


async def test_a_cancelled_call_is_cancelled_at_the_server_and_others_continue(
    bench: Bench,
) -> None:
    source = await bench.there(*FAULTY)
    slow = asyncio.create_task(call(source, "slow", seconds=300))
    assert await call(source, "echo", text="meanwhile") == "meanwhile"
    slow.cancel()
    await asyncio.wait([slow])
    assert slow.cancelled()
    assert len(json.loads(await call(source, "cancellations"))) == 1


async def test_a_server_that_stops_answering_is_restarted(tmp_path: Path, mark: str) -> None:
    bench = Bench(tmp_path, mark)
    bench.servers = McpServers(limits=TimeLimits(answer=0.5, first_pause=0.05))
    source = await bench.there(*FAULTY)
    before = await call(source, "pid")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await call(source, "block")
    await until(lambda: bool(source.trouble))
    assert source.trouble.startswith("faulty.py: does not answer any more")
    await started_again(source, before)
    await bench.servers.close()


async def test_a_list_of_tools_without_an_end_is_read_once(bench: Bench) -> None:
    source = await bench.there(*FAULTY, "endless")
    assert "echo" in [tool.name for tool in source.tools]
    assert await call(source, "lists") == "2"  # the second page had nothing new


async def test_a_server_that_reports_changes_without_end_is_asked_less_and_less_often(
    bench: Bench,
) -> None:
    source = await bench.there(*FAULTY, "restless")

    async def lists() -> int:
        return int(await call(source, "lists"))

    before = await lists()
    await asyncio.sleep(3)
    # Three pages a list. With a pause that does not grow there would be 90 and more.
    assert await lists() - before <= 3 * 5


async def test_a_restless_server_that_dies_is_noticed(bench: Bench) -> None:
    source = await bench.there(*FAULTY, "restless")
    pid = await call(source, "pid")
    await asyncio.sleep(1)
    os.kill(int(pid), signal.SIGKILL)
    await started_again(source, pid)


async def test_an_answer_that_is_too_large_fails_only_its_call(bench: Bench) -> None:
    source = await bench.there(*FAULTY)
    before = await call(source, "pid")
    other = asyncio.create_task(call(source, "slow", seconds=0.2))
    with pytest.raises(
        ToolError, match=r"the answer has 100,000,\d+ bytes, the limit is 4,194,304"
    ):
        await call(source, "huge", size=100_000_000)
    with pytest.raises(ToolError, match="it has too many values; the limit is 200,000"):
        await call(source, "huge", size=1, values=300_000)
    assert await other == "at last"
    assert len(await call(source, "huge", size=3_000_000)) == 3_000_000
    assert await call(source, "pid") == before


async def test_lines_that_are_not_messages_are_ignored(bench: Bench) -> None:
    source = await bench.there(*FAULTY)
    assert await call(source, "garbage", times=50_000) == "that was garbage"
    assert await call(source, "loud", times=100_000) == "that was loud"


async def test_a_server_gets_only_the_allowed_environment(bench: Bench) -> None:
    source = await bench.there(*FAULTY)
    environment = json.loads(await call(source, "environment"))
    assert {"PATH", "HOME", "MARK"} <= environment.keys()
    assert "OUR_SECRET" not in environment


async def test_equal_servers_are_shared_and_end_with_their_last_user(
    bench: Bench, mark: str
) -> None:
    first, second = await bench.there(*FAULTY), await bench.there(*FAULTY)
    other = await bench.there(*FAULTY, mcp={"cwd": "/"})
    assert await call(first, "pid") == await call(second, "pid") != await call(other, "pid")
    del first, other
    await until(lambda: len(processes(mark)) == 1)
    assert await call(second, "echo", text="still here") == "still here"
    del second
    await until(lambda: not processes(mark))


async def test_a_server_that_ignores_signals_is_killed_with_its_children(
    bench: Bench, mark: str
) -> None:
    await bench.there(*FAULTY, "stubborn")
    assert len(processes(mark)) == 2
    await bench.servers.close()
    await until(lambda: not processes(mark))


HOLDS_A_SERVER = """
import asyncio, sys
from pathlib import Path
from agentd.tools.processes.child import Child
from agentd.tools.processes.processes import Processes

async def main():
    env = {"MARK": sys.argv[1], "PATH": "/usr/bin:/bin"}
    child = await Child.start(Processes(), "it", sys.argv[2:], env=env, cwd=None)
    print("started", flush=True)
    await child.ended(300)

asyncio.run(main())
"""


async def test_a_server_ends_with_a_daemon_that_is_killed(mark: str) -> None:
    us = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDS_A_SERVER, mark, *FAULTY, "stubborn"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert us.stdout
    assert await us.stdout.readline() == b"started\n"
    await until(lambda: len(processes(mark)) == 2)
    os.kill(us.pid, signal.SIGKILL)
    await us.wait()
    await until(lambda: not processes(mark))


async def test_an_unknown_tool_name_in_the_manifest_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    source = await bench.there(*FAULTY, allow=["ecko"], deny=["pid"])
    before = await call(source, "pid")
    with pytest.raises(ToolError):
        await call(source, "die")
    await started_again(source, before)
    logged = [record.message for record in caplog.records if "no tool" in record.message]
    assert logged == ["faulty.py: has no tool `ecko`; did you mean `echo`?"]


async def test_a_missing_text_fails_the_task_unless_it_has_a_default(
    bench: Bench,
) -> None:
    source = bench.open("no-such-program", mcp={"resources": {"readme": "file:///readme"}})
    with pytest.raises(TaskError, match=r"mcp\.readme: no-such-program: there is no") as failure:
        await source.prepare()
    assert failure.value.retryable
    wanted = {"readme": {"uri": "file:///readme", "default": "nothing to read"}}
    source = bench.open("no-such-program", mcp={"resources": wanted})
    assert await source.prepare() == {"readme": "nothing to read"}


async def test_the_published_servers_for_time_and_git_work(bench: Bench) -> None:
    clock = await bench.there("mcp-server-time", "--local-timezone=UTC", allow=["convert_time"])
    git = await bench.there("mcp-server-git")
    tokyo = {"time": "12:00", "source_timezone": "UTC", "target_timezone": "Asia/Tokyo"}
    assert "21:00" in await call(clock, "convert_time", **tokyo)
    with pytest.raises(ToolError, match="timezone"):
        await call(clock, "get_current_time", timezone="Nowhere")
    assert {"git_status", "git_log", "git_diff"} <= {tool.name for tool in git.tools}
    with pytest.raises(ToolError, match=r"(?i)no-such-folder"):
        await call(git, "git_status", repo_path="/no-such-folder")


AGENT = """
capabilities: [analysis]
tools:
  - mcp:
      command: {command}
      resources: {{readme: "file:///readme"}}
    allow: [echo]
    name: my
    {more}
input: "{{{{ mcp.readme }}}}"
model: {model}
"""


def agent(*command: str, more: str = "", script: Any = None) -> str:
    name = {"name": "mock/script", "script": script} if script else "mock/echo"
    return AGENT.format(command=json.dumps(command), more=more, model=json.dumps(name))


@pytest.fixture
async def mcp_team(team: Team) -> AsyncIterator[Team]:
    team.openers["mcp"] = servers = McpServers(limits=QUICK)
    yield team
    await servers.close()


async def test_an_agent_calls_the_tools_of_a_server(mcp_team: Team) -> None:
    asks = {"tool_calls": [{"name": "my_echo", "arguments": {"text": "hello"}}]}
    foreign = {"tool_calls": [{"name": "my_add", "arguments": {"a": 1, "b": 2}}]}
    await mcp_team.run(me=agent(*EVERYTHING, script=[asks, foreign, "Done."]))
    result = await mcp_team.ask("analysis", "go", id="t1")
    assert result["data"] == "Done."
    answers = [e for e in await journal(mcp_team, "t1") if e["event"] == "tool_answered"]
    assert answers[0]["text"] == "hello"
    assert answers[1]["text"] == "there is no tool 'my_add'; the tools are: my_echo"


async def test_a_server_ends_when_its_agent_is_removed_or_edited(mcp_team: Team, mark: str) -> None:
    faulty = agent("env", f"MARK={mark}", *FAULTY).replace("{{ mcp.readme }}", "Hi.")
    faulty = faulty.replace('resources: {readme: "file:///readme"}', "")
    await mcp_team.run(me=faulty, you=faulty)
    assert "Hi." in (await mcp_team.ask("analysis", "go"))["data"]
    assert len(processes(mark)) == 1
    await mcp_team.run(me="capabilities: [analysis]\n")
    assert len(processes(mark)) == 1
    (mcp_team.folder / "manifests" / "you.yaml").unlink()
    await mcp_team.run()
    await until(lambda: not processes(mark))


async def test_a_prompt_can_use_the_texts_of_a_server(mcp_team: Team) -> None:
    await mcp_team.run(me=agent(*EVERYTHING))
    assert "Read me." in (await mcp_team.ask("analysis", "go"))["data"]


async def test_the_model_receives_the_reason_why_a_tool_is_missing(mcp_team: Team) -> None:
    asks = {"tool_calls": [{"name": "my_echo", "arguments": {"text": "hello"}}]}
    texts = "{readme: {uri: x, default: none}}"
    broken = agent("no-such-program", script=[asks, "Pity."])
    await mcp_team.run(me=broken.replace('{readme: "file:///readme"}', texts))
    assert (await mcp_team.ask("analysis", "go", id="t1"))["data"] == "Pity."
    [answer] = [e for e in await journal(mcp_team, "t1") if e["event"] == "tool_answered"]
    first, second = answer["text"].splitlines()
    assert first == "there is no tool 'my_echo'; the tools are: none"
    assert second.startswith("no-such-program: there is no program 'no-such-program'")


async def test_a_task_whose_text_is_missing_is_retried_and_fails(mcp_team: Team) -> None:
    broken = agent("no-such-program") + "retry: {attempts: 2, backoff: 10ms}\n"
    await mcp_team.run(me=broken)
    error = (await mcp_team.ask("analysis", "go"))["error"]
    said = "2 attempts failed, the last one with mcp: mcp.readme: no-such-program: there is no"
    assert error["message"].startswith(said)


async def test_an_agent_waits_for_a_tool_that_it_requires(mcp_team: Team, tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    await mcp_team.run(me=agent(sys.executable, str(program), more="required: true"))
    await until(lambda: "exited with code 2" in mcp_team.runtime.agents["me"].state)
    assert mcp_team.runtime.agents["me"].state.startswith(
        "waiting for server.py: exited with code 2"
    )
    [waiting] = mcp_team.runtime.status()["waiting_for"]
    assert waiting.startswith("server.py: exited with code 2")
    asking = asyncio.create_task(mcp_team.ask("analysis", "go"))
    program.symlink_to(EVERYTHING[1])
    assert "Read me." in (await asking)["data"]
    assert mcp_team.runtime.agents["me"].state == "ready"
    assert mcp_team.runtime.status()["ready"]
