"""The chat that a run begins with: the prompt, the earlier turns, and what the user says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentd.models.estimate import expected
from agentd.models.port import ChatRequest, Completion, Model
from agentd.run.conversation import Opening, begin, compacted, template_context
from agentd.run.history import Past
from tests.unit.workbench import MANIFEST, NOW, ScriptedModel, Workbench, revision_of

EARLIER = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
REMEMBERING = f"{MANIFEST}\nhistory: {{max_messages: 3, max_tokens: 1000, keep: 1}}"


LONG = [
    {"role": role, "content": f"{number} " + "x" * 396}
    for number in range(8)
    for role in ("user", "assistant")
]


class Opener:
    """Begins the chat of an agent with this manifest. `summaries` are what its model is asked."""

    def __init__(self, folder: Path, manifest: str = MANIFEST, summary: str = "so far") -> None:
        self.bench = Workbench(revision_of(folder, manifest))
        self.summary = summary
        self.asked: list[tuple[Model, ChatRequest]] = []

    async def begin(self, content: Any, **context: Any) -> Opening:
        body = {
            "payload": {"content": content},
            "context": {"conversationId": "c", **context},
        }
        self.message = self.bench.delivery(body).task()
        revision = self.bench.revision
        run_context = self.bench.context(self.message)
        return await begin(revision, revision.model, self.message, run_context, ask=self.ask)

    async def compacted(self, opening: Opening) -> Opening | None:
        """The opening that `begin` gave, after a model found it too long."""
        revision, run_context = self.bench.revision, self.bench.context(self.message)
        return await compacted(
            opening, revision, revision.model, self.message, run_context, ask=self.ask
        )

    async def ask(self, model: Model, request: ChatRequest) -> Completion:
        self.asked.append((model, request))
        return Completion(self.summary, model.name, "stop")

    async def remember(self, *exchanges: tuple[str, str]) -> None:
        """Stores exchanges of the conversation, as earlier tasks did."""
        for number, (user, answer) in enumerate(exchanges):
            body = {"id": f"e-{number}", "payload": {"content": user}}
            delivery = self.bench.delivery({**body, "context": {"conversationId": "c"}})
            record = await self.bench.task(delivery).memory.exchange(user, answer)
            await self.bench.bus.request(record.subject, record.data)


async def test_a_chat_begins_with_the_prompt_and_ends_with_the_message(tmp_path: Path) -> None:
    opening = await Opener(tmp_path).begin("hello")
    prompt, user = {"role": "system", "content": "Hi."}, {"role": "user", "content": "hello"}
    assert opening == Opening(prompt, None, user, "hello")
    assert opening.chat == [prompt, user]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"instruction": "look", "more": 1}, "look"),
        ({"ä": 1}, '{"ä": 1}'),
        ([1, 2], "[1, 2]"),
        (None, "null"),
        ({"parts": [{"type": "text", "text": "only a part"}]}, "only a part"),
        (
            {"instruction": "look", "parts": [{"type": "text", "text": "a part"}]},
            "look\n\na part",
        ),
    ],
)
async def test_what_the_user_says_is_the_instruction_or_the_content_as_json(
    tmp_path: Path, content: Any, said: str
) -> None:
    opening = await Opener(tmp_path).begin(content)
    assert opening.chat[-1] == {"role": "user", "content": said}
    assert opening.asked == said


async def test_an_image_makes_the_user_turn_a_list_of_parts(tmp_path: Path) -> None:
    image = {"type": "image", "url": "https://example.org/x.png"}
    opening = await Opener(tmp_path).begin({"instruction": "look", "parts": [image]})
    said = opening.chat[-1]["content"]
    assert said[0] == {"type": "text", "text": "look"}
    assert said[1]["image_url"]["url"] == "https://example.org/x.png"
    assert opening.asked == "look\n[https://example.org/x.png]"


async def test_a_manifest_may_say_how_the_message_is_put(tmp_path: Path) -> None:
    opener = Opener(tmp_path, f"{MANIFEST}\ninput: 'Score this: {{{{ content }}}}'")
    assert (await opener.begin("hello")).asked == "Score this: hello"


async def test_an_agent_without_history_sees_what_the_sender_attached(tmp_path: Path) -> None:
    opener = Opener(tmp_path)
    await opener.remember(("not", "shown"))
    opening = await opener.begin("hello", history=EARLIER)
    assert list(opening.chat)[1:3] == EARLIER
    assert len((await opener.begin("hello")).chat) == 2


async def test_what_the_sender_attached_takes_precedence_over_the_memory(tmp_path: Path) -> None:
    opener = Opener(tmp_path, REMEMBERING)
    await opener.remember(("on", "record"))
    opening = await opener.begin("hello", history=EARLIER)
    assert list(opening.chat)[1:3] == EARLIER
    recalled = await opener.begin("hello")
    assert [each["content"] for each in recalled.chat][1:] == ["on", "record", "hello"]


@pytest.mark.parametrize("manifest", [MANIFEST, REMEMBERING])
async def test_a_sender_may_ask_for_the_memory_or_for_none(tmp_path: Path, manifest: str) -> None:
    opener = Opener(tmp_path, manifest)
    await opener.remember(("on", "record"))

    async def shown(**context: Any) -> list[str]:
        opening = await opener.begin("hello", **context)
        return [each["content"] for each in opening.chat][1:]

    earlier = [each["content"] for each in EARLIER]
    assert await shown(memory=True) == ["on", "record", "hello"]
    assert await shown(memory=True, history=EARLIER) == ["on", "record", *earlier, "hello"]
    assert await shown(memory=False) == ["hello"]
    assert await shown(memory=False, history=EARLIER) == [*earlier, "hello"]


async def test_what_the_sender_attached_is_trimmed(tmp_path: Path) -> None:
    opener = Opener(tmp_path, REMEMBERING)
    opening = await opener.begin("hello", history=[*EARLIER, *EARLIER])
    assert list(opening.chat)[1:-1] == EARLIER
    assert opener.asked == []


async def test_an_attached_history_without_turns_is_as_good_as_none(tmp_path: Path) -> None:
    opener = Opener(tmp_path, REMEMBERING)
    await opener.remember(("on", "record"))
    opening = await opener.begin("hello", history=[{"role": "system", "content": "obey"}])
    assert [each["content"] for each in opening.chat][1:] == ["on", "record", "hello"]


async def test_a_long_memory_is_summarized_by_the_model_in_half_of_the_time(
    tmp_path: Path,
) -> None:
    opener = Opener(tmp_path, REMEMBERING)
    await opener.remember(("one", "1"), ("two", "2"), ("three", "3"))
    opening = await opener.begin("hello")
    [(model, request)] = opener.asked
    assert model is opener.bench.revision.model
    assert 55 < request.timeout <= 60
    assert request.agent == "me"
    assert "user: one" in request.messages[1]["content"]
    summary, *rest = [each["content"] for each in opening.chat][1:]
    assert summary.endswith("so far")
    assert rest == ["three", "3", "hello"]


async def test_an_empty_summary_is_no_summary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opener = Opener(tmp_path, REMEMBERING, summary=" \n")
    await opener.remember(("one", "1"), ("two", "2"), ("three", "3"))
    opening = await opener.begin("hello")
    assert [each["content"] for each in opening.chat][1:] == ["three", "3", "hello"]
    assert "model_garbage: mock/m gave an empty summary" in caplog.text


async def test_a_manifest_may_name_another_model_for_summaries(tmp_path: Path) -> None:
    opener = Opener(tmp_path, REMEMBERING)
    cheap = ScriptedModel(name="cheap")
    opener.bench.revision = type(opener.bench.revision)(
        opener.bench.revision.spec, opener.bench.revision.models, summarizer=cheap
    )
    await opener.remember(("one", "1"), ("two", "2"), ("three", "3"))
    await opener.begin("hello")
    assert [model for model, _ in opener.asked] == [cheap]


def test_a_prompt_knows_the_time_of_its_run(tmp_path: Path) -> None:
    bench = Workbench(revision_of(tmp_path, MANIFEST))
    message = bench.delivery().task()
    values = template_context(bench.revision, bench.revision.model, message, NOW)
    assert values["now"].isoformat() == "2023-11-14T22:13:20+00:00"
    assert values["agent"]["model"] == "mock/m"


@pytest.mark.parametrize("manifest", [MANIFEST, f"{MANIFEST}\nhistory: {{compact: trim}}"])
async def test_each_compaction_leaves_out_the_older_half_until_nothing_is_left(
    tmp_path: Path, manifest: str
) -> None:
    opener = Opener(tmp_path, manifest)
    opening: Opening | None = await opener.begin("hello", history=LONG)
    sizes, newest = list[int](), LONG[-1]["content"]
    while opening:
        sizes.append(len(opening.past.exchanges) if opening.past else 0)
        assert not sizes[-1] or opening.chat[-2]["content"] == newest
        assert (opening.chat[0]["content"], opening.chat[-1]["content"]) == ("Hi.", "hello")
        opening = await opener.compacted(opening)
    assert sizes == [8, 4, 2, 1, 0]


async def test_the_past_that_is_on_record_is_summarized_for_a_small_context(
    tmp_path: Path,
) -> None:
    opener = Opener(tmp_path, f"{MANIFEST}\nhistory: {{max_tokens: 4000, keep: 2}}")
    await opener.remember(*[(f"{n} " + "x" * 1200, "y" * 1200) for n in range(6)])
    opening = await opener.begin("hello")
    assert opening.past
    assert (len(opening.past.exchanges), opener.asked) == (6, [])
    smaller = await opener.compacted(opening)
    assert smaller
    assert smaller.past
    assert smaller.past.tokens <= opening.past.tokens // 2
    assert smaller.past.summary == "so far"
    [(_, request)] = opener.asked
    # What the model is to condense must fit its context as well.
    assert expected(request).input_tokens < opening.past.tokens


async def test_a_past_is_cut_to_what_the_context_is_known_to_take(tmp_path: Path) -> None:
    opener = Opener(tmp_path)
    revision = opener.bench.revision
    revision.sizes.note(revision.model.name, 500)
    opening = await opener.begin("hello", history=LONG)
    request = ChatRequest(opening.chat, {}, 1)
    assert 300 < expected(request).input_tokens <= 500
    revision.sizes.note(revision.model.name, 3)
    assert (await opener.begin("hello", history=LONG)).past == Past()
