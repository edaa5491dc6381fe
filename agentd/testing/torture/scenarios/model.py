"""Model servers that refuse, hang, drip, break off, or answer nonsense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from agentd.testing.stub_model import Behaviour, Fault
from agentd.testing.torture.harness import World
from agentd.testing.torture.oracle import Allowed
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import Draft

_TIMEOUT, _BACKOFF, _ATTEMPTS = 2.0, 0.2, 2
_FINE = {"no-done", "no-stream-options"}
# Trying again would bring the same.
_FINAL = {"401": "model_auth", "404": "model_not_found", "huge": "model_too_large"}


async def llm(world: World, size: Size) -> None:
    """Every fault, plain and streaming: one typed outcome in time, and as many calls as allowed."""
    for domain, stream in (("plain", False), ("streaming", True)):
        world.agent(
            domain,
            capabilities=[domain],
            stream=stream,
            limits={"concurrency": 100, "timeout": f"{_TIMEOUT}s"},
            retry={"attempts": _ATTEMPTS, "backoff": f"{_BACKOFF}s", "max_backoff": f"{_BACKOFF}s"},
        )
    faults: list[Fault] = [*get_args(Fault)] * size.tasks
    cases = [(domain, fault) for fault in faults for domain in ("plain", "streaming")]
    world.behave = _fail_as_told
    await world.up(1)
    names = await world.sender.send(
        len(cases), lambda number: Draft(domain=cases[number][0], content=cases[number][1])
    )
    tasks = dict(zip(names, cases, strict=True))
    retried = {t: "exhausted" for t, (_, fault) in tasks.items() if fault not in _FINE | {*_FINAL}}
    final = [t for t, (_, fault) in tasks.items() if fault in _FINAL]
    extra = len(retried) * (_ATTEMPTS - 1) + len(cases)
    seen = await world.judge(Allowed(extra_calls=extra, dead=retried, failing=final))
    for task, (domain, fault) in tasks.items():
        calls = len(seen.calls.get(task, ()))
        policy = _calls_allowed(domain, fault)
        world.findings.require(calls == policy, f"{fault}, {domain}: {calls} calls, not {policy}")
        codes = [outcome.code for outcome in seen.outcomes.get(task, ())]
        if fault in _FINAL:
            world.findings.require(
                codes == [_FINAL[fault]], f"{fault}, {domain}: ended with {codes}"
            )
    ends = {task: outcomes[0].at for task, outcomes in seen.outcomes.items()}
    slowest = max(ends[task] - at for task, at in world.sender.accepted.items() if task in ends)
    world.findings.figures["cases"] = len(cases)
    world.limit("slowest", slowest, _ATTEMPTS * _TIMEOUT + _BACKOFF + 0.5)


def _fail_as_told(_task: str, body: Mapping[str, Any]) -> Behaviour:
    """The second word of a task is the fault that it wants."""
    fault: Fault = str(body["messages"][-1]["content"]).split()[1]  # pyright: ignore
    return Behaviour(fault=fault, retry_after="0.1")


def _calls_allowed(domain: str, fault: str) -> int:
    if fault == "no-stream-options" and domain == "streaming":
        return 2  # once with the option, once without
    return 1 if fault in _FINE or fault in _FINAL else _ATTEMPTS
