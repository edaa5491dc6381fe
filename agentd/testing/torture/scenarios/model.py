"""Model servers that refuse, hang, drip, break off, or answer nonsense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from agentd.testing.stub_model import Behaviour, Fault
from agentd.testing.torture.harness import World
from agentd.testing.torture.oracle import Allowed
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import TaskDraft

_TIMEOUT, _BACKOFF, _ATTEMPTS = 2.0, 0.2, 2
# These end with an answer. No agent of this scenario has a schema.
_FINE = {"no-done", "no-stream-options", "no-schemas"}
# Another attempt would fail in the same way, so that agentd makes none.
_FINAL = {
    "401": "model_auth",
    "404": "model_not_found",
    "huge": "model_too_large",
    "context": "model_rejected",
    "policy": "model_refused",
}
_AWAITED = "503"  # a task waits for such a server as long as it has time


async def llm(world: World, size: Size) -> None:
    """Every fault, plain and streaming: the right error code in time, and only allowed calls."""
    faults = [fault for fault in get_args(Fault) if fault != _AWAITED]
    cases = [(domain, fault) for fault in faults for domain in ("plain", "streaming")]
    for domain, fault in cases:
        name = f"{domain}-{fault}"
        # Each agent has a separate endpoint: a cooldown applies to all agents that use an endpoint.
        world.agent(
            name,
            capabilities=[name],
            model=world.model(api_key=name) | {"timeout": f"{_TIMEOUT}s"},
            stream=domain == "streaming",
            retry={"attempts": _ATTEMPTS, "backoff": f"{_BACKOFF}s", "max_backoff": f"{_BACKOFF}s"},
        )
    world.behave = _requested_fault
    tasks: dict[str, tuple[str, str]] = {}
    first: set[str] = set()
    await world.up(1)
    for _ in range(size.tasks):
        names = await world.sender.send(
            len(cases), lambda n: TaskDraft(domain="-".join(cases[n]), content=cases[n][1])
        )
        await world.at_rest()
        first = first or set(names)
        tasks |= dict(zip(names, cases, strict=True))
    dead = {
        task: "exhausted" for task, (_, fault) in tasks.items() if fault not in _FINE | {*_FINAL}
    }
    failing = [task for task, (_, fault) in tasks.items() if fault in _FINAL]
    seen = await world.judge(Allowed(extra_calls=2 * len(tasks), dead=dead, failing=failing))
    for task, (domain, fault) in tasks.items():
        calls, policy = len(seen.calls.get(task, ())), _calls_allowed(domain, fault)
        if fault == "no-stream-options" and task not in first:
            policy = 1  # the endpoint remembers what the first call has found out
        world.findings.require(calls == policy, f"{fault}, {domain}: {calls} calls, not {policy}")
        code = seen.outcomes[task][0].code if task in seen.outcomes else "no outcome"
        world.findings.require(code == _code(fault), f"{fault}, {domain}: ended with {code}")
    accepted = world.sender.accepted
    slowest = max(outcomes[0].at - accepted[task] for task, outcomes in seen.outcomes.items())
    world.findings.figures["cases"] = len(tasks)
    world.limit("slowest", slowest, _ATTEMPTS * _TIMEOUT + _BACKOFF + 0.5)


def _requested_fault(_task: str, body: Mapping[str, Any]) -> Behaviour:
    """The second word of a task names the fault."""
    fault: Fault = str(body["messages"][-1]["content"]).split()[1]  # pyright: ignore
    return Behaviour(fault=fault, retry_after="0.1")


def _calls_allowed(domain: str, fault: str) -> int:
    if fault == "no-stream-options" and domain == "streaming":
        return 2  # once with the option, once without
    if fault == "reset":
        # A kept connection may have been closed by the server, so agentd repeats the call once.
        return 2 * _ATTEMPTS
    return 1 if fault in _FINE or fault in _FINAL else _ATTEMPTS


def _code(fault: str) -> str | None:
    return None if fault in _FINE else _FINAL.get(fault, "exhausted")
