"""What an agent remembers of a conversation: exchanges on record, and summaries of older ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import TaskError
from agentd.manifest.limits import History
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentIdentity, encode, new
from agentd.run.history import Past
from agentd.run.memory import Memory
from tests.unit.workbench import MANIFEST, Workbench, revision_of

WIDE = History(max_messages=100, max_tokens=10_000)
NARROW = History(max_messages=3, max_tokens=10_000, keep=1)


class Conversation:
    """A conversation on record, and how one agent recalls it."""

    def __init__(self, folder: Path) -> None:
        self.bench = Workbench(revision_of(folder, MANIFEST))
        self.summarized: list[list[Any]] = []
        self.count = 0

    def memory(self, agent: str = "me", **fields: Any) -> Memory:
        """The memory of an agent that has got a new message of the conversation."""
        self.count += 1
        context = {"conversationId": "c", **fields.pop("context", {})}
        body = {"id": f"t-{self.count}", "payload": {"content": "x"}, "context": context, **fields}
        message = self.bench.delivery(body).task()
        services = self.bench.services
        source = AgentIdentity(id=agent, type="agent")
        return Memory(services.bus, services.subjects, message, agent=source)

    async def exchanged(self, user: str, answer: str, agent: str = "me", **fields: Any) -> None:
        record = await self.memory(agent, **fields).exchange(user, answer)
        await self.bench.bus.request(record.subject, record.data)

    async def summarize(self, older: Past) -> str:
        self.summarized.append([turn["content"] for turn in older.chat()])
        return f"summary {len(self.summarized)}"

    async def recall(self, limits: History = WIDE, agent: str = "me", **fields: Any) -> list[Any]:
        """The contents of the turns that the agent's model sees."""
        past = await self.memory(agent, **fields).recall(limits, self.summarize)
        return [turn["content"] for turn in past.chat()]

    def summaries(self) -> list[Mapping[str, Any]]:
        return [message.payload.content for message in self.bench.stored("event.summary.*")]


async def test_an_exchange_says_who_asked_whom_and_when(tmp_path: Path) -> None:
    conversation = Conversation(tmp_path)
    source = {"id": "maria", "type": "external"}
    await conversation.exchanged("hello", "hi", source=source, timestamp=5)
    [event] = conversation.bench.stored("event.conversation.*")
    assert event.payload.content == {
        "event": "conversation_exchange",
        "task": "t-1",
        "parent": None,
        "from": source,
        "agent": "me",
        "user": "hello",
        "assistant": "hi",
        "at": 5,
    }
    assert event.context.conversation_id == "c"


async def test_exchanges_are_recalled_in_order(tmp_path: Path) -> None:
    conversation = Conversation(tmp_path)
    assert await conversation.recall() == []
    await conversation.exchanged("one", "1")
    await conversation.exchanged("two", "2")
    assert await conversation.recall() == ["one", "1", "two", "2"]
    assert conversation.summarized == []


async def test_the_words_of_other_agents_are_named_user_turns(tmp_path: Path) -> None:
    conversation = Conversation(tmp_path)
    await conversation.exchanged("ask", "mine", source={"id": "boss", "type": "agent"})
    await conversation.exchanged("ask", "theirs", agent="you")
    past = await conversation.memory().recall(WIDE, conversation.summarize)
    assert past.chat() == [
        {"role": "user", "content": "[boss] ask"},
        {"role": "assistant", "content": "mine"},
        {"role": "user", "content": "ask"},
        {"role": "user", "content": "[you] theirs"},
    ]


async def test_an_empty_turn_is_left_out(tmp_path: Path) -> None:
    conversation = Conversation(tmp_path)
    await conversation.exchanged("", "an answer")
    assert await conversation.recall() == ["an answer"]


async def test_exchanges_that_a_task_has_led_to_itself_are_not_its_past(tmp_path: Path) -> None:
    conversation = Conversation(tmp_path)
    await conversation.exchanged("helper's work", "done", context={"parentMessageId": "t-2"})
    assert await conversation.recall() == []  # this is t-2
    assert await conversation.recall() == ["helper's work", "done"]


async def test_older_exchanges_are_summarized_once(tmp_path: Path) -> None:
    conversation = Conversation(tmp_path)
    for number in range(4):
        await conversation.exchanged(f"q{number}", f"a{number}")
    summary, *rest = await conversation.recall(NARROW)
    assert summary.endswith("summary 1")
    assert rest == ["q3", "a3"]
    assert conversation.summarized == [["q0", "a0", "q1", "a1", "q2", "a2"]]
    again, *rest = await conversation.recall(NARROW)
    assert (again, rest) == (summary, ["q3", "a3"])
    assert len(conversation.summarized) == 1
    [stored] = conversation.summaries()
    assert (stored["summary"], stored["agent"]) == ("summary 1", "me")


async def test_a_summary_is_summarized_with_what_came_after_it(tmp_path: Path) -> None:
    conversation = Conversation(tmp_path)
    for number in range(3):
        await conversation.exchanged(f"q{number}", f"a{number}")
    await conversation.recall(NARROW)
    for number in range(3, 5):
        await conversation.exchanged(f"q{number}", f"a{number}")
    await conversation.recall(NARROW)
    earlier, *rest = conversation.summarized[1]
    assert earlier.endswith("summary 1")
    assert rest == ["q2", "a2", "q3", "a3"]


async def test_each_agent_has_its_own_summaries(tmp_path: Path) -> None:
    conversation = Conversation(tmp_path)
    for number in range(3):
        await conversation.exchanged(f"q{number}", f"a{number}")
    await conversation.recall(NARROW)
    await conversation.recall(NARROW, agent="you")
    assert len(conversation.summarized) == 2


async def test_a_summary_that_fails_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = Conversation(tmp_path)
    for number in range(3):
        await conversation.exchanged(f"q{number}", f"a{number}")

    async def fail(older: Past) -> str:
        raise TaskError("no model", code="any")

    past = await conversation.memory().recall(NARROW, fail)
    assert [turn["content"] for turn in past.chat()] == ["q2", "a2"]
    assert "continues without a summary: any: no model" in caplog.text
    assert conversation.summaries() == []


async def test_a_summary_that_is_not_stored_is_used_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = Conversation(tmp_path)
    for number in range(3):
        await conversation.exchanged(f"q{number}", f"a{number}")
    log = conversation.bench.bus.streams[LOG]
    log.config = {**log.config, "subjects": ()}  # it takes nothing more
    summary, *_ = await conversation.recall(NARROW)
    assert summary.endswith("summary 1")
    assert "a summary was not stored" in caplog.text


async def test_trimming_asks_no_model(tmp_path: Path) -> None:
    conversation = Conversation(tmp_path)
    for number in range(3):
        await conversation.exchanged(f"q{number}", f"a{number}")
    limits = History(max_messages=3, keep=1, compact="trim")
    assert await conversation.recall(limits) == ["q2", "a2"]
    assert (conversation.summarized, conversation.summaries()) == ([], [])


@pytest.mark.parametrize(("count", "noted"), [(101, 1), (100, 0)])
async def test_many_exchanges_that_no_longer_fit_are_noted_so_that_they_are_not_read_again(
    tmp_path: Path, count: int, noted: int
) -> None:
    conversation = Conversation(tmp_path)
    for number in range(count):
        await conversation.exchanged(f"q{number}", f"a{number}")
    limits = History(max_messages=3, keep=1, compact="trim")
    assert await conversation.recall(limits) == [f"q{count - 1}", f"a{count - 1}"]
    assert len(conversation.summaries()) == noted


async def test_what_is_not_an_exchange_is_no_memory(tmp_path: Path) -> None:
    conversation = Conversation(tmp_path)
    await conversation.exchanged("one", "1")
    [event] = conversation.bench.stored("event.conversation.*")
    [stored] = conversation.bench.bus.streams[LOG].on("agents.dev.event.conversation.*")
    invalid: list[Any] = [
        "text",
        {"event": "conversation_exchange", "agent": "me"},
        {**event.payload.content, "user": 7},
        {**event.payload.content, "event": "other"},
    ]
    for content in invalid:
        message = new("event", content, source=AgentIdentity(id="stranger"))
        await conversation.bench.bus.request(stored.subject, encode(message))
    await conversation.bench.bus.request(stored.subject, b"garbage")
    assert await conversation.recall() == ["one", "1"]
