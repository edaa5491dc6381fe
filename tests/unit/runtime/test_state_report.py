"""The state report: written on SIGUSR1 even while the event loop is busy, and bounded."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from agentd.runtime import stacks
from agentd.runtime.state_report import StateReport


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", "agentd")
    return caplog


def records(caplog: pytest.LogCaptureFixture, title: str) -> list[str]:
    """The texts of one section of the report."""
    head = f"state report, {title}:\n"
    found = (record.getMessage() for record in caplog.records)
    return [text.removeprefix(head) for text in found if text.startswith(head)]


async def test_a_signal_is_answered_while_the_event_loop_is_busy(
    logged: pytest.LogCaptureFixture,
) -> None:
    with StateReport(asyncio.get_running_loop()).on_signal():
        os.kill(os.getpid(), signal.SIGUSR1)
        deadline = time.monotonic() + 5
        while not records(logged, "threads"):  # nothing is awaited here
            assert time.monotonic() < deadline

    [process] = records(logged, "process")
    assert f"process {os.getpid()}" in process
    assert "starting: no agent runs yet" in process
    [threads] = records(logged, "threads")
    assert "test_a_signal_is_answered_while_the_event_loop_is_busy (" in threads


async def test_the_handler_that_was_there_before_is_put_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with StateReport(asyncio.get_running_loop()).on_signal():
        assert signal.getsignal(signal.SIGUSR1) != before
    assert signal.getsignal(signal.SIGUSR1) == before


async def test_a_report_that_fails_does_not_fail_the_code_that_it_interrupts(
    monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> list[list[str]]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(stacks, "of_tasks", broken)
    with StateReport(asyncio.get_running_loop()).on_signal():
        signal.raise_signal(signal.SIGUSR1)

    assert [r.getMessage() for r in logged.records if r.exc_info] == ["the state report failed"]


async def test_a_report_is_bounded(
    monkeypatch: pytest.MonkeyPatch, logged: pytest.LogCaptureFixture
) -> None:
    many = [[f"stack {number}"] for number in range(250)]
    monkeypatch.setattr(stacks, "of_tasks", lambda _: many)
    monkeypatch.setattr(stacks, "of_threads", lambda _: ["x" * 2_000] * 300)

    StateReport(asyncio.get_running_loop()).write()

    stack = records(logged, "asyncio stack")
    assert stack[99:] == ["stack 99", "150 more stacks are not shown"]
    threads = records(logged, "threads")
    assert all(len(text) < 8_000 for text in threads)
    lines = "\n".join(threads).splitlines()
    assert lines == [*["x" * 500] * 200, "100 more are not shown"]
