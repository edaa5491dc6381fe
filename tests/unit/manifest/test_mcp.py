"""MCP servers in a manifest: the forms of their texts, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.mcp import McpPrompt, McpResource, McpServer

ProblemOf = Callable[[str], str]


def test_a_resource_and_a_prompt_have_a_short_form() -> None:
    declared = McpServer.model_validate(
        {"command": ["s"], "resources": {"a": "file:///a"}, "prompts": {"b": "review"}}
    )

    assert declared.texts == {"a": McpResource(uri="file:///a"), "b": McpPrompt(prompt="review")}


def test_the_long_form_has_arguments_and_a_default() -> None:
    review = {"prompt": "review", "arguments": {"x": "y"}, "default": "none"}
    declared = McpServer.model_validate({"command": ["s"], "prompts": {"b": review}})

    assert declared.prompts["b"] == McpPrompt(prompt="review", arguments={"x": "y"}, default="none")


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ("{}", "needs either `command` or `url`; "),
        ("{command: [s], url: http://x}", "needs either `command` or `url`; "),
        ("{url: http://x, env: {A: b}}", "has `env` or `cwd` without `command`; "),
        ("{url: http://x, cwd: /srv}", "has `env` or `cwd` without `command`; "),
        ("{command: [s], headers: {A: b}}", "has `headers` without `url`; "),
        *(
            (f"{{url: '{url}'}}", "has a `url` that does not begin with http:// or https://; ")
            for url in ("ftp://x", "http://", "http://x:0", "http://x:y", "http://[")
        ),
        (
            "{command: [s], resources: {a: x}, prompts: {a: y}}",
            "has `a` under both `resources` and `prompts`; rename one",
        ),
    ],
)
def test_an_invalid_server_is_a_problem(problem_of: ProblemOf, server: str, problem: str) -> None:
    assert problem_of(f"tools: [{{mcp: {server}}}]").partition("`tools.mcp` ")[2] == problem


@pytest.mark.parametrize("name", ["a-b", "1a", "é", "x" * 65])
def test_a_text_needs_a_name_that_a_template_can_use(problem_of: ProblemOf, name: str) -> None:
    problem = problem_of(f"tools: [{{mcp: {{command: [s], resources: {{{name}: x}}}}}}]")

    assert problem.endswith(
        f"`tools.mcp.resources` has `{name}`, which cannot be a name in a template; "
        "use letters, digits and _"
    )
