"""A revision is built from an agent's files, or its problems are named at their places."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Never

import pytest

from agentd.catalog.catalog import load
from agentd.catalog.spec import AgentSpec
from agentd.manifest.tools import ToolEntry
from agentd.models.choose import Models
from agentd.problems import Problem
from agentd.run.revision import Revision
from agentd.runtime.revision_builder import CannotRun, RevisionBuilder
from agentd.settings import Settings
from agentd.tools.open import Tools


@pytest.fixture
def spec(tmp_path: Path, request: pytest.FixtureRequest) -> AgentSpec:
    """The agent whose manifest the test gives."""
    (tmp_path / "manifests").mkdir()
    file = tmp_path / "manifests" / "ada.yaml"
    file.write_text("capabilities: [a]\ninstructions: Hi.\n" + request.param)
    return load(tmp_path / "manifests").agents["ada"]


async def build(spec: AgentSpec, tools: Tools | None = None) -> Revision:
    settings = Settings(model="mock/echo")
    return await RevisionBuilder(Models(environ={}), tools or Tools({}), settings).build(spec)


async def problem_of(spec: AgentSpec, tools: Tools | None = None) -> str:
    with pytest.raises(CannotRun) as refused:
        await build(spec, tools)
    [problem] = refused.value.problems
    return f"{problem.line}:{problem.column} {problem.text}"


@pytest.mark.parametrize("spec", [""], indirect=True)
async def test_an_agent_that_names_no_model_gets_that_of_the_process(spec: AgentSpec) -> None:
    revision = await build(spec)

    assert revision.model.name == "mock/echo"
    assert revision.spec is spec
    assert revision.summarizer is None


@pytest.mark.parametrize(
    "spec",
    ["model: {name: mock/script, script: [a]}\nhistory: {model: mock/echo}\n"],
    indirect=True,
)
async def test_an_agent_gets_the_models_that_it_names(spec: AgentSpec) -> None:
    revision = await build(spec)

    assert revision.model.name == "mock/script"
    assert revision.summarizer
    assert revision.summarizer.name == "mock/echo"


@pytest.mark.parametrize("spec", ["model: openai/gpt-4o\n"], indirect=True)
async def test_a_model_that_cannot_be_opened_is_a_problem_at_its_place(spec: AgentSpec) -> None:
    assert (await problem_of(spec)).startswith("3:8 ")


@pytest.mark.parametrize(
    "spec", ["model: mock/echo\nhistory: {model: openai/gpt-4o}\n"], indirect=True
)
async def test_a_summarizer_that_cannot_be_opened_is_a_problem_at_its_place(
    spec: AgentSpec,
) -> None:
    assert (await problem_of(spec)).startswith("4:18 ")


class Checking:
    """An opener of tools that finds an error and a warning."""

    def __init__(self, severity: Literal["error", "warning"]) -> None:
        self._severity: Literal["error", "warning"] = severity

    async def check(self, spec: AgentSpec) -> list[Problem]:
        return [spec.problem("capabilities", text="no such function", severity=self._severity)]

    def open(self, entry: ToolEntry, spec: AgentSpec) -> Never:
        raise AssertionError("the agent has no tools")

    async def close(self) -> None: ...


@pytest.mark.parametrize("spec", [""], indirect=True)
async def test_a_tool_with_an_error_is_a_problem(spec: AgentSpec) -> None:
    assert await problem_of(spec, Tools({"python": Checking("error")})) == "1:1 no such function"


@pytest.mark.parametrize("spec", [""], indirect=True)
async def test_a_tool_with_a_warning_runs(spec: AgentSpec) -> None:
    assert await build(spec, Tools({"python": Checking("warning")}))


async def check(spec: AgentSpec, *, keys: bool = True, model: str = "mock/echo") -> list[str]:
    builder = RevisionBuilder(Models(environ={}), Tools({}), Settings(model=model))
    found = await builder.check(spec, keys=keys)
    return [f"{each.severity} {each.line}:{each.column} {each.text}" for each in found]


@pytest.mark.parametrize("spec", ["model: [openai/gpt-4o, groq/x]\n"], indirect=True)
async def test_without_any_key_an_agent_cannot_run(spec: AgentSpec) -> None:
    texts = [
        "3:9 OPENAI_API_KEY is not set (needed by openai/gpt-4o)",
        "3:24 GROQ_API_KEY is not set (needed by groq/x)",
    ]

    assert await check(spec) == [f"error {text}" for text in texts]
    assert await check(spec, keys=False) == [f"warning {text}" for text in texts]


@pytest.mark.parametrize(
    "spec", ["model: [mock/echo, groq/x, nobody/y]\nhistory: {model: groq/x}\n"], indirect=True
)
async def test_every_model_is_checked_at_its_place(spec: AgentSpec) -> None:
    assert await check(spec) == [
        "warning 3:20 GROQ_API_KEY is not set (needed by groq/x)",
        "error 3:28 `nobody` in `nobody/y` is not a provider that litellm knows",
        "error 4:18 GROQ_API_KEY is not set (needed by groq/x)",
    ]


@pytest.mark.parametrize("spec", [""], indirect=True)
async def test_the_model_of_the_process_is_named_by_its_setting(spec: AgentSpec) -> None:
    assert await check(spec, model="groq/x") == [
        "error 1:1 AGENTD_MODEL=groq/x: GROQ_API_KEY is not set (needed by groq/x)"
    ]
