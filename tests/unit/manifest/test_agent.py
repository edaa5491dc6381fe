"""A manifest is read strictly, and every mistake in it has a place and a mend."""

from __future__ import annotations

import time

import pytest

from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import MAX_PROBLEMS
from agentd.manifest.file import ManifestDraft, read_defaults, read_manifest
from agentd.manifest.rate import Allowance
from agentd.problems import errors

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


def draft(text: str, *defaults: str, file: str = "m.yaml", stem: str = "m") -> ManifestDraft:
    documents = [
        read_defaults(each.encode(), f"{i}/_defaults.yaml") for i, each in enumerate(defaults)
    ]
    return read_manifest(text.encode(), file, stem=stem, defaults=documents, environ={"N": "3"})


def manifest(text: str, *defaults: str, file: str = "m.yaml", stem: str = "m") -> Manifest:
    made = draft(text, *defaults, file=file, stem=stem)
    assert made.manifest is not None, made.problems
    return made.manifest


def mistakes(text: str, *defaults: str, file: str = "m.yaml", stem: str = "m") -> list[str]:
    found = errors(draft(text, *defaults, file=file, stem=stem).problems)
    return [f"{each.line}:{each.column} {each.text}; {each.hint}" for each in found]


def test_the_least_manifest_has_every_default() -> None:
    least = manifest("capabilities: [analysis]", stem="analyst")

    assert least.name == "analyst"
    assert least.capabilities == ("analysis",)
    assert least.model == ()
    assert least.stream
    assert (least.limits.concurrency, least.limits.timeout) == (8, 120.0)
    assert (least.prompt, least.instructions, least.input) == (None, None, None)


def test_everything_of_the_design_is_understood() -> None:
    full = manifest(EVERYTHING)

    assert [ref.name for ref in full.model] == ["openai/gpt-4o-mini", "openai/x"]
    assert full.model[1].timeout == 30.0
    assert full.emit.rules[0].task == "factcheck.claims"
    assert full.limits.rate == Allowance(60, 60.0)
    assert full.join
    assert full.join.timeout == 60.0


@pytest.mark.parametrize(
    ("field", "mistake"),
    [
        ("promt: x.md", "2:1 unknown field `promt`; did you mean `prompt`?"),
        ("temperature: 1", "2:1 unknown field `temperature`; it belongs under `parameters`"),
        ("timeout: 5s", "2:1 unknown field `timeout`; it belongs under `limits`"),
        ("limits: {timout: 5s}", "2:10 unknown field `timout`; did you mean `timeout`?"),
        ("description: 5", "2:14 `description` must be text; quote it"),
        ("description:", "2:1 `description` has no value; write one, or delete the line"),
        ("stream: yes", "2:9 `stream` must be true or false; yes, no, on and off are text"),
        ("limits: 5", "2:9 `limits` must be a mapping; write fields below it, as `name: value`"),
        ("limits: {concurrency: '8'}", "2:23 `limits.concurrency` must be a whole number; "),
        ("limits: {concurrency: 0}", "2:23 `limits.concurrency` must be at least 1; "),
        ("limits: {timeout: 5 sec}", "2:19 `limits.timeout` must be a duration; write 500ms,"),
        ("limits: {timeout: 0}", "2:19 `limits.timeout` must be more than 0 and at most 30"),
        ("limits: {timeout: true}", "2:19 `limits.timeout` must be a duration; write 500ms,"),
        ("limits: {rate: 5/week}", "2:16 `limits.rate` must be a rate; write 60/min, 5/s or"),
        ("name: a.b", "2:7 `name` must be 1 to 64 of A-Z a-z 0-9 _ -; only the domain stands"),
        ("model: 5", "2:8 `model` must be the name of a model, or a mapping with `name`; "),
        ("model: []", "2:1 `model` is empty; "),
        ("model: gpt 4", "2:8 `model` must be the name of a model; for example"),
        ("model: mock/ecko", "2:8 `model` is not a mock model; write mock/echo or mock/script"),
        ("model: {nam: x}", "2:9 unknown field `nam`; did you mean `name`?"),
        ("model: {name: x, api_base: local}", "2:28 `model.api_base` must be a URL; for"),
        ("model: mock/script", "2:8 `model` needs a `script` for `mock/script`; "),
        ("parameters: {stream: true}", "2:22 `parameters.stream` is not a parameter; agentd"),
        ("prompt: prompts/x.md", "2:9 `prompt` must not begin with prompts/; names are"),
        ("prompt: ../x.md", "2:9 `prompt` must be a file in prompts/; for example analyst.md"),
        ("history: {compact: summarise}", "2:20 `history.compact` must be `summarize` or"),
        ("tools: [{htp: {}}]", "2:10 unknown field `htp`; did you mean `http`?"),
        ("tools: [{name: x}]", "2:10 `tools` needs exactly one of python, command, http,"),
        ("tools: [{mcp: {command: date}}]", "2:25 `tools.mcp.command` must be a list; write ["),
        ("emit: [{task: claims}]", "2:15 `emit.task` must be `domain.specificity`; for example"),
        ("subscribe: [research]", "2:13 `subscribe` must be `result.…` or `event.…` with two"),
        ("join: {}", "2:1 `join.wait_for` is missing; "),
        ("input: {{ content }}", '2:8 a template that is not quoted; write "{{ … }}"'),
        ("limits: {cost: ${NO}}", '2:17 a `${` inside [ ] or { } that is not quoted; write'),
        ("model: ${NO}", "2:8 NO is not set; set it, or give a default: ${NO:-…}"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_problem_at_its_place(field: str, mistake: str) -> None:
    (found,) = mistakes(f"capabilities: [a]\n{field}\n")
    assert found.startswith(mistake)


def test_a_misspelt_required_field_is_one_mistake() -> None:
    assert mistakes("capabilties: [a]") == [
        "1:1 unknown field `capabilties`; did you mean `capabilities`?"
    ]
    assert mistakes("description: x") == ["1:1 `capabilities` is missing; "]


def test_all_mistakes_of_a_manifest_are_told_at_once() -> None:
    text = (
        "capabilities: [a, b.c, a, _d]\npromt: x\nlimits: {cost: -1}\ndescription: 5\nprompt: 7\n"
    )

    assert len(mistakes(text)) == 6
    assert mistakes("capabilities: [a, b, a]") == ["1:1 `capabilities` has `a` twice; "]


def test_a_thousand_mistakes_are_counted_not_shown() -> None:
    text = "capabilities: [a]\n" + "".join(f"field{i}: x\n" for i in range(1000))

    found = mistakes(text)

    assert len(found) == MAX_PROBLEMS + 1
    assert "950 more mistakes" in found[-1]


@pytest.mark.parametrize(
    "text",
    [
        "capabilities: [a]\n" + "".join(f"field{i}: x\n" for i in range(9_000)),
        "capabilities: [" + ", ".join(f"a{i}" for i in range(19_000)) + ", a0]",
        "capabilities: [a]\nmodel: [" + "{nme: x}, " * 6_000 + "x]",
        "capabilities: [a]\nmodel: " + "x" * 900_000 + " y",
        "capabilities: [a]\nname: " + "x" * 900_000,
        "capabilities: [a]\n? " + "x" * 900_000 + "\n: 1",
        "capabilities: [a]\nlimits: {timeout: " + "9" * 900_000 + "s}",
        "capabilities: [a]\ndescription: " + "${A:-" * 180_000,
    ],
    ids=lambda text: str(text)[18:34],
)
def test_a_hostile_manifest_is_refused_quickly(text: str) -> None:
    started = time.process_time()
    made = draft(text)
    for problem in made.problems:
        assert len(problem.render()) < 1000

    assert errors(made.problems)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "0:0 is empty; a manifest needs at least `capabilities`"),
        ("- a", "1:1 a manifest is a mapping of fields; write one `name: value` on each line"),
        ("name:x", "1:1 a manifest is a mapping of fields; write one `name: value` on each line"),
    ],
)
def test_what_is_no_mapping_is_no_manifest(text: str, mistake: str) -> None:
    (found,) = mistakes(text)
    assert found.startswith(mistake)


def test_a_file_name_that_cannot_be_a_name_asks_for_one() -> None:
    assert mistakes("capabilities: [a]", stem="my agent") == [
        "1:1 `name` must be 1 to 64 of A-Z a-z 0-9 _ -; "
        "it comes from the file's name; write `name:`, or rename the file"
    ]


def test_one_model_may_be_written_in_many_ways() -> None:
    forms = ["model: a/b", "model: {name: a/b}", "model: [a/b]", "model: {routes: [a/b]}"]

    first, *others = (manifest(f"capabilities: a\n{form}").model for form in forms)
    assert all(other == first for other in others)


def test_routes_are_a_list_of_models_with_what_they_share() -> None:
    text = "capabilities: a\nmodel: {routes: [{name: a/b, when: x, cache: 1h}, c/d], cache: 10m}"
    first, second = manifest(text).model
    assert (first.name, first.when, first.cache) == ("a/b", "x", 3600.0)
    assert (second.name, second.when, second.cache) == ("c/d", None, 600.0)


@pytest.mark.parametrize(
    ("model", "mistake"),
    [
        ("{routes: [{nme: a/b}]}", "2:19 unknown field `nme`; did you mean `name`?"),
        ("{routes: [a/b], rate: 5/s}", "2:30 `model.rate` stands beside `routes`; it belongs to"),
        ("{routes: [a/b, c/d], cache: 10 mins}", "2:36 `model.cache` must be a duration; write"),
        ("{routes: a/b}", "2:17 `model.routes` must be a list of models; "),
        ("{routes: []}", "2:1 `model` is empty; "),
        ("[a/b, {name: c/d, rate: 5}]", "2:32 `model.rate` must be a rate; write 60/min, 5/s or"),
        ("{name: a/b, parameters: {model: x}}", "2:40 `model.parameters.model` is not a parameter"),
    ],
)
def test_a_mistake_in_a_list_of_models_is_at_its_place(model: str, mistake: str) -> None:
    (found,) = mistakes(f"capabilities: [a]\nmodel: {model}\n")
    assert found.startswith(mistake)


def test_models_that_are_all_conditional_are_a_warning() -> None:
    made = draft("capabilities: [a]\nmodel: [{name: a/b, when: content}]")
    (warning,) = made.problems
    assert (warning.severity, warning.line, warning.column) == ("warning", 2, 27)
    assert not draft("capabilities: [a]\nmodel: [{name: a/b, when: content}, c/d]").problems


def test_a_key_shows_in_no_text() -> None:
    made = draft("capabilities: a\nmodel: {name: x y, api_key: sk-1234567, timeout: sk-1234567}")
    assert all("sk-1234567" not in problem.text + problem.hint for problem in made.problems)

    held = manifest("capabilities: a\nmodel: {name: x, api_key: sk-1234567}")
    assert "sk-1234567" not in repr(held)


def test_defaults_are_taken_field_by_field_and_one_level_deep() -> None:
    upper = "model: a/b\nlimits: {timeout: 9s, concurrency: 2}\nparameters: {seed: 1, stop: [x]}"
    nearer = "limits: {timeout: 8s}"
    own = "capabilities: [a]\nparameters: {stop: [y]}\nlimits:\n  concurrency: ${N}"

    made = manifest(own, upper, nearer)

    assert made.model[0].name == "a/b"
    assert (made.limits.timeout, made.limits.concurrency) == (8.0, 3)
    assert made.parameters == {"seed": 1, "stop": ["y"]}


@pytest.mark.parametrize(
    ("own", "shared"), [("prompt: x.md", "instructions: y"), ("instructions: y", "prompt: x.md")]
)
def test_an_own_prompt_replaces_a_shared_one_of_the_other_kind(own: str, shared: str) -> None:
    made = manifest(f"capabilities: [a]\n{own}", shared)

    assert (made.prompt is None) != (made.instructions is None)
    assert mistakes("capabilities: [a]\nprompt: x.md\ninstructions: y") == [
        "3:15 `instructions` stands beside `prompt`; keep one of them"
    ]


def test_a_mistake_in_the_defaults_is_shown_there() -> None:
    (problem,) = errors(draft("capabilities: [a]", "model: a\nlimits: {timeout: x}").problems)
    assert problem.place == "0/_defaults.yaml:2:19"

    (problem,) = errors(draft("capabilities: [a]", "name: x").problems)
    assert problem.text == "`name` cannot be shared"

    (problem,) = errors(draft("capabilities: [a]", "- x").problems)
    assert problem.text == "must be a mapping of fields"


def test_front_matter_is_the_manifest_and_the_body_the_prompt() -> None:
    text = "---\r\ncapabilities: [review]\r\n---\r\n\r\nYou review.\r\n---\r\nKindly.\r\n"

    made = draft(text, "prompt: shared.md", file="r.agent.md", stem="r")

    assert made.manifest
    assert made.manifest.prompt is None
    assert made.body
    assert (made.body.text, made.body.line) == ("You review.\n---\nKindly.\n", 5)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("capabilities: [a]", "1:1 no front matter; "),
        ("---\ncapabilities: [a]\n", "1:1 no front matter; "),
        ("---\ncapabilties: [a]\n---\nHi", "2:1 unknown field `capabilties`; "),
        (
            "---\ncapabilities: [a]\nprompt: x\n---\nHi",
            "3:1 `prompt` stands beside the prompt below",
        ),
        ("---\n---\nHi", "1:1 `capabilities` is missing; "),
    ],
)
def test_front_matter_has_places_too(text: str, mistake: str) -> None:
    (found,) = mistakes(text, file="r.agent.md")
    assert found.startswith(mistake)


def test_front_matter_may_be_empty_where_defaults_say_it_all() -> None:
    assert manifest("---\n---\nHi", "capabilities: [a]", file="r.agent.md").capabilities == ("a",)


def test_front_matter_that_is_no_text_is_a_problem() -> None:
    made = read_manifest(b"---\n\xff", "r.agent.md", stem="r", defaults=(), environ={})
    assert [problem.text for problem in made.problems] == ["not UTF-8"]
