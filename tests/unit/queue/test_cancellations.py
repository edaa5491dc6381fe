"""What belongs to a cancelled scope, and how a cancellation ends a running block."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import cast

import pytest

from agentd.errors import Undeliverable
from agentd.nats.bus import Bus, Msg
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, new
from agentd.queue import cancellations as module
from agentd.queue.cancellations import Cancellations, Scope, refusal, scopes_of


def task(id: str, *, conversation: str = "c", correlation: str | None = None) -> AgentMessage:  # noqa: A002
    context = Context(conversation_id=conversation)
    source = AgentIdentity(id="you")
    return new("task", "hi", source=source, id=id, context=context, correlation_id=correlation)


class Bucket:
    """A bus that hands every change of the bucket to the one subscriber."""

    async def change(self, scope: Scope, *, cancelled: bool) -> None:
        data = b"x" if cancelled else b""
        await self.handler(cast("Msg", Change(f"$KV.agentd_stops.dev.{scope.key}", data)))

    def attach(self, cancellations: Cancellations) -> None:
        self.handler = cancellations._on_change  # pyright: ignore[reportPrivateUsage]


class Change:
    """A message as far as a bucket's watcher reads it."""

    def __init__(self, subject: str, data: bytes) -> None:
        self.subject = subject
        self.data = data


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def cancellations(bucket: Bucket) -> Cancellations:
    made = Cancellations(cast("Bus", None), "dev")
    bucket.attach(made)
    return made


def test_a_task_brings_all_that_follows_from_it() -> None:
    scope = Scope("task", "root")

    assert scope.holds(task("root"))
    assert scope.holds(task("child", correlation="root"))
    assert not scope.holds(task("other"))


def test_a_conversation_brings_all_its_messages() -> None:
    scope = Scope("conversation", "c")

    assert scope.holds(task("any"))
    assert not scope.holds(task("any", conversation="d"))


def test_a_task_and_a_conversation_of_one_id_are_two_scopes() -> None:
    assert Scope("task", "x").key != Scope("conversation", "x").key


def test_every_scope_of_a_message_holds_it() -> None:
    message = task("child", correlation="root")

    assert scopes_of(message) == (
        Scope("conversation", "c"),
        Scope("task", "child"),
        Scope("task", "root"),
    )
    assert all(scope.holds(message) for scope in scopes_of(message))


async def test_a_cancelled_message_is_refused(cancellations: Cancellations, bucket: Bucket) -> None:
    await bucket.change(Scope("conversation", "c"), cancelled=True)
    with (
        pytest.raises(Undeliverable, match="the conversation 'c' was cancelled") as refused,
        cancellations.obeyed(task("t")),
    ):
        raise AssertionError("it must not run")
    assert refused.value.code == "cancelled"

    with cancellations.obeyed(task("t", conversation="another")):
        pass
    await bucket.change(Scope("conversation", "c"), cancelled=False)
    with cancellations.obeyed(task("t")):
        pass


async def test_a_cancellation_ends_what_is_running(
    cancellations: Cancellations, bucket: Bucket
) -> None:
    async def run(message: AgentMessage) -> None:
        with cancellations.obeyed(message):
            await asyncio.sleep(60)

    running = asyncio.create_task(run(task("child", correlation="root")))
    other = asyncio.create_task(run(task("other")))
    await asyncio.sleep(0)
    await bucket.change(Scope("task", "root"), cancelled=True)

    with pytest.raises(Undeliverable, match="the task 'root' was cancelled"):
        await running
    assert not other.done()
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other


async def test_a_cancellation_from_elsewhere_stays_one(cancellations: Cancellations) -> None:
    async def run() -> None:
        with cancellations.obeyed(task("t")):
            await asyncio.sleep(60)

    running = asyncio.create_task(run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_the_refusal_names_what_was_cancelled() -> None:
    assert str(refusal(Scope("task", "x" * 200))) == f"the task {'x' * 100!r} was cancelled"


async def test_only_the_newest_cancellations_count(
    bucket: Bucket, cancellations: Cancellations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    for number in range(5):
        await bucket.change(Scope("task", f"t{number}"), cancelled=True)
    for number, obeyed in enumerate([False, False, True, True, True]):
        refused = pytest.raises(Undeliverable) if obeyed else nullcontext()
        with refused, cancellations.obeyed(task(f"t{number}")):
            pass


async def test_what_is_no_key_is_not_kept(bucket: Bucket, cancellations: Cancellations) -> None:
    for key in ("x" * 100_000, "ü", "0" * 31, "A" * 32):
        await bucket.handler(cast("Msg", Change(f"$KV.agentd_stops.dev.{key}", b"x")))
    assert not cancellations._cancelled  # pyright: ignore[reportPrivateUsage]
    assert not cancellations._heard  # pyright: ignore[reportPrivateUsage]
