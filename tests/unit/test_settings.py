"""Settings come from flags, then variables, then defaults, and are checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.errors import UsageError
from agentd.settings import Settings, from_environment


def test_without_flags_and_variables_the_defaults_apply() -> None:
    assert from_environment({}) == Settings()


def test_a_variable_sets_each_kind_of_value() -> None:
    environ = {
        "AGENTD_ENV": "prod",
        "AGENTD_STATE": "/var/lib/agentd",
        "AGENTD_GRACE": "2.5",
        "AGENTD_REPLICAS": "3",
        "AGENTD_LOG_FORMAT": "json",
        "AGENTD_DURABILITY": "relaxed",
        "AGENTD_NATS": "nats://host",
    }
    assert from_environment(environ) == Settings(
        env="prod",
        state=Path("/var/lib/agentd"),
        grace=2.5,
        replicas=3,
        log_format="json",
        durability="relaxed",
        nats="nats://host",
    )


def test_a_flag_takes_precedence_over_its_variable() -> None:
    environ = {"AGENTD_ENV": "prod", "AGENTD_GRACE": "2"}

    assert from_environment(environ, env="dev", grace=None) == Settings(env="dev", grace=2)
    assert from_environment(environ, grace=0.0).grace == 0


def test_an_empty_variable_is_not_set() -> None:
    assert from_environment({"AGENTD_GRACE": "", "AGENTD_ENV": ""}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "error"),
    [
        ("AGENTD_GRACE", "soon", "AGENTD_GRACE='soon' is not a number"),
        ("AGENTD_GRACE", "nan", "AGENTD_GRACE='nan' must be at least 0"),
        ("AGENTD_GRACE", "-1", "AGENTD_GRACE='-1' must be at least 0"),
        ("AGENTD_GRACE", "1e9", "AGENTD_GRACE='1e9' must be at least 0 and less than a billion"),
        ("AGENTD_REPLICAS", "1.5", "AGENTD_REPLICAS='1.5' is not a whole number"),
        ("AGENTD_LOG_BYTES", "-1", "AGENTD_LOG_BYTES='-1' is not a whole number"),
        ("AGENTD_LOG_FORMAT", "xml", "AGENTD_LOG_FORMAT='xml' is not one of text, json"),
        ("AGENTD_DURABILITY", "no", "AGENTD_DURABILITY='no' is not one of always, relaxed"),
        ("AGENTD_ENV", "a.b", "environment 'a.b' must be"),
        ("AGENTD_ENV", "prompt", "environment 'prompt' is a word of the Synadia agent protocol"),
    ],
)
def test_the_error_names_the_variable(variable: str, value: str, error: str) -> None:
    with pytest.raises(UsageError) as raised:
        from_environment({variable: value})
    assert str(raised.value).startswith(error)


def test_a_flag_that_is_no_setting_is_a_bug() -> None:
    with pytest.raises(TypeError, match="no such settings: colour"):
        from_environment({}, colour="red")


def test_the_keys_are_in_the_folder_of_the_project_unless_a_setting_names_a_file() -> None:
    assert from_environment({}).key_file == Path(".agentd/keys.json")
    assert from_environment({"AGENTD_STATE": "/state"}).key_file == Path("/state/keys.json")
    environ = {"AGENTD_STATE": "/state", "AGENTD_KEYS": "/run/secrets/keys"}
    assert from_environment(environ).key_file == Path("/run/secrets/keys")
