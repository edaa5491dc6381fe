"""Triggers on a real server, over real HTTP: each delivery is one task, whatever happens."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from agentd.doors.backend import Backend
from agentd.doors.ending import Ending
from agentd.doors.key_file import KeyFile
from agentd.doors.triggers import callbacks, file_source, folder, intake, nats_source, webhooks
from agentd.metrics import Metrics
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentMessage, decode
from agentd.settings import Settings
from tests.integration import serving as http
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from tests.integration.conftest import Team

SECRET = "s3cret"
WEBHOOK = f"""
capabilities: [review]
triggers:
  - webhook: github
    verify: {{github: {SECRET}}}
    when: body.action == 'opened'
    content: body.title
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "QUIET", 0.0)
    monkeypatch.setattr(file_source, "_LOOK", 0.05)
    monkeypatch.setattr(nats_source, "_LOOK", 0.5)
    monkeypatch.setattr(callbacks, "_SHORTEST_PAUSE", 0.05)


@asynccontextmanager
async def serving(
    team: Team, bind: str = "127.0.0.1:0", keys: Path = http.NO_KEYS
) -> AsyncGenerator[str]:
    """The URL of the webhooks of one process."""
    agents = team.runtime.agents
    backend = Backend(
        bus=team.bus,
        subjects=team.subjects,
        settings=Settings(env=team.subjects.env),
        metrics=team.metrics,
        specs=lambda: {name: agent.live.spec for name, agent in agents.items()},
        draining=Ending(),
    )
    async with http.serving(
        bind, doors=[webhooks.routes], keys=keys, metrics=team.metrics, backend=backend
    ) as server:
        assert server.url
        yield server.url.replace("0.0.0.0", "127.0.0.1")


@dataclass
class Answer:
    """What a webhook answers."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


async def post(url: str, body: bytes, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as client,
        client.post(url, data=body, headers=named) as answer,
    ):
        return Answer(answer.status, answer.headers, await answer.text())


def of_github(body: bytes, delivery: str = "d1", secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X_GitHub_Delivery": delivery, "X_Hub_Signature_256": f"sha256={signature}"}


OPENED = json.dumps({"action": "opened", "title": "Fix it"}).encode()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        for delay in itertools.repeat(0.05):
            if await condition():
                return
            await asyncio.sleep(delay)


async def stored(team: Team, rest: str) -> list[AgentMessage]:
    pattern = team.subjects.pattern(rest)
    found: list[Msg] = [msg async for msg in jetstream.stored(team.bus, LOG, pattern)]
    return [decode(msg.data) for msg in found]


async def tasks(team: Team, count: int) -> list[AgentMessage]:
    """The tasks in the log, once they are all done and there are at least so many."""

    async def done() -> bool:
        return len(await stored(team, "result.*.*.*")) >= count

    await until(done)
    return await stored(team, "task.>")


def outcomes(metrics: Metrics, kind: str) -> dict[str, int]:
    """What became of the deliveries to triggers of this kind."""
    found: dict[str, int] = {}
    for line in metrics.expose()[0].decode().splitlines():
        if line.startswith("agentd_trigger_deliveries_total{") and f'kind="{kind}"' in line:
            outcome = line.partition('outcome="')[2].partition('"')[0]
            found[outcome] = found.get(outcome, 0) + int(float(line.rpartition(" ")[2]))
    return found


class TestWebhooks:
    async def test_a_delivery_starts_one_task_and_is_on_record(self, team: Team) -> None:
        await team.run(reviewer=WEBHOOK)
        async with serving(team) as url:
            answer = await post(f"{url}/hooks/github", OPENED, **of_github(OPENED))

        [task] = await tasks(team, 1)
        assert (answer.status, answer.json["task"]) == (202, task.id)
        assert answer.headers["Agentd-Task"] == task.id
        assert task.payload.content == "Fix it"
        assert (task.source.id, task.source.type) == ("github", "webhook")
        entry, *_ = await stored(team, f"event.run.{task.id}")
        assert entry.payload.content["event"] == "accepted"
        assert entry.payload.content["by"] == "github"
        assert task.context.metadata["trigger"]["delivery"] == "d1"

    async def test_a_delivery_that_comes_again_is_one_task(self, team: Team, other: Team) -> None:
        """Also at another process, at the same time, and when the task is long done."""
        await team.run(reviewer=WEBHOOK)
        await other.run(reviewer=WEBHOOK)
        async with serving(team) as one, serving(other) as two:
            urls = [f"{url}/hooks/github" for url in (one, two)]
            sent = [post(url, OPENED, **of_github(OPENED)) for url in urls * 5]
            answers = await asyncio.gather(*sent)
            await tasks(team, 1)
            answers.append(await post(urls[1], OPENED, **of_github(OPENED)))

        assert [answer.status for answer in answers] == [202] * 11
        assert len({answer.json["task"] for answer in answers}) == 1
        statuses = [answer.json["status"] for answer in answers]
        assert statuses.count("accepted") == 1
        assert len(await tasks(team, 1)) == 1

    async def test_other_deliveries_are_other_tasks(self, team: Team) -> None:
        await team.run(reviewer=WEBHOOK)
        async with serving(team) as url:
            for number in range(3):
                await post(f"{url}/hooks/github", OPENED, **of_github(OPENED, f"d{number}"))

        assert len(await tasks(team, 3)) == 3

    async def test_the_id_of_the_manifest_decides_whatever_else_has_changed(
        self, team: Team
    ) -> None:
        await team.run(reviewer=f"{WEBHOOK}    id: body.number\n")
        async with serving(team) as url:
            answers: list[Answer] = []
            for number, title in ((7, "One"), (7, "Two"), (8, "Three")):
                body = {"action": "opened", "number": number, "title": title}
                data = json.dumps(body).encode()
                headers = of_github(data, title)
                answers.append(await post(f"{url}/hooks/github", data, **headers))

        assert [answer.status for answer in answers] == [202] * 3
        contents = [task.payload.content for task in await tasks(team, 2)]
        assert contents == ["One", "Three"]

    @pytest.mark.parametrize(
        ("forged", "status"),
        [
            ({}, 401),
            ({"X_Hub_Signature_256": "sha256=" + "0" * 64}, 401),
            ({"X_Hub_Signature_256": "sha1=" + "0" * 40}, 401),
            (of_github(b"another body"), 401),
            (of_github(OPENED, secret="guess"), 401),
            (of_github(OPENED, secret=""), 401),
        ],
    )
    async def test_a_forged_delivery_starts_nothing(
        self, team: Team, forged: dict[str, str], status: int
    ) -> None:
        await team.run(reviewer=WEBHOOK)
        async with serving(team) as url:
            answer = await post(f"{url}/hooks/github", OPENED, **forged)

        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert await stored(team, "task.>") == []
        assert outcomes(team.metrics, "webhook") == {"refused": 1}

    async def test_two_signatures_in_two_headers_start_nothing(self, team: Team) -> None:
        await team.run(reviewer=WEBHOOK)
        right = of_github(OPENED)["X_Hub_Signature_256"]
        async with serving(team) as url, aiohttp.ClientSession() as client:
            headers = [("X-Hub-Signature-256", "sha256=00"), ("X-Hub-Signature-256", right)]
            target = f"{url}/hooks/github"
            async with client.post(target, data=OPENED, headers=headers) as answer:
                assert answer.status in (400, 401)

        assert await stored(team, "task.>") == []

    async def test_a_body_that_is_changed_on_the_way_is_refused(self, team: Team) -> None:
        """The raw body counts: the same data, written in another way, has another signature."""
        await team.run(reviewer=WEBHOOK)
        rewritten = json.dumps(json.loads(OPENED), indent=1).encode()
        async with serving(team) as url:
            answer = await post(f"{url}/hooks/github", rewritten, **of_github(OPENED))

        assert answer.status == 401

    async def test_what_when_leaves_out_is_no_error(self, team: Team) -> None:
        await team.run(reviewer=WEBHOOK)
        closed = b'{"action": "closed"}'
        async with serving(team) as url:
            answer = await post(f"{url}/hooks/github", closed, **of_github(closed))

        assert (answer.status, answer.json["status"]) == (200, "ignored")
        assert await stored(team, "task.>") == []

    async def test_an_expression_that_fails_is_named(self, team: Team) -> None:
        await team.run(reviewer=WEBHOOK)
        ping = b'{"zen": "Keep it logically awesome."}'
        async with serving(team) as url:
            answer = await post(f"{url}/hooks/github", ping, **of_github(ping))

        assert (answer.status, answer.json["code"]) == (422, "trigger_failed")
        assert "'body' has no 'action'" in answer.json["detail"]

    async def test_slack_gets_its_challenge_back_and_a_replay_nothing(self, team: Team) -> None:
        manifest = "capabilities: [a]\ntriggers: [{webhook: slack, verify: {slack: s}}]\n"
        await team.run(a=manifest)
        body = b'{"type": "url_verification", "challenge": "3eZbrw1a"}'

        def headers(at: float) -> dict[str, str]:
            signed = b"v0:%d:%s" % (int(at), body)
            signature = hmac.new(b"s", signed, hashlib.sha256).hexdigest()
            return {
                "X_Slack_Request_Timestamp": str(int(at)),
                "X_Slack_Signature": f"v0={signature}",
            }

        async with serving(team) as url:
            answer = await post(f"{url}/hooks/slack", body, **headers(time.time()))
            old = await post(f"{url}/hooks/slack", body, **headers(time.time() - 400))
            unsigned = await post(f"{url}/hooks/slack", body)

        assert (answer.status, answer.text) == (200, "3eZbrw1a")
        assert (old.status, unsigned.status) == (401, 401)
        assert await stored(team, "task.>") == []

    @pytest.mark.parametrize(
        "path", ["nope", "github/more", "github%2fmore", "%2e%2e/healthz", "Github", "g\u0131thub"]
    )
    async def test_there_is_nothing_at_other_paths(self, team: Team, path: str) -> None:
        await team.run(reviewer=WEBHOOK)
        async with serving(team) as url:
            answer = await post(f"{url}/hooks/{path}", OPENED, **of_github(OPENED))

        assert answer.status >= 400
        assert await stored(team, "task.>") == []

    @pytest.mark.parametrize("host", ["hooks.example.org", "127.0.0.1"])
    async def test_a_signed_delivery_needs_no_key_and_comes_by_any_name(
        self, team: Team, host: str
    ) -> None:
        """Through a tunnel to this machine for example."""
        await team.run(reviewer=WEBHOOK)
        async with serving(team) as url:
            signed = of_github(OPENED) | {"Host": host}
            answer = await post(f"{url}/hooks/github", OPENED, **signed)

        assert answer.status == 202

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 202),
            ({"Host": "rebound.example.org"}, 421),
            ({"Origin": "https://evil.example.org"}, 403),
            ({"Origin": "null"}, 403),
        ],
    )
    async def test_a_page_of_another_machine_starts_no_unsigned_task(
        self, team: Team, headers: dict[str, str], status: int
    ) -> None:
        await team.run(a="capabilities: [a]\ntriggers: [{webhook: w, verify: none}]\n")
        async with serving(team) as url:
            answer = await post(f"{url}/hooks/w", b"Hi", **headers)

        assert answer.status == status

    async def test_where_others_reach_webhooks_are_closed_until_there_are_keys(
        self, team: Team, tmp_path: Path
    ) -> None:
        await team.run(
            reviewer=WEBHOOK, a="capabilities: [a]\ntriggers: [{webhook: w, verify: none}]\n"
        )
        keys = KeyFile(tmp_path / "keys.json")
        async with serving(team, "0.0.0.0:0", keys.path) as url:
            refused = [await post(f"{url}/hooks/{name}", b"Hi") for name in ("w", "nosuch")]
            refused.append(await post(f"{url}/hooks/github", OPENED, **of_github(OPENED)))
            assert await stored(team, "task.>") == []
            keys.add("ci", ["ask"])
            unsigned = await post(f"{url}/hooks/w", b"Hi")
            signed = await post(f"{url}/hooks/github", OPENED, **of_github(OPENED))

        assert [(each.status, "public: true" in each.json["detail"]) for each in refused] == [
            (401, True)
        ] * 3
        assert (unsigned.status, signed.status) == (202, 202)

    async def test_a_public_webhook_needs_no_keys_but_a_signature(self, team: Team) -> None:
        await team.run(
            reviewer=WEBHOOK.replace("webhook: github", "webhook: github\n    public: true")
        )
        async with serving(team, "0.0.0.0:0") as url:
            signed = await post(f"{url}/hooks/github", OPENED, **of_github(OPENED))
            forged = await post(
                f"{url}/hooks/github", OPENED, **of_github(OPENED, secret="another")
            )

        assert (signed.status, forged.status) == (202, 401)

    async def test_an_edit_counts_at_once(self, team: Team) -> None:
        await team.run(reviewer=WEBHOOK)
        async with serving(team) as url:
            await team.run(reviewer=WEBHOOK.replace(SECRET, "another"))
            old = await post(f"{url}/hooks/github", OPENED, **of_github(OPENED))
            new = await post(f"{url}/hooks/github", OPENED, **of_github(OPENED, secret="another"))
            await team.run(reviewer="capabilities: [review]\n")
            gone = await post(f"{url}/hooks/github", OPENED, **of_github(OPENED, secret="another"))

        assert (old.status, new.status, gone.status) == (401, 202, 404)

    async def test_a_task_that_nobody_takes_waits(self, team: Team) -> None:
        await team.run(
            a="capabilities: [a]\ntriggers: [{webhook: w, verify: {bearer: t}, task: later.work}]\n"
        )
        async with serving(team) as url:
            answer = await post(f"{url}/hooks/w", b"Hi", Authorization="Bearer t")
        await team.run(later="capabilities: [later]\n")

        assert answer.status == 202
        [task] = await tasks(team, 1)
        assert task.id == answer.json["task"]


class TestAnswers:
    async def ask(self, team: Team, trigger: str, body: bytes = b"Hi", more: str = "") -> Answer:
        webhook = f"triggers: [{{webhook: w, verify: {{bearer: t}}, {trigger}}}]\n"
        await team.run(a=f"capabilities: [a]\n{webhook}{more}")
        async with serving(team) as url:
            return await post(f"{url}/hooks/w", body, Authorization="Bearer t")

    async def test_the_result_is_the_answer(self, team: Team) -> None:
        answer = await self.ask(team, "answer: result")

        assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (
            200,
            "text/plain",
        )
        assert 'asked: "Hi"' in answer.text
        [task] = await tasks(team, 1)
        assert answer.headers["Agentd-Task"] == task.id

    async def test_a_result_that_is_data_is_json(self, team: Team) -> None:
        script = "model: {name: mock/script, script: ['{\"n\": 1}']}\n"
        schema = "output: {schema: {type: object, required: [n]}}\n"
        answer = await self.ask(team, "answer: result", more=script + schema)

        assert (answer.status, answer.json) == (200, {"n": 1})

    async def test_a_result_that_is_an_error_is_a_problem(self, team: Team) -> None:
        more = "instructions: '{{ content.missing }}'\n"
        answer = await self.ask(team, "answer: result", b"{}", more)

        assert (answer.status, answer.json["code"]) == (500, "prompt")
        assert answer.headers["Agentd-Task"]

    async def test_the_fact_that_ends_the_work_is_the_answer(self, team: Team) -> None:
        await team.run(last="capabilities: [last]\nemit: [{event: answer.ready}]\n")
        answer = await self.ask(
            team,
            "answer: until, until: event.answer.ready",
            more="emit: [{task: last.step, content: \"'Go on'\"}]\n",
        )

        assert answer.status == 200
        assert 'asked: "Go on"' in answer.text

    async def test_a_task_that_takes_too_long_goes_on(self, team: Team) -> None:
        script = "model: {name: mock/script, script: [{text: Done., latency: 3s}]}\n"
        answer = await self.ask(team, "answer: result, timeout: 200ms", more=script)

        assert (answer.status, answer.json["status"]) == (202, "accepted")
        [task] = await tasks(team, 1)
        assert task.id == answer.json["task"]


@dataclass
class Receiver:
    """A server that takes callbacks. It answers with `statuses` in turn, the last one for ever."""

    statuses: list[int] = field(default_factory=lambda: [200])
    seen: list[tuple[dict[str, str], Any]] = field(default_factory=list[Any])
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        self.seen.append((dict(request.headers), await request.json()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        headers = {"Location": "/elsewhere"} if status == 303 else {}
        return web.Response(status=status, headers=headers)

    async def elsewhere(self, _: web.Request) -> web.Response:
        return web.Response()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/done", made.take)
    app.router.add_get("/elsewhere", made.elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/done"
    yield made
    await runner.cleanup()


def calling_back(url: str, more: str = "", **fields: str) -> str:
    callback = {"url": url, "allow_private": True, **fields}
    trigger = {"webhook": "w", "verify": {"bearer": "t"}, "callback": callback}
    return f"capabilities: [a]\ntriggers: {json.dumps([trigger])}\n{more}"


async def call(url: str, body: bytes = b"Hi") -> Answer:
    return await post(f"{url}/hooks/w", body, Authorization="Bearer t")


class TestCallbacks:
    async def seen(self, receiver: Receiver, count: int = 1) -> list[Any]:
        async def arrived() -> bool:
            return len(receiver.seen) >= count

        await until(arrived)
        return receiver.seen

    async def settled(self, team: Team, agent: str = "a") -> None:
        """Returns once no callback of the agent is due."""
        name = f"{team.subjects.env}+_callbacks+{agent}"

        async def none_left() -> bool:
            info = await jetstream.api(team.bus, f"CONSUMER.INFO.{LOG}.{name}")
            return info["num_pending"] == info["num_ack_pending"] == 0

        await until(none_left)

    async def test_the_result_is_posted_once(self, team: Team, receiver: Receiver) -> None:
        await team.run(a=calling_back(receiver.url))
        async with serving(team) as url:
            answer = await call(url)

        [(headers, body)] = await self.seen(receiver)
        assert body["task"] == answer.json["task"] == headers["Webhook-Id"]
        assert body["success"] is True
        assert 'asked: "Hi"' in body["data"]
        await self.settled(team)
        assert len(receiver.seen) == 1

    async def test_an_expression_gives_the_url_and_the_body(
        self, team: Team, receiver: Receiver
    ) -> None:
        await team.run(a=calling_back("body.reply", body="{'text': data, 'ok': success}"))
        async with serving(team) as url:
            await call(url, json.dumps({"reply": receiver.url}).encode())

        [(_, body)] = await self.seen(receiver)
        assert body["ok"] is True
        assert set(body) == {"ok", "text"}

    async def test_an_error_is_posted_too(self, team: Team, receiver: Receiver) -> None:
        failing = "instructions: '{{ content.missing }}'\n"
        await team.run(a=calling_back(receiver.url, failing))
        async with serving(team) as url:
            await call(url, b"{}")

        [(_, body)] = await self.seen(receiver)
        assert body["success"] is False
        assert body["error"]["code"] == "prompt"

    async def test_a_receiver_that_fails_gets_it_again(
        self, team: Team, receiver: Receiver
    ) -> None:
        receiver.statuses = [500, 303, 404, 200]
        await team.run(a=calling_back(receiver.url))
        async with serving(team) as url:
            await call(url)

        await self.seen(receiver, 4)
        await self.settled(team)
        assert len(receiver.seen) == 4
        assert len({body["task"] for _, body in receiver.seen}) == 1

    async def test_a_receiver_that_is_gone_gets_no_more(
        self, team: Team, receiver: Receiver
    ) -> None:
        receiver.statuses = [410]
        await team.run(a=calling_back(receiver.url))
        async with serving(team) as url:
            await call(url)

        await self.seen(receiver)
        await self.settled(team)
        assert len(receiver.seen) == 1

    async def test_another_process_posts_it_after_the_end_of_the_first(
        self, team: Team, other: Team, receiver: Receiver
    ) -> None:
        receiver.statuses = [503]
        await team.run(a=calling_back(receiver.url))
        async with serving(team) as url:
            await call(url)
        await self.seen(receiver)
        await team.runtime.drain(5)
        receiver.statuses = [200]
        await other.run(a=calling_back(receiver.url))

        await self.settled(other)
        assert receiver.seen[-1][1]["success"] is True

    async def test_no_address_is_reached_that_is_not_public(
        self, team: Team, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        manifest = calling_back("body.reply").replace("true", "false")
        await team.run(a=manifest)
        async with serving(team) as url:
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0"):
                reply = receiver.url.replace("127.0.0.1", host)
                await call(url, json.dumps({"reply": reply}).encode())

        async def refused() -> bool:
            return len({line for line in caplog.messages if "callback of" in line}) >= 5

        await until(refused)
        assert receiver.seen == []

    async def test_a_record_that_a_stranger_writes_is_not_posted(
        self, team: Team, receiver: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It would send the result of any task to any address."""
        await team.run(a=calling_back("body.reply"))
        content = {
            "event": "callback_due",
            "agent": "a",
            "kind": "webhook",
            "name": "w",
            "task": "0" * 32,
            "url": receiver.url,
        }
        result = {"payload": {"content": {"success": True, "data": "secret"}}}
        await team.send(team.subjects.result("_agent", "a", "0" * 32), result)
        await team.send(team.subjects.event("trigger", "a"), {"payload": {"content": content}})

        async def skipped() -> bool:
            return any("was not written by agentd" in line for line in caplog.messages)

        await until(skipped)
        await self.settled(team)
        assert receiver.seen == []


@pytest.fixture
async def orders(bus: Bus, env: str) -> AsyncIterator[str]:
    """A stream of another program; returns the beginning of its subjects."""
    root = f"orders_{env}"
    config = {"name": root, "subjects": [f"{root}.*"], "storage": "memory"}
    await jetstream.api(bus, f"STREAM.CREATE.{root}", config)
    yield root
    await jetstream.api(bus, f"STREAM.DELETE.{root}")


def on_subject(subject: str, more: str = "") -> str:
    return f"capabilities: [a]\ntriggers: [{{nats: '{subject}'{more}}}]\n"


class TestSubjects:
    async def listening(self, team: Team, root: str, agent: str = "a") -> None:
        """Returns once a consumer of the agent is on the stream."""

        async def there() -> bool:
            names = await jetstream.api(team.bus, f"CONSUMER.NAMES.{root}")
            return any(agent in name.split("+") for name in names.get("consumers") or ())

        await until(there)

    async def test_each_message_of_a_stream_is_one_task_for_all_replicas(
        self, team: Team, other: Team, orders: str
    ) -> None:
        manifest = on_subject(f"{orders}.*", ", when: subject != 'x', content: body")
        await team.run(a=manifest)
        await other.run(a=manifest)
        await self.listening(team, orders)
        for number in range(20):
            await team.bus.request(f"{orders}.created", json.dumps({"n": number}).encode())
        await team.bus.request(f"{orders}.text", b"Plain text")

        found = await tasks(team, 21)
        contents = [task.payload.content for task in found]
        assert sorted(each["n"] for each in contents if isinstance(each, dict)) == [*range(20)]
        assert "Plain text" in contents
        assert len(found) == 21

    async def test_messages_wait_in_the_stream_while_no_process_runs(
        self, team: Team, other: Team, orders: str
    ) -> None:
        await team.run(a=on_subject(f"{orders}.created"))
        await self.listening(team, orders)
        await team.runtime.drain(5)
        for number in range(3):
            await team.bus.request(f"{orders}.created", b"%d" % number)
        await other.run(a=on_subject(f"{orders}.created"))

        assert len(await tasks(other, 3)) == 3

    async def test_a_message_that_is_delivered_again_is_one_task(
        self, team: Team, orders: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from agentd.doors.triggers.consumer import Consumer

        settled: list[str] = []

        async def hand_back(self: Consumer, msg: Msg) -> None:
            """As a process that ends before it acknowledges."""
            settled.append(msg.reply)
            await self.nak(msg, 0.0) if len(settled) < 3 else await ack(self, msg)

        ack = Consumer.ack
        monkeypatch.setattr(Consumer, "ack", hand_back)
        await team.run(a=on_subject(f"{orders}.created"))
        await self.listening(team, orders)
        await team.bus.request(f"{orders}.created", b"1")

        async def thrice() -> bool:
            return len(settled) >= 3

        await until(thrice)
        assert len(await tasks(team, 1)) == 1
        assert outcomes(team.metrics, "nats") == {"accepted": 1, "repeated": 2}

    async def test_what_is_neither_json_nor_text_does_not_stop_the_rest(
        self, team: Team, orders: str
    ) -> None:
        await team.run(a=on_subject(f"{orders}.created"))
        await self.listening(team, orders)
        for body in (b"\xff\xfe", b"good"):
            await team.bus.request(f"{orders}.created", body)

        [task] = await tasks(team, 1)
        assert task.payload.content == "good"
        assert outcomes(team.metrics, "nats") == {"accepted": 1, "refused": 1}

    async def test_one_process_gets_a_message_that_no_stream_holds(
        self, team: Team, other: Team, env: str
    ) -> None:
        subject = f"loose_{env}.created"
        await team.run(a=on_subject(subject))
        await other.run(a=on_subject(subject))
        sent = 0

        async def heard() -> bool:
            nonlocal sent
            sent += 1
            await team.bus.publish(subject, b"same body")
            await team.bus.fence()
            found = [outcomes(each.metrics, "nats") for each in (team, other)]
            return all(each.get("accepted") for each in found)

        await until(heard)
        counts = [outcomes(each.metrics, "nats")["accepted"] for each in (team, other)]
        assert sum(counts) <= sent
        found = await tasks(team, sum(counts))
        assert len({task.id for task in found}) == len(found) <= sent

    async def test_a_stream_that_comes_later_is_used(self, team: Team, env: str) -> None:
        root = f"late_{env}"
        await team.run(a=on_subject(f"{root}.created"))
        config = {"name": root, "subjects": [f"{root}.*"], "storage": "memory"}
        await jetstream.api(team.bus, f"STREAM.CREATE.{root}", config)
        await self.listening(team, root)
        await team.bus.request(f"{root}.created", b"1")

        assert len(await tasks(team, 1)) == 1
        await jetstream.api(team.bus, f"STREAM.DELETE.{root}")


class TestFiles:
    async def test_each_file_is_one_task_for_all_replicas_and_after_a_restart(
        self, team: Team, other: Team, tmp_path: Path
    ) -> None:
        inbox = tmp_path / "inbox"
        inbox.mkdir()
        manifest = f"capabilities: [a]\ntriggers: [{{files: '{inbox}/*.txt'}}]\n"
        (inbox / "one.txt").write_text("One.")
        await team.run(a=manifest)
        await other.run(a=manifest)
        (inbox / "two.txt").write_text("Two.")
        (inbox / "other.md").write_text("Not this.")
        assert len(await tasks(team, 2)) == 2
        await team.runtime.drain(5)
        (inbox / "three.txt").write_text("Three.")

        found = await tasks(other, 3)
        names = [task.payload.content["parts"][0]["name"] for task in found]
        assert sorted(names) == ["one.txt", "three.txt", "two.txt"]

        async def all_seen() -> bool:
            return sum(outcomes(other.metrics, "files").values()) >= 3

        await until(all_seen)
        assert len(await tasks(other, 3)) == 3

    async def test_the_same_name_with_new_content_is_a_new_task(
        self, team: Team, tmp_path: Path
    ) -> None:
        inbox = tmp_path / "inbox"
        inbox.mkdir()
        (inbox / "a.txt").write_text("One.")
        await team.run(a="capabilities: [a]\ntriggers: [{files: inbox/*}]\n")
        await tasks(team, 1)
        (inbox / "b.tmp").write_text("the folder changes")
        (inbox / "a.txt").write_text("Two.")

        assert len(await tasks(team, 2)) == 2

    async def test_a_file_that_no_model_takes_does_not_stop_the_rest(
        self, team: Team, tmp_path: Path
    ) -> None:
        inbox = tmp_path / "inbox"
        inbox.mkdir()
        (inbox / "a.bin").write_bytes(b"\0\1\2")
        (inbox / "b.txt").write_text("Text.")
        (inbox / "out").symlink_to("/etc/hostname")
        await team.run(a="capabilities: [a]\ntriggers: [{files: inbox/*}]\n")

        [task] = await tasks(team, 1)
        assert task.payload.content["parts"][0]["name"] == "b.txt"
        assert outcomes(team.metrics, "files") == {"accepted": 1, "refused": 1}

    async def test_a_file_that_stays_is_one_task_although_the_log_forgets(
        self, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(intake, "_REMEMBER", 0.0)
        monkeypatch.setattr(file_source, "_AFRESH", 0.2)
        (tmp_path / "inbox").mkdir()
        (tmp_path / "inbox" / "a.txt").write_text("Text.")
        await team.run(a="capabilities: [a]\ntriggers: [{files: inbox/*}]\n")
        [task] = await tasks(team, 1)
        subject = team.subjects.event("run", task.id)

        async def remembered() -> bool:
            return len(await stored(team, f"event.run.{task.id}")) >= 2

        await until(remembered)
        [first, *_] = [msg async for msg in jetstream.stored(team.bus, LOG, subject)]
        await jetstream.delete(team.bus, LOG, int((first.headers or {})["Nats-Sequence"]))
        seen = outcomes(team.metrics, "files").get("repeated", 0)

        async def looked_again() -> bool:
            return outcomes(team.metrics, "files").get("repeated", 0) >= seen + 2

        await until(looked_again)
        assert len(await tasks(team, 1)) == 1

    async def test_the_folder_may_come_later(self, team: Team, tmp_path: Path) -> None:
        await team.run(a="capabilities: [a]\ntriggers: [{files: inbox/*}]\n")
        (tmp_path / "inbox").mkdir()
        (tmp_path / "inbox" / "a.txt").write_text("Text.")

        assert len(await tasks(team, 1)) == 1


async def test_triggers_end_with_their_manifest(team: Team, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    await team.run(a="capabilities: [a]\ntriggers: [{files: inbox/*}]\n")
    (inbox / "a.txt").write_text("One.")
    await tasks(team, 1)
    await team.run(a="capabilities: [a]\n")
    (inbox / "b.txt").write_text("Two.")
    await team.run(a="capabilities: [a]\ntriggers: [{files: inbox/*.md}]\n")
    (inbox / "c.md").write_text("Three.")

    found = await tasks(team, 2)
    names = [task.payload.content["parts"][0]["name"] for task in found]
    assert names == ["a.txt", "c.md"]
