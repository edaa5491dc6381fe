"""A manifest as a whole: its defaults, its short forms, and fields that exclude each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.agent import Manifest
from agentd.manifest.file import ManifestDraft
from agentd.manifest.rate import Allowance

Read = Callable[..., Manifest]
ProblemOf = Callable[[str], str]

EVERYTHING = """\
description: Finds the sentiment and the themes of a text.
capabilities: [analysis]
name: analyst
model: [openai/gpt-4o-mini, {name: openai/x, api_base: http://127.0.0.1:1/v1, timeout: 30s}]
parameters: {temperature: 0.2}
prompt: analyst.md
input: "{{ content.instruction }}"
output: {schema: {type: object}, retries: 2}
tools: [{python: weather.py:forecast}, {http: {url: "https://a.example"}},
  {mcp: {command: [mcp-server-time]}, allow: [get_current_time]}, {agent: factchecker}]
subscribe: [result.research.*, event.review.requested]
emit:
  - {task: factcheck.claims, for_each: output.claims, content: item}
  - {event: report.ready, when: output.score > 0.5}
join: {wait_for: [result.analysis.*], by: conversation, timeout: 60s, on_timeout: run}
history: {max_messages: 20, max_tokens: 4000, keep: 5, compact: summarize}
limits: {concurrency: 8, timeout: 120s, turns: 10, hops: 16, cost: 0.50,
  conversation_cost: 5.00, rate: 60/min}
retry: {attempts: 5, backoff: 1s, max_backoff: 60s}
schedule: {every: 1h, task: Look.}
stream: true
"""


def test_the_smallest_manifest_has_every_default(manifest: Read) -> None:
    smallest = manifest("capabilities: [analysis]", stem="analyst")

    assert smallest.name == "analyst"
    assert smallest.capabilities == ("analysis",)
    assert smallest.model == ()
    assert smallest.stream
    assert (smallest.limits.concurrency, smallest.limits.timeout) == (8, 120.0)
    assert (smallest.prompt, smallest.instructions, smallest.input) == (None, None, None)


def test_a_manifest_with_every_field_is_read(manifest: Read) -> None:
    full = manifest(EVERYTHING)

    assert [ref.name for ref in full.model] == ["openai/gpt-4o-mini", "openai/x"]
    assert full.model[1].timeout == 30.0
    assert full.emit.rules[0].task == ("factcheck.claims",)
    assert full.limits.rate == Allowance(60, 60.0)
    assert full.join
    assert full.join.timeout == 60.0


def test_one_model_can_be_written_in_four_ways(manifest: Read) -> None:
    forms = ["model: a/b", "model: {name: a/b}", "model: [a/b]", "model: {routes: [a/b]}"]

    first, *others = (manifest(f"capabilities: a\n{form}").model for form in forms)

    assert all(other == first for other in others)


def test_routes_are_a_list_of_models_with_a_shared_field(manifest: Read) -> None:
    text = "capabilities: a\nmodel: {routes: [{name: a/b, when: x, cache: 1h}, c/d], cache: 10m}"

    first, second = manifest(text).model

    assert (first.name, first.when, first.cache) == ("a/b", "x", 3600.0)
    assert (second.name, second.when, second.cache) == ("c/d", None, 600.0)


def test_a_list_of_rules_is_short_for_emit(manifest: Read) -> None:
    short = manifest("capabilities: a\nemit: [{event: a.b}]")
    long = manifest("capabilities: a\nemit: {rules: [{event: a.b}]}")

    assert short.emit == long.emit


@pytest.mark.parametrize("short", ["result.a.*", "[result.a.*]"])
def test_patterns_are_short_for_subscribe(manifest: Read, short: str) -> None:
    long = manifest("capabilities: a\nsubscribe: {to: [result.a.*]}")

    assert manifest(f"capabilities: a\nsubscribe: {short}").subscribe == long.subscribe


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("model: {routes: [{nme: a/b}]}", "2:19 unknown field `nme`; did you mean `name`?"),
        (
            "model: {routes: [a/b], rate: 5/s}",
            "2:30 `model.rate` cannot be combined with `routes`; move it into one of the routes",
        ),
        (
            "model: {routes: [a/b, c/d], cache: 10 mins}",
            "2:36 `model.cache` must be a duration; write 500ms, 120s, 2m or 1h",
        ),
        (
            "tools: [{python: 'a.py:f'}, {command: [/bin/f]}]",
            "2:30 `tools` has two tools named `f`; give one of them another `name`",
        ),
        (
            "tools: [{agent: x, name: f}, {http: {url: 'https://a.b/f'}}]",
            "2:31 `tools` has two tools named `f`; give one of them another `name`",
        ),
        (
            "tools: [{command: [emit]}]\nemit: {allow: [event.a.b]}",
            "2:10 `tools` has two tools named `emit`; give one of them another `name`",
        ),
        ("model: {routes: a/b}", "2:17 `model.routes` must be a list of models; "),
        ("model: {routes: []}", "2:1 `model` is empty; "),
        ("model: []", "2:1 `model` is empty; "),
        (
            "model: [a/b, {name: c/d, rate: 5}]",
            "2:32 `model.rate` must be a rate; write 60/min, 5/s or 1000/day",
        ),
    ],
)
def test_a_problem_in_a_list_of_models_is_at_its_place(
    problem_of: ProblemOf, field: str, problem: str
) -> None:
    assert problem_of(field) == problem


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("name: _a", "2:7 `name` must not begin with _; such names are reserved for agentd"),
        (
            "prompt: prompts/x.md",
            "2:9 `prompt` must not begin with prompts/; the path is relative to prompts/: "
            "write x.md",
        ),
        (
            "prompt: ../x.md",
            "2:9 `prompt` must be a file in prompts/; for example analyst.md or team/lead.md",
        ),
        (
            "prompt: a//x.md",
            "2:9 `prompt` must be a file in prompts/; for example analyst.md or team/lead.md",
        ),
        ("instructions: ''", "2:1 `instructions` is empty; write a value, or delete the line"),
    ],
)
def test_a_value_that_cannot_be_used_is_a_problem(
    problem_of: ProblemOf, field: str, problem: str
) -> None:
    assert problem_of(field) == problem


def test_a_description_has_at_most_2000_characters(manifest: Read, problem_of: ProblemOf) -> None:
    assert manifest(f"capabilities: a\ndescription: {'x' * 2000}")
    problem = problem_of(f"description: {'x' * 2001}")
    assert problem == "2:14 `description` is longer than 2000 characters; "


def test_prompt_and_instructions_exclude_each_other(
    problems: Callable[[str], list[str]],
) -> None:
    assert problems("capabilities: [a]\nprompt: x.md\ninstructions: y") == [
        "3:15 `instructions` cannot be combined with `prompt`; keep one of them"
    ]


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("emit: [{task: b.x, target: m}]", "2:28 `emit.target`"),
        ("tools: [{agent: m}]", "2:17 `tools.agent`"),
    ],
)
def test_an_agent_cannot_send_a_task_to_itself(
    problem_of: ProblemOf, field: str, place: str
) -> None:
    assert problem_of(field) == (
        f"{place} is this agent itself, which cannot take a task that it has just emitted; "
        "name another agent"
    )


def test_an_agent_can_gather_answers_for_a_capability_of_its_own_name(manifest: Read) -> None:
    tools = manifest("capabilities: [m]\ntools: [{agent: m, gather: all}]").tools

    assert tools[0].agent == "m"


def test_two_mcp_servers_cannot_define_the_same_name(problem_of: ProblemOf) -> None:
    servers = (
        "[{mcp: {command: [a], resources: {readme: x}}}, "
        "{mcp: {command: [b], prompts: {readme: y}}}]"
    )

    assert problem_of(f"tools: {servers}") == (
        "2:1 `tools` has two servers that define `mcp.readme`; rename one of them"
    )


def test_a_key_appears_in_no_problem_and_no_representation(
    draft: Callable[[str], ManifestDraft], manifest: Read
) -> None:
    key = "sk-1234567"
    invalid = draft(f"capabilities: a\nmodel: {{name: x y, api_key: {key}, timeout: {key}}}")
    valid = manifest(f"capabilities: a\nmodel: {{name: x, api_key: {key}}}")

    assert invalid.problems
    assert all(key not in problem.text + problem.hint for problem in invalid.problems)
    assert key not in repr(valid)


NOTIFY = "tools: [{command: [echo, x], name: notify}]"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("call: {}", "`call.tool` is missing; "),
        (
            "call: {tool: notify, arguments: [1]}",
            "`call.arguments` must be a mapping, or an expression; ",
        ),
        *(
            (
                f"call: {{tool: notify}}\n{field}: {value}",
                f"`{field}` is for a model, and `call` runs a tool without one; "
                "remove it, or remove `call`",
            )
            for field, value in {
                "prompt": "me.md",
                "instructions": "Hi.",
                "input": "x",
                "model": "a/b",
                "parameters": "{seed: 1}",
                "output": "{schema: {}}",
                "history": "{keep: 1}",
                "client_tools": "true",
            }.items()
        ),
        (
            "call: {tool: notify}\nemit: {allow: [event.a.b]}",
            "`emit.allow` is for a model, and `call` needs none; "
            "write a rule in place of the pattern",
        ),
    ],
)
def test_a_call_needs_its_tool_and_nothing_of_a_model(
    problem_of: ProblemOf, more: str, problem: str
) -> None:
    assert problem_of(f"{NOTIFY}\n{more}").partition(" ")[2] == problem


def test_the_tools_of_a_server_can_be_called_under_names_that_are_not_known_yet(
    manifest: Read,
) -> None:
    text = "capabilities: a\ntools: [{mcp: {command: [cat]}}]\ncall: {tool: whatever}"

    declared = manifest(text).call

    assert declared
    assert (declared.tool, declared.arguments) == ("whatever", {})


def test_an_agent_with_a_call_has_no_defaults_that_are_for_models(manifest: Read) -> None:
    defaults = "model: a/b\nprompt: x.md\nhistory: {keep: 1}\nlimits: {concurrency: 2}"

    alone = manifest(f"capabilities: a\n{NOTIFY}\ncall: {{tool: notify}}", defaults)

    assert (alone.model, alone.prompt, alone.history) == ((), None, None)
    assert alone.limits.concurrency == 2
