"""What each kind of span says, by the rules of the conventions."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.models.port import ChatRequest, Completion, ModelAttempt, Usage
from agentd.protocol.message import AgentIdentity, new
from agentd.telemetry import names, spans
from tests.genai_rules import broken

TASK = new("task", "hello", source=AgentIdentity(id="me", type="agent"), id="t-1")
MESSAGES = [{"role": "user", "content": "hello"}]


def request(**parameters: Any) -> ChatRequest:
    return ChatRequest(MESSAGES, parameters, 10.0, agent="analyst")


OPENINGS = [
    spans.agent("analyst", TASK, revision="abc", model="gpt-4o", description="Analyses."),
    spans.agent("clerk", TASK, revision="abc", model="", description=""),
    spans.chat(request(temperature=1, stop="END"), "openai/gpt-4o", stream=True),
    spans.tool("look", call_id="c1", description="Looks.", agent="analyst"),
    spans.sent(names.SEND, "agents.dev.task.analysis.general.5", TASK, "c"),
    spans.sent(names.CREATE, "agents.dev.result.analysis.general.t-1", None, "c"),
    spans.process("agents.dev.event.review.done", agent="analyst", size=3, attempt=2),
]


@pytest.mark.parametrize("opening", OPENINGS, ids=lambda opening: opening.name)
def test_a_span_says_from_its_start_what_the_conventions_want(opening: spans.Opening) -> None:
    assert broken(opening.name, opening.kind, opening.attributes, ended=False) == []


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", "openai"),
        ("openai/gpt-4o", "openai"),
        ("anthropic/claude", "anthropic"),
        ("bedrock/anthropic.claude", "aws.bedrock"),
        ("gemini/pro", "gcp.gemini"),
        ("vertex_ai/gemini", "gcp.vertex_ai"),
        ("azure/mine", "azure.ai.openai"),
        ("mistral/large", "mistral_ai"),
        ("xai/grok", "x_ai"),
        ("ollama/llama3", "ollama"),
        ("mock/echo", "mock"),
        ("something", "unknown"),
        ("", "agentd"),
    ],
)
def test_a_provider_has_the_name_of_the_conventions(model: str, provider: str) -> None:
    assert spans.provider_of(model) == provider


@pytest.mark.parametrize(
    ("subject", "template"),
    [
        ("agents.dev.task.analysis.tone.5", "agents.dev.task.analysis.{specificity}.{priority}"),
        ("agents.dev.task._agent.writer.5", "agents.dev.task._agent.writer.{priority}"),
        ("agents.dev.task.analysis.tone", "agents.dev.task.analysis.{specificity}"),
        ("agents.dev.result.a.b.t-1", "agents.dev.result.a.{specificity}.{taskId}"),
        ("agents.dev.event.run.t-1", "agents.dev.event.run.{specificity}"),
        ("anything.else", "{subject}"),
    ],
)
def test_a_name_has_nothing_that_is_new_for_each_message(subject: str, template: str) -> None:
    assert spans.template_of(subject) == template
    assert spans.process(subject, agent="a", size=1, attempt=1).name == f"process {template}"


def test_parameters_have_the_types_of_their_attributes() -> None:
    given = {"temperature": 1, "max_tokens": 5, "stop": "END", "seed": 7, "top_p": "high"}
    said = spans.chat(request(**given, logit_bias={}), "m", stream=False).attributes
    found = {name: value for name, value in said.items() if name.startswith("gen_ai.request.")}
    assert found == {
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": False,
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.seed": 7,
    }
    assert isinstance(found["gen_ai.request.temperature"], float)


def test_the_end_of_a_call_has_its_tokens_its_cost_and_its_first_chunk() -> None:
    usage = Usage(10, 4, reasoning_tokens=2, cache_read=6)
    completion = Completion("hi", "gpt-4o-2024", "stop", usage=usage, cost=0.25)
    attempt = ModelAttempt(model="gpt-4o", seconds=1.0, completion=completion)
    said = spans.chat_end(attempt, 0.5)
    assert said["gen_ai.response.time_to_first_chunk"] == 0.5
    assert said["gen_ai.response.model"] == "gpt-4o-2024"
    assert (said["gen_ai.usage.input_tokens"], said["llm.token_count.prompt"]) == (10, 10)
    assert (said["gen_ai.usage.output_tokens"], said["llm.token_count.completion"]) == (4, 4)
    assert said["gen_ai.usage.reasoning.output_tokens"] == 2
    assert said["gen_ai.usage.cache_read.input_tokens"] == 6
    assert said["llm.token_count.total"] == 14
    assert (said["agentd.cost.usd"], said["llm.cost.total"]) == (0.25, 0.25)


def test_what_is_not_known_is_left_out() -> None:
    said = spans.chat_end(ModelAttempt(model="m", seconds=1.0, code="model_timeout"), None)
    assert said == {}


def test_tokens_of_a_run_count_once_for_viewers_of_openinference() -> None:
    completion = Completion("hi", "m", "stop", usage=Usage(1, 2), cost=0.0)
    said = spans.agent_end(completion)
    assert said["gen_ai.usage.input_tokens"] == 1
    assert not [name for name in said if name.startswith("llm.")]


def test_an_agent_without_a_model_names_none() -> None:
    completion = Completion("hi", "", "stop", usage=Usage(0, 0), cost=0.0)
    assert "gen_ai.response.model" not in spans.agent_end(completion)


def test_a_callback_names_its_host_and_not_its_path() -> None:
    opening = spans.post("https://hooks.example.com/T0/secret?key=1")
    assert "secret" not in str(opening)
    assert opening.attributes["server.address"] == "hooks.example.com"
