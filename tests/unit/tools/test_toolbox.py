"""A toolbox: which tools a model gets, which calls run, and what the model receives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agentd.errors import BusError
from agentd.manifest.tools import ToolEntry
from agentd.models.port import ToolCall
from agentd.protocol.message import AgentIdentity, new
from agentd.tools.port import Call, Emitted, Tool, ToolError
from agentd.tools.toolbox import MOST_SHOWN, ToolAnswer, Toolbox, ToolboxEntry, shown, written

TASK = new("task", "Work.", source=AgentIdentity(id="tester"))
COUNT = {
    "type": "object",
    "properties": {"count": {"type": "integer", "maximum": 9}},
    "additionalProperties": False,
}


class FakeTool:
    """A tool, and the source of it, that gives one answer or raises it."""

    takes_key = False

    def __init__(self, name: str = "count", answer: Any = "done", trouble: str = "") -> None:
        self.name = name
        self.description = f"The tool {name}."
        self.parameters: Mapping[str, Any] = COUNT
        self.trouble = trouble
        self.calls: list[Call] = []
        self._answer = answer

    @property
    def tools(self) -> Sequence[Tool]:
        return () if self.trouble else (self,)

    async def call(self, call: Call) -> Any:
        self.calls.append(call)
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


class Hanging(FakeTool):
    async def call(self, call: Call) -> Any:
        await asyncio.sleep(60)


class Mailer(FakeTool):
    """Its calls ask for messages."""

    def emitted(self, arguments: Mapping[str, Any]) -> Sequence[Emitted]:
        return [Emitted(to="task.mail.send", content=arguments["count"])]


class Server(FakeTool):
    """A source of several tools."""

    @property
    def tools(self) -> Sequence[Tool]:
        return [FakeTool(name) for name in ("read", "write", "delete")]


class Prompting(FakeTool):
    async def prepare(self) -> Mapping[str, str]:
        return {self.name: "text"}


def entry(tool: FakeTool, **declared: Any) -> ToolboxEntry:
    return ToolboxEntry(ToolEntry.model_construct(**declared), tool)


async def no_money() -> float:
    return 0.0


def request(timeout: float = 5.0) -> Call:
    return Call(arguments={}, key="k", timeout=timeout, task=TASK, agent="one", money=no_money)


async def call(toolbox: Toolbox, name: str = "count", arguments: str = "{}") -> ToolAnswer:
    return await toolbox.call(ToolCall("1", name, arguments), request())


async def test_a_call_receives_its_arguments_and_gives_the_answer_as_text() -> None:
    tool = FakeTool(answer={"a": "ü"})

    answer = await call(Toolbox([entry(tool)]), arguments='{"count": 3}')

    assert answer == ToolAnswer('{"a": "ü"}')
    assert tool.calls[0].arguments == {"count": 3}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("{", "JSON"),
        ("[" * 100_000, "JSON"),
        ('{"count": 10}', "10 is greater than the maximum of 9"),
        ('{"other": 1}', "'other' was unexpected"),
        ("[]", "[] is not of type 'object'"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused(arguments: str, why: str) -> None:
    tool = FakeTool()

    answer = await call(Toolbox([entry(tool)]), arguments=arguments)

    assert answer.error
    assert why in answer.text
    assert tool.calls == []


async def test_no_arguments_are_an_empty_object() -> None:
    assert not (await call(Toolbox([entry(FakeTool())]), arguments="")).error


async def test_arguments_are_an_object_whatever_the_schema_says() -> None:
    tool = FakeTool()
    tool.parameters = {}

    assert (await call(Toolbox([entry(tool)]), arguments="3")).error


async def test_an_unknown_tool_is_refused_with_the_names_there_are() -> None:
    away = FakeTool("away", trouble="mail.example.org: cannot be reached")

    answer = await call(Toolbox([entry(FakeTool()), entry(away)]), "cuont")

    assert answer.error
    assert "'cuont'" in answer.text
    assert "count" in answer.text
    assert "mail.example.org: cannot be reached" in answer.text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ToolError("no such city"), "no such city"),
        (KeyError("bug"), "count failed with an internal error: KeyError: 'bug'"),
    ],
)
async def test_an_error_is_the_answer(error: Exception, text: str) -> None:
    assert await call(Toolbox([entry(FakeTool(answer=error))])) == ToolAnswer(text, error=True)


async def test_an_error_of_nats_is_raised() -> None:
    with pytest.raises(BusError):
        await call(Toolbox([entry(FakeTool(answer=BusError("no NATS")))]))


async def test_a_call_that_takes_too_long_is_an_error() -> None:
    answer = await call(Toolbox([entry(Hanging(), timeout=0.01)]))

    assert answer.error
    assert "within 0.01 s" in answer.text


@pytest.mark.parametrize(
    ("declared", "given", "granted"),
    [({}, 100, 30), ({}, 5, 5), ({"timeout": 2.0}, 5, 2), ({"agent": "x"}, 100, 100)],
)
async def test_the_shorter_timeout_counts(
    declared: dict[str, Any], given: float, granted: float
) -> None:
    tool = FakeTool()
    await Toolbox([entry(tool, **declared)]).call(ToolCall("1", "count", "{}"), request(given))

    assert tool.calls[0].timeout == granted


async def test_an_accepted_call_carries_the_messages_it_asks_for() -> None:
    answer = await call(Toolbox([entry(Mailer())]), arguments='{"count": 3}')

    assert answer.emitted == (Emitted(to="task.mail.send", content=3),)


async def test_a_call_that_failed_asks_for_no_messages() -> None:
    toolbox = Toolbox([entry(Mailer(answer=ToolError("full")))])

    assert (await call(toolbox, arguments='{"count": 3}')).emitted == ()


def test_a_recorded_answer_carries_the_same_messages_without_a_call() -> None:
    tool = Mailer()
    toolbox = Toolbox([entry(tool)])
    made = ToolCall("1", "count", '{"count": 3}')

    accepted = toolbox.recorded(made, "done", error=False)
    failed = toolbox.recorded(made, "full", error=True)

    assert accepted == ToolAnswer("done", emitted=(Emitted(to="task.mail.send", content=3),))
    assert failed == ToolAnswer("full", error=True, final=True)
    assert tool.calls == []


def test_a_recorded_answer_is_kept_when_its_tool_no_longer_exists() -> None:
    made = ToolCall("1", "count", '{"count": 3}')

    assert Toolbox().recorded(made, "done", error=False) == ToolAnswer("done")


@pytest.mark.parametrize(
    ("declared", "names"),
    [
        ({}, ["read", "write", "delete"]),
        ({"allow": ("read", "other")}, ["read"]),
        ({"deny": ("delete",)}, ["read", "write"]),
        ({"mcp": object(), "name": "fs"}, ["fs_read", "fs_write", "fs_delete"]),
        ({"openapi": object(), "name": "fs"}, ["fs_read", "fs_write", "fs_delete"]),
    ],
)
def test_the_manifest_chooses_and_names_the_tools_of_a_server(
    declared: dict[str, Any], names: list[str]
) -> None:
    assert list(Toolbox([entry(Server(), **declared)]).tools) == names


def test_the_manifest_names_and_describes_a_single_tool() -> None:
    toolbox = Toolbox([entry(FakeTool(), name="sum", description="Adds.")])

    assert toolbox.tools["sum"].schema == {
        "type": "function",
        "function": {"name": "sum", "description": "Adds.", "parameters": COUNT},
    }


def test_of_two_tools_with_one_name_the_first_counts(caplog: pytest.LogCaptureFixture) -> None:
    first, second = FakeTool(), FakeTool()

    assert Toolbox([entry(first), entry(second)]).tools["count"].tool is first
    assert "count" in caplog.text


def test_a_required_tool_that_is_away_is_missing() -> None:
    away = FakeTool(trouble="server: is not connected")

    assert Toolbox([entry(away)]).missing == ()
    assert Toolbox([entry(away, required=True)]).missing == ("server: is not connected",)
    assert Toolbox([entry(FakeTool(), required=True)]).missing == ()


async def test_the_sources_give_texts_for_the_prompt() -> None:
    toolbox = Toolbox([entry(FakeTool()), entry(Prompting("a")), entry(Prompting("b"))])

    assert await toolbox.prepare() == {"a": "text", "b": "text"}


@pytest.mark.parametrize("extra", [0, 1])
def test_a_long_answer_is_cut(extra: int) -> None:
    text = "x" * (MOST_SHOWN + extra)

    cut = shown(text)

    assert cut.startswith("x" * MOST_SHOWN)
    assert (cut == text) is (extra == 0)
    assert extra == 0 or f"{len(text):,} characters" in cut


@pytest.mark.parametrize("value", [None, True, 1.5, [], {"a": [1]}, ["ü"]])
def test_data_is_shown_as_json(value: Any) -> None:
    assert json.loads(written(value)) == value
