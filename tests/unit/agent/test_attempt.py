"""One attempt at a task: whether it is begun, and what becomes of how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentd.agent.attempt import attempt, excuse
from agentd.errors import Again, ModelError, TaskError
from agentd.queue.dead_letters import ATTEMPTS, REASON
from agentd.queue.journal import STARTED
from tests.unit.workbench import MANIFEST, NOW, Answer, ScriptedModel, Workbench, calls, revision_of

# The next task of the same schedule is due ten seconds after NOW.
SCHEDULED = {"Nats-Schedule-Next": "2023-11-14T22:13:30Z"}
FAILED = ModelError("busy", code="model_overloaded", retryable=True)


def workbench(folder: Path, *answers: Answer, more: str = "") -> Workbench:
    return Workbench(revision_of(folder, f"{MANIFEST}\n{more}", ScriptedModel(*answers)))


def model_calls(bench: Workbench) -> int:
    model = bench.revision.model
    assert isinstance(model, ScriptedModel)
    return len(model.requests)


@pytest.mark.parametrize(
    ("seconds", "number", "missed"),
    [(9.999, 1, False), (10.0, 1, True), (11.0, 1, True), (11.0, 2, False)],
    ids=["not due yet", "due now", "due before", "due before, but begun already"],
)
async def test_a_scheduled_task_is_missed_if_the_next_one_is_due_before_it_was_begun(
    tmp_path: Path, seconds: float, number: int, missed: bool
) -> None:
    bench = workbench(tmp_path)
    delivery = bench.delivery(headers=SCHEDULED, attempt=number)
    bench.now = NOW + seconds
    outcome = await attempt(bench.task(delivery))
    assert outcome
    assert outcome.success is not missed
    assert model_calls(bench) == (0 if missed else 1)
    if missed:
        assert bench.result()["error"] == {
            "code": "missed",
            "message": "the next task of its schedule was due first",
            "retryable": False,
        }


async def test_a_task_whose_result_is_on_record_is_not_run_again(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    assert await attempt(bench.task())
    assert await attempt(bench.task(bench.delivery(attempt=2))) is None
    assert model_calls(bench) == 1


async def test_a_failed_attempt_is_noted_and_raises_again_with_its_pause(tmp_path: Path) -> None:
    bench = workbench(tmp_path, FAILED, more="retry: {backoff: 8s}")
    with pytest.raises(Again) as again:
        await attempt(bench.task())
    assert 0 <= again.value.delay <= 8
    assert again.value.error is FAILED
    assert bench.journal() == ["attempt_failed"]
    assert bench.stored("result.>") == []


async def test_the_attempts_that_the_journal_has_are_counted(tmp_path: Path) -> None:
    bench = workbench(tmp_path, FAILED, more="retry: {attempts: 2, backoff: 1ms}")
    with pytest.raises(Again):
        await attempt(bench.task())
    outcome = await attempt(bench.task(bench.delivery(attempt=2)))
    assert outcome
    assert outcome.error
    assert outcome.error.code == "exhausted"
    letter = bench.dead_letter()
    assert (letter[REASON], letter[ATTEMPTS]) == ("exhausted", "2")


async def test_an_answer_that_was_cut_off_by_the_time_limit_is_not_begun_again(
    tmp_path: Path,
) -> None:
    late = ModelError("no complete answer", code="model_timeout", retryable=True)
    bench = workbench(tmp_path, late, more="retry: {attempts: 5, backoff: 1ms}")
    first = bench.task()
    await first.journal.ended(late, 0.0, counted=120.0)
    outcome = await attempt(bench.task(bench.delivery(attempt=2)))
    assert outcome
    assert outcome.error
    assert outcome.error.code == bench.dead_letter()[REASON] == "expired"
    assert str(outcome.error) == "limits.timeout (120 s) was over before the model was called"
    assert model_calls(bench) == 0


async def test_a_task_whose_attempts_all_ended_with_their_process_is_given_up(
    tmp_path: Path,
) -> None:
    """The journal has their starts, and no entry says how they ended."""
    bench = workbench(tmp_path, more="retry: {attempts: 2}")
    for number in (2, 3):
        await bench.task(bench.delivery(attempt=number)).journal.note(STARTED)
    outcome = await attempt(bench.task(bench.delivery(attempt=4)))
    assert outcome
    assert outcome.error
    assert outcome.error.code == "poisonous"
    assert model_calls(bench) == 0
    assert bench.dead_letter()[ATTEMPTS] == "2"


async def test_a_task_that_may_have_killed_its_process_waits_for_its_turn(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    async with bench.services.suspects.turn(alone=False):
        attempting = asyncio.create_task(attempt(bench.task(bench.delivery(attempt=2))))
        first = asyncio.create_task(
            attempt(bench.task(bench.delivery(headers={"Agentd-Task": "t-2"})))
        )
        await first
        for _ in range(50):
            await asyncio.sleep(0)
        assert not attempting.done()
        assert bench.journal() == []
    assert await attempting
    assert bench.journal() == [STARTED]


async def test_a_suspects_wait_for_its_turn_is_not_its_own_time(tmp_path: Path) -> None:
    bench = workbench(tmp_path, more="limits: {timeout: 150ms}")
    async with bench.services.suspects.turn(alone=False):
        attempting = asyncio.create_task(attempt(bench.task(bench.delivery(attempt=2))))
        await asyncio.sleep(0.3)
    outcome = await attempting
    assert outcome
    assert outcome.result


async def test_a_bug_is_an_error_of_the_task_and_is_not_tried_again(tmp_path: Path) -> None:
    bench = workbench(tmp_path, LookupError("oops"))
    outcome = await attempt(bench.task())
    assert outcome
    assert outcome.error
    assert (outcome.error.code, str(outcome.error)) == ("internal", "LookupError: oops")


async def test_an_expired_task_is_dead_lettered_before_its_model_is_called(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    delivery = bench.delivery({"payload": {"content": "x"}, "routing": {"timeout": 1000}})
    bench.now = NOW + 1
    outcome = await attempt(bench.task(delivery))
    assert outcome
    assert outcome.error
    assert outcome.error.code == bench.dead_letter()[REASON] == "expired"
    assert model_calls(bench) == 0


async def test_a_cancelled_attempt_is_excused_and_stays_cancelled(tmp_path: Path) -> None:
    bench = workbench(tmp_path, asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await attempt(bench.task())
    assert bench.journal() == ["handed_back"]
    assert bench.stored("result.>") == []


async def test_an_attempt_that_cannot_be_excused_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = workbench(tmp_path)
    bench.bus.streams.clear()
    await excuse(bench.task(), patience=0.01)
    assert "t-1 counts as an attempt" in caplog.text


async def test_a_task_for_another_agent_is_forwarded_once_and_not_run(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    await bench.online("you", "other")
    body = {"payload": {"content": "x"}, "target": "you"}
    for number in (1, 2):
        assert await attempt(bench.task(bench.delivery(body, attempt=number))) is None
    [forwarded] = bench.stored("task._agent.you.*")
    assert (forwarded.target, forwarded.payload.content) == ("you", "x")
    assert model_calls(bench) == 0


async def test_a_task_for_an_agent_that_is_not_online_is_refused(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    outcome = await attempt(
        bench.task(bench.delivery({"payload": {"content": "x"}, "target": "you"}))
    )
    assert outcome
    assert outcome.error
    assert outcome.error.code == bench.dead_letter()[REASON] == "no_taker"


async def test_an_answer_is_streamed_before_its_result(tmp_path: Path) -> None:
    bench = workbench(tmp_path, "hello there", more="stream: true")
    await attempt(bench.task())
    subjects = [subject for subject, _ in bench.bus.published]
    assert subjects.count("agents.dev.stream.response.t-1") >= 1
    assert subjects.index("agents.dev.stream.response.t-1") < subjects.index(
        "agents.dev.result.analysis.x.t-1"
    )


async def test_nothing_follows_from_calls_that_are_given_back(tmp_path: Path) -> None:
    more = "client_tools: true\nemit: [{event: report.ready}]"
    bench = workbench(tmp_path, calls("weather"), more=more)
    asked = {"content": "Rain?", "tools": [{"name": "weather"}]}
    await attempt(bench.task(bench.delivery({"id": "t-1", "payload": asked})))
    assert [call["name"] for call in bench.result()["calls"]] == ["weather"]
    assert bench.stored("event.report.*") == []


async def test_an_error_that_stays_is_the_outcome(tmp_path: Path) -> None:
    bench = workbench(tmp_path, TaskError("no", code="any"))
    outcome = await attempt(bench.task())
    assert outcome
    assert outcome.error
    assert (outcome.error.code, bench.stored("dlq.>")) == ("any", [])
    assert bench.result()["success"] is False


ACCEPTS = "accepts: {type: object, properties: {order: {type: string}}, required: [order]}"


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ({"order": "A-1"}, None),
        ({"order": 1}, "payload.content.order: 1 is not of type 'string'"),
        ("hello", "payload.content: 'hello' is not of type 'object'"),
    ],
)
async def test_a_task_whose_content_the_agent_does_not_accept_ends_before_the_model_is_called(
    tmp_path: Path, content: object, wrong: str | None
) -> None:
    bench = workbench(tmp_path, more=ACCEPTS)
    outcome = await attempt(bench.task(bench.delivery({"payload": {"content": content}})))
    assert outcome
    assert model_calls(bench) == (0 if wrong else 1)
    if wrong:
        assert bench.result()["error"] == {
            "code": "invalid_input",
            "message": f"me does not accept this content: {wrong}",
            "retryable": False,
        }
        assert bench.journal() == []


async def test_a_run_that_resumes_was_admitted_before_an_edit_of_what_is_accepted(
    tmp_path: Path,
) -> None:
    bench = workbench(tmp_path, more=ACCEPTS)
    task = bench.task()
    await task.journal.step("tool_called", 1, 0, name="x", key="k")
    assert (await attempt(bench.task(bench.delivery(attempt=2)))) is not None
    assert model_calls(bench) == 1
