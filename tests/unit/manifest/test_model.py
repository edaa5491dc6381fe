"""A model in a manifest: its name, address, script, parameters and rates."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.agent import Manifest
from agentd.manifest.model import RESERVED_PARAMETERS, ModelRef
from agentd.manifest.rate import Allowance

Read = Callable[..., Manifest]
ProblemOf = Callable[[str], str]


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("model: 5", "2:8 `model` must be the name of a model, or a mapping with a `name`; "),
        ("model: gpt 4", "2:8 `model` must be the name of a model; for example openai/gpt-4o-mini"),
        ("model: mock/ecko", "2:8 `model` is not a mock model; write mock/echo or mock/script"),
        ("model: {nam: x}", "2:9 unknown field `nam`; did you mean `name`?"),
        (
            "model: {name: x, api_base: local}",
            "2:28 `model.api_base` must be a URL; for example http://127.0.0.1:8080/v1",
        ),
        (
            "model: {name: x, api_base: 'localhost:8080/v1'}",
            "2:28 `model.api_base` must be a URL; write http://localhost:8080/v1, or "
            "https://localhost:8080/v1",
        ),
        (
            "model: {name: x, api_base: 'htp://localhost:8080/v1'}",
            "2:28 `model.api_base` must be a URL; for example http://127.0.0.1:8080/v1",
        ),
        (
            "model: mock/script",
            "2:8 `model` needs a `script` for `mock/script`; give its turns, or the file that "
            "holds them",
        ),
        (
            "model: {name: mock/script, script: 5}",
            "2:36 `model.script` must be a file name or a list of turns; ",
        ),
        (
            "model: {name: x, price: {input: -1, output: 1}}",
            "2:33 `model.price.input` must be at least 0; ",
        ),
    ],
)
def test_an_invalid_model_is_a_problem(problem_of: ProblemOf, field: str, problem: str) -> None:
    assert problem_of(field) == problem


def test_a_name_of_a_model_has_at_most_256_characters(problem_of: ProblemOf) -> None:
    assert ModelRef.model_validate("x" * 256).name == "x" * 256
    assert problem_of(f"model: {'x' * 257}").startswith("2:8 `model` must be the name of a model")


@pytest.mark.parametrize("name", RESERVED_PARAMETERS)
def test_a_reserved_parameter_is_refused_with_its_reason(problem_of: ProblemOf, name: str) -> None:
    reason = RESERVED_PARAMETERS[name]

    assert problem_of(f"parameters: {{{name}: x}}") == (
        f"2:{16 + len(name)} `parameters.{name}` is not a parameter; {reason}"
    )
    assert problem_of(f"model: {{name: a/b, parameters: {{{name}: x}}}}").endswith(
        f"`model.parameters.{name}` is not a parameter; {reason}"
    )


def test_other_parameters_are_kept_unchanged(manifest: Read) -> None:
    read = manifest("capabilities: a\nparameters: {temperature: 0.2, stop: [x], new_one: {a: 1}}")

    assert read.parameters == {"temperature": 0.2, "stop": ["x"], "new_one": {"a": 1}}


def test_rates_and_durations_are_read(manifest: Read) -> None:
    [model] = manifest(
        "capabilities: a\nmodel: {name: x, rate: 500/min, tokens: 1000/s, cache: 10m, timeout: 30s}"
    ).model

    assert (model.rate, model.tokens) == (Allowance(500, 60.0), Allowance(1000, 1.0))
    assert (model.cache, model.timeout) == (600.0, 30.0)


def test_the_script_of_another_model_is_allowed_and_ignored(manifest: Read) -> None:
    [model] = manifest("capabilities: a\nmodel: {name: mock/echo, script: turns.yaml}").model

    assert (model.name, model.script) == ("mock/echo", "turns.yaml")


def test_a_history_model_can_be_a_name(manifest: Read) -> None:
    history = manifest("capabilities: a\nhistory: {model: a/b}").history

    assert history
    assert history.model == ModelRef(name="a/b")
