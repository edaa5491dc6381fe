"""The OpenAI-compatible door, asked by openai's own client over real sockets."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from pydantic import BaseModel

from agentd.doors.app import App
from agentd.doors.backend import Backend
from agentd.doors.ending import Ending
from agentd.doors.key_file import KeyFile
from agentd.doors.keys import Keys
from agentd.doors.limits import Limits
from agentd.doors.server import HttpServer
from agentd.nats import jetstream
from agentd.nats.bus import Msg
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, encode
from agentd.queue.cancellations import listed
from agentd.routing.registry import announce
from agentd.settings import Settings
from agentd.testing.stub_model import Behaviour, StubModel
from agentd.tools.command_tool import CommandTools
from tests.lazy import lazily
from tests.unit.workbench import replica
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    import openai

    from tests.integration.conftest import Team
else:
    openai = lazily("openai")

HI: Any = [{"role": "user", "content": "hi"}]
NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}
WEATHER: Any = {"name": "weather", "parameters": NO_ARGUMENTS, "strict": True}
TOOLS: Any = [{"type": "function", "function": WEATHER}]
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # noqa: E501


def scripted(*turns: str, more: str = "", name: str = "writing") -> str:
    script = ", ".join(turns)
    return f"capabilities: [{name}]\nmodel: {{name: mock/script, script: [{script}]}}\n{more}"


@dataclass
class Door:
    """The door of a team, and a client of it."""

    team: Team
    server: HttpServer
    client: openai.AsyncOpenAI
    drained: Ending

    async def events(self, domain: str) -> list[Any]:
        """What is on record of events of this domain."""
        found = jetstream.stored(
            self.team.bus, LOG, self.team.subjects.pattern(f"event.{domain}.*")
        )
        return [decode(msg.data).payload.content async for msg in found]

    async def ended(self, response: str, client: openai.AsyncOpenAI | None = None) -> Any:
        """The response, as soon as the log has its end: its client may have it before."""
        async with asyncio.timeout(PATIENCE):
            for pause in itertools.repeat(0.05):
                now = await (client or self.client).responses.retrieve(response)
                if now.status not in ("queued", "in_progress"):
                    return now
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")


@pytest.fixture
async def door(team: Team) -> AsyncIterator[Door]:
    server, drained = HttpServer("127.0.0.1:0", Limits()), Ending()
    app = App(
        bound=server.host,
        keys=Keys(KeyFile(team.folder / "keys.json")),
        metrics=team.metrics,
        limits=Limits(),
        status=lambda: {"waiting_for": []},
    )
    runtime = team.runtime
    app.open(
        Backend(
            bus=team.bus,
            subjects=team.subjects,
            settings=Settings(env=team.subjects.env),
            metrics=team.metrics,
            specs=lambda: {name: agent.live.spec for name, agent in runtime.agents.items()},
            draining=runtime.draining,
            drained=drained,
        )
    )
    await server.start(app)
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    yield Door(team, server, client, drained)
    await client.close()
    await server.close()


@pytest.fixture
async def stub() -> AsyncIterator[StubModel]:
    async with StubModel(Behaviour(text="Fine. ")).serve() as served:
        yield served


def asking(stub: StubModel, more: str = "", name: str = "chat") -> str:
    model = f"{{name: openai/gpt-4o-mini, api_base: {stub.url}, api_key: none}}"
    return f"capabilities: [{name}]\nmodel: {model}\n{more}"


def shown(stub: StubModel) -> list[tuple[str, Any]]:
    """What the model was shown last, without the prompt."""
    return [(turn["role"], turn["content"]) for turn in stub.last[-1]["messages"][1:]]


async def test_agents_and_capabilities_are_models(door: Door) -> None:
    await door.team.run(writer=scripted("Hi."))
    models = {model.id: model async for model in await door.client.models.list()}
    assert list(models) == ["writer", "writing"]
    assert (await door.client.models.retrieve("writer")).owned_by == "agentd"
    with pytest.raises(openai.NotFoundError):
        await door.client.models.retrieve("nobody")


@pytest.mark.parametrize("base", ["/v1", ""])
async def test_a_completion(door: Door, base: str) -> None:
    await door.team.run(writer=scripted("{text: One two three four five six., chunks: 3}"))
    client = door.client.with_options(base_url=f"{door.server.url}{base}")
    for model in ("writer", "@writer", "writing", "writing.poems"):
        answer = await client.chat.completions.create(model=model, messages=HI)
        [choice] = answer.choices
        assert choice.message.content == "One two three four five six."
        assert (choice.finish_reason, answer.model) == ("stop", model)
        assert answer.usage
        assert answer.usage.completion_tokens == 6


async def test_a_stream(door: Door) -> None:
    await door.team.run(
        writer=scripted("{text: One two three four five six., chunks: 3, interval: 50ms}")
    )
    stream = await door.client.chat.completions.create(
        model="writer", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(texts) == "One two three four five six."
    assert len(texts) > 2
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]
    assert last.usage
    assert last.usage.total_tokens > 6


async def test_an_unknown_usage_is_null(door: Door, stub: StubModel) -> None:
    stub.behaviour = Behaviour(text="Fine. ", fault="no-stream-options")
    await door.team.run(chat=asking(stub))
    answer = await door.client.chat.completions.create(model="chat", messages=HI)
    assert answer.usage is None


async def test_errors_are_those_of_openai(door: Door) -> None:
    error = "{error: {status: 401, message: no key}}"
    await door.team.run(writer=scripted("Hi."), broken=scripted(error, name="broken"))
    chat = door.client.chat.completions
    with pytest.raises(openai.NotFoundError, match="takes nobody") as unknown:
        await chat.create(model="nobody", messages=HI)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="n must be 1") as wrong:
        await chat.create(model="writer", messages=HI, n=2)
    assert wrong.value.param == "n"
    with pytest.raises(openai.BadRequestError, match="client_tools: true"):
        await chat.create(model="writer", messages=HI, tools=TOOLS)
    with pytest.raises(openai.BadRequestError, match="client_tools: true"):
        # The status is right although a stream was asked for.
        await chat.create(model="writer", messages=HI, tools=TOOLS, stream=True)
    with pytest.raises(openai.InternalServerError) as failed:
        await chat.create(model="broken", messages=HI)
    assert failed.value.code == "model_auth"
    assert failed.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/chat/completions", b'{"model": "writer", "messages": []}', 400),
        ("/v1/responses", b'{"model": "writer"}', 400),
        ("/v1/embeddings", b"{}", 404),
    ],
)
async def test_every_refusal_has_the_shape_of_openai(
    door: Door, path: str, body: bytes, status: int
) -> None:
    await door.team.run(writer=scripted("Hi."))
    url = f"{door.server.url}{path}"
    async with aiohttp.ClientSession() as client, client.post(url, data=body) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]["type"] == "invalid_request_error"


async def test_the_messages_of_a_client_are_the_history(door: Door, stub: StubModel) -> None:
    await door.team.run(chat=asking(stub, "history: {}\n"))
    earlier: Any = [
        {"role": "system", "content": "Be brief."},
        *HI,
        {"role": "assistant", "content": "Hello."},
    ]
    messages: Any = [*earlier, {"role": "user", "content": "And now?"}]
    await door.client.chat.completions.create(model="chat", messages=messages)
    assert shown(stub) == [
        ("user", "Be brief.\n\nhi"),
        ("assistant", "Hello."),
        ("user", "And now?"),
    ]
    # The title prompt of a chat program sees nothing of it, and leaves nothing behind.
    title: Any = [{"role": "user", "content": "### Task: write a title"}]
    await door.client.chat.completions.create(model="chat", messages=title)
    assert shown(stub) == [("user", "### Task: write a title")]
    assert await door.events("conversation") == []


async def test_a_client_may_leave_the_history_to_agentd(door: Door, stub: StubModel) -> None:
    await door.team.run(chat=asking(stub))  # also an agent without `history`
    client = door.client.with_options(default_headers={"X-Conversation-Id": "chat 1"})
    for text in ("one", "two"):
        messages: Any = [{"role": "user", "content": text}]
        await client.chat.completions.create(model="chat", messages=messages)
    assert shown(stub) == [("user", "one"), ("assistant", "Fine. "), ("user", "two")]


async def test_images_and_files_reach_the_model(door: Door, stub: StubModel) -> None:
    await door.team.run(chat=asking(stub))
    image = {"type": "image_url", "image_url": {"url": PNG}}
    text = {"type": "text", "text": "What is this?"}
    file = {
        "type": "file",
        "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,SGk="},
    }
    messages: Any = [{"role": "user", "content": [text, image, file]}]
    await door.client.chat.completions.create(model="chat", messages=messages)
    [(_, content)] = shown(stub)
    assert [part["type"] for part in content] == ["text", "image_url", "text"]
    assert content[1]["image_url"]["url"] == PNG


async def test_the_images_of_a_long_conversation_fit(door: Door, stub: StubModel) -> None:
    """A client sends them all again with every question; a message takes 8 MB of them."""
    await door.team.run(chat=asking(stub))
    large = base64.b64decode(PNG.partition(",")[2]) + bytes(3 * 1024 * 1024)
    url = f"data:image/png;base64,{base64.b64encode(large).decode()}"
    image = [{"type": "image_url", "image_url": {"url": url}}]
    looked: Any = [{"role": "user", "content": image}, {"role": "assistant", "content": "A dot."}]
    messages: Any = [*looked, *looked, *looked, {"role": "user", "content": "And now?"}]
    await door.client.chat.completions.create(model="chat", messages=messages)
    contents = [content for role, content in shown(stub) if role == "user"]
    assert [content[0]["image_url"]["url"] == url for content in contents[:3]] == [True] * 3


class Score(BaseModel):
    """What the model is to answer."""

    score: int


async def test_the_answer_has_the_form_that_the_client_wants(door: Door) -> None:
    await door.team.run(
        scorer=scripted("{text: high}", "'{\"score\": 1}'"),
        fixed=scripted("'{\"a\": 1}'", more="output: {schema: {type: object}}\n", name="fixed"),
    )
    chat = door.client.chat.completions
    answer = await chat.parse(model="scorer", messages=HI, response_format=Score)
    assert answer.choices[0].message.parsed == Score(score=1)
    stream = await chat.create(model="fixed", messages=HI, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert json.loads(text) == {"a": 1}
    with pytest.raises(openai.BadRequestError, match="`output` of its own"):
        await chat.parse(model="fixed", messages=HI, response_format=Score)


CALLS = "{text: Let me look., tool_calls: [{name: weather}]}"


async def test_the_client_runs_its_own_tools(door: Door) -> None:
    await door.team.run(writer=scripted(CALLS, "It is sunny.", more="client_tools: true\n"))
    chat = door.client.chat.completions
    asked = await chat.create(model="writer", messages=HI, tools=TOOLS)
    [choice] = asked.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    [call] = choice.message.tool_calls
    answer = {"role": "tool", "tool_call_id": call.id, "content": "sun"}
    messages: Any = [*HI, choice.message.model_dump(exclude_none=True), answer]
    done = await chat.create(model="writer", messages=messages, tools=TOOLS)
    assert done.choices[0].message.content == "It is sunny."

    async with chat.stream(model="writer", messages=HI, tools=TOOLS) as stream:
        streamed = (await stream.get_final_completion()).choices[0].message
    assert streamed.content == "Let me look."
    assert streamed.tool_calls
    assert streamed.tool_calls[0].function.name == "weather"


async def test_text_before_the_agents_own_tools_stays(door: Door) -> None:
    """What was streamed cannot be taken back, although a turn that calls tools is no answer."""
    door.team.openers["command"] = commands = CommandTools()
    tools = "tools: [{command: {argv: [echo, sun]}, name: weather, description: The weather.}]\n"
    await door.team.run(writer=scripted(CALLS, "It is sunny.", more=tools))
    stream = await door.client.chat.completions.create(model="writer", messages=HI, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text.endswith("It is sunny.")
    assert text.removesuffix("It is sunny.") in ("", "Let me look.\n\n")
    await commands.close()


async def test_a_client_that_goes_ends_its_task(door: Door, stub: StubModel) -> None:
    stub.behaviour = Behaviour(tokens=1000, interval=0.1)
    await door.team.run(chat=asking(stub))
    stream = await door.client.chat.completions.create(model="chat", messages=HI, stream=True)
    chunk = await anext(aiter(stream))
    await stream.close()
    await until(lambda: stub.in_flight == 0)
    [(scope, *_)] = await listed(door.team.bus, door.team.subjects)
    assert scope.id == chunk.id.removeprefix("chatcmpl-")


async def test_a_key_makes_a_question_one_task(door: Door, stub: StubModel) -> None:
    await door.team.run(chat=asking(stub))
    headers = {"Idempotency-Key": "order 7"}
    chat = door.client.chat.completions
    first = await chat.create(model="chat", messages=HI, extra_headers=headers)
    again = await chat.create(model="chat", messages=HI, extra_headers=headers)
    assert (again.id, again.choices) == (first.id, first.choices)
    assert stub.count == 1
    other: Any = [{"role": "user", "content": "other"}]
    with pytest.raises(openai.UnprocessableEntityError, match="another content"):
        await chat.create(model="chat", messages=other, extra_headers=headers)


# --- responses -----------------------------------------------------------------------------------


async def test_a_response_continues_another_one(door: Door, stub: StubModel) -> None:
    await door.team.run(chat=asking(stub))
    responses = door.client.responses
    first = await responses.create(model="chat", input="one")
    assert (first.status, first.output_text) == ("completed", "Fine. ")
    second = await responses.create(
        model="chat", input="two", previous_response_id=first.id, instructions="Be brief."
    )
    third = await responses.create(model="chat", input="three", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    assert shown(stub) == [
        *[("user", "one"), ("assistant", "Fine. "), ("user", "two"), ("assistant", "Fine. ")],
        ("user", "three"),
    ]
    with pytest.raises(openai.NotFoundError):
        await responses.create(model="chat", input="two", previous_response_id="resp_unknown")


async def test_a_client_that_stores_nothing_leaves_nothing_behind(
    door: Door, stub: StubModel
) -> None:
    await door.team.run(chat=asking(stub, "history: {}\n"))
    await door.client.responses.create(model="chat", input="one", store=False)
    own: Any = [*HI, {"role": "assistant", "content": "Hello."}, *HI]
    await door.client.responses.create(model="chat", input=own)
    assert shown(stub) == [("user", "hi"), ("assistant", "Hello."), ("user", "hi")]
    assert await door.events("conversation") == []


async def test_the_stream_of_a_response_can_be_read_again(door: Door) -> None:
    await door.team.run(
        writer=scripted("{text: One two three four five six., chunks: 3, interval: 50ms}")
    )
    stream = await door.client.responses.create(model="writer", input="hi", stream=True)
    events: list[Any] = [event async for event in stream]
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    whole = "".join(event.delta for event in events if event.type.endswith("text.delta"))
    assert whole == events[-1].response.output_text == "One two three four five six."
    for seen in (2, 5, len(events) - 2):
        again = await door.client.responses.retrieve(
            events[0].response.id, stream=True, starting_after=events[seen].sequence_number
        )
        both: list[Any] = [*events[: seen + 1], *[event async for event in again]]
        assert "".join(e.delta for e in both if e.type.endswith("text.delta")) == whole
        assert both[-1].type == "response.completed"


async def test_the_client_runs_the_functions_of_a_response(door: Door) -> None:
    await door.team.run(writer=scripted(CALLS, "It is sunny.", more="client_tools: true\n"))
    tools: Any = [{"type": "function", **WEATHER}]
    responses = door.client.responses
    asked = await responses.create(model="writer", input="Rain?", tools=tools)
    [call] = [item for item in asked.output if item.type == "function_call"]
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
    done = await responses.create(
        model="writer", input=[output], previous_response_id=asked.id, tools=tools
    )
    assert done.output_text == "It is sunny."
    # The answer is on its way before the server has stored it.
    async with asyncio.timeout(PATIENCE):
        while not (exchanges := await door.events("conversation")):
            pass
    [exchange] = exchanges
    assert (exchange["user"], exchange["assistant"]) == ("Rain?", "It is sunny.")


async def test_a_response_in_the_background_is_a_task(door: Door, stub: StubModel) -> None:
    stub.behaviour = Behaviour(text="Fine. ", latency=0.5)
    await door.team.run(chat=asking(stub))
    responses = door.client.responses
    sent = await responses.create(model="chat", input="hi", background=True)
    assert (sent.status, sent.background) == ("queued", True)
    now = await door.ended(sent.id)
    assert (now.status, now.output_text, now.model) == ("completed", "Fine. ", "chat")
    assert (await responses.cancel(sent.id)).status == "completed"


async def test_a_response_is_not_that_of_another_task(door: Door, stub: StubModel) -> None:
    await door.team.run(chat=asking(stub), other="capabilities: [others]\nmodel: mock/echo\n")
    sent = await door.client.responses.create(model="chat", input="hi")
    await door.ended(sent.id)
    task, subjects = sent.id.removeprefix("resp_"), door.team.subjects
    message = {"id": task, "payload": {"content": "no"}}
    await door.team.send(subjects.task("others", "x"), message)
    await door.team.result(subjects.result("others", "x", task))
    assert (await door.client.responses.retrieve(sent.id)).output_text == "Fine. "
    events = await door.client.responses.retrieve(sent.id, stream=True)
    [*_, last] = [event async for event in events]
    assert last.type == "response.completed"
    assert last.response.output_text == "Fine. "
    await door.client.responses.create(model="chat", input="two", previous_response_id=sent.id)
    assert shown(stub)[:2] == [("user", "hi"), ("assistant", "Fine. ")]


async def test_a_response_can_be_cancelled(door: Door, stub: StubModel) -> None:
    stub.behaviour = Behaviour(tokens=1000, interval=0.1)
    await door.team.run(chat=asking(stub))
    responses = door.client.responses
    sent = await responses.create(model="chat", input="hi", background=True)
    await until(lambda: stub.in_flight == 1)
    assert (await responses.cancel(sent.id)).status == "cancelled"
    await until(lambda: stub.in_flight == 0)
    now = await door.ended(sent.id)
    assert (now.status, now.output) == ("cancelled", [])


# --- runs that begin again -----------------------------------------------------------------------


class ActedAgent:
    """An agent that the test acts, because no real one dies at the right moment."""

    def __init__(self, team: Team) -> None:
        self.team = team
        self.tasks: asyncio.Queue[AgentMessage] = asyncio.Queue()

    async def open(self) -> None:
        """Is online, and takes the tasks of its capability."""
        bus, subjects = self.team.bus, self.team.subjects
        await announce(bus, subjects.env, replica("acted", "acted"), heartbeat=60, wait=True)

        async def take(msg: Msg) -> None:
            self.tasks.put_nowait(decode(msg.data))

        await bus.subscribe(subjects.pattern("task.>"), take)

    async def say(self, task: AgentMessage, run: str, *pieces: str, turn: int = 1) -> None:
        """Publishes the pieces of a turn."""
        for number, text in enumerate(pieces):
            delta = task.delta(text, number, turn=turn, final=False, source=ACTED, run=run)
            await self.team.bus.publish(self.team.subjects.stream(task.id), encode(delta))

    async def end(self, task: AgentMessage, data: str) -> None:
        """Stores the result."""
        content = {"success": True, "data": data, "turns": 1}
        result = task.reply("result", content, source=ACTED)
        subject = self.team.subjects.result("_agent", "acted", task.id)
        await self.team.bus.request(subject, encode(result))


ACTED = AgentIdentity(id="acted", type="agent")


@pytest.mark.parametrize("again", [("One ", "two ", "three"), ("One two three",), ("One ",)])
async def test_a_repeated_run_doubles_nothing(door: Door, again: tuple[str, ...]) -> None:
    agent = ActedAgent(door.team)
    await agent.open()
    asking = door.client.chat.completions.create(model="acted", messages=HI, stream=True)
    stream = asyncio.create_task(asking)
    task = await agent.tasks.get()
    await agent.say(task, "r1", "One ", "two ")
    await agent.say(task, "r2", *again)
    await agent.end(task, "One two three")
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in await stream])
    assert text == "One two three"


async def test_a_repeated_run_that_says_something_else_is_an_error(door: Door) -> None:
    agent = ActedAgent(door.team)
    await agent.open()
    asking = door.client.chat.completions.create(model="acted", messages=HI, stream=True)
    stream = asyncio.create_task(asking)
    task = await agent.tasks.get()
    await agent.say(task, "r1", "One ", "two ")
    await agent.say(task, "r2", "Another ")
    with pytest.raises(openai.APIError, match="differs from the text that was sent"):
        [chunk async for chunk in await stream]


async def test_the_end_of_a_process_is_said(door: Door) -> None:
    """Another process runs the task: this one has nothing to wait for."""
    agent = ActedAgent(door.team)
    await agent.open()
    chat = door.client.chat.completions
    streaming = asyncio.create_task(chat.create(model="acted", messages=HI, stream=True))
    await agent.say(await agent.tasks.get(), "r1", "One ")
    stream = await streaming
    waiting = asyncio.create_task(chat.create(model="acted", messages=HI))
    await agent.tasks.get()
    door.drained.set()
    with pytest.raises(openai.APIError, match="this process of agentd ends"):
        [chunk async for chunk in stream]
    with pytest.raises(openai.InternalServerError, match="this process of agentd ends") as ended:
        await waiting
    assert ended.value.status_code == 503


# --- keys ----------------------------------------------------------------------------------------


async def test_a_key_of_agentd_is_the_key_of_the_client(door: Door) -> None:
    await door.team.run(writer=scripted("Hi."), other=scripted("Hi.", name="other"))
    keys = KeyFile(door.team.folder / "keys.json")
    secret = keys.add("ci", ["ask"], agents=["writer"])
    with pytest.raises(openai.AuthenticationError) as refused:
        await door.client.models.list()
    assert refused.value.code == "invalid_api_key"
    client = door.client.with_options(api_key=secret)
    assert [model.id async for model in await client.models.list()] == ["writer", "writing"]
    answer = await client.chat.completions.create(model="writer", messages=HI)
    assert answer.choices[0].message.content == "Hi."
    with pytest.raises(openai.PermissionDeniedError, match="may not use agent 'other'"):
        await client.chat.completions.create(model="other", messages=HI)
    # Its own responses, and no others.
    mine = await client.responses.create(model="writer", input="hi")
    assert (await door.ended(mine.id, client)).output_text == "Hi."
    stranger = door.client.with_options(api_key=keys.add("foreign", ["ask"]))
    with pytest.raises(openai.PermissionDeniedError, match="may not read"):
        await stranger.responses.retrieve(mine.id)
    other = door.client.with_options(api_key=keys.add("o", ["read"], agents=["other"]))
    with pytest.raises(openai.PermissionDeniedError, match="may not use agent 'writer'"):
        await other.responses.retrieve(mine.id)
    with pytest.raises(openai.PermissionDeniedError, match="may not read"):
        await stranger.responses.create(model="other", input="x", previous_response_id=mine.id)
