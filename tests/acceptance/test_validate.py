"""`agentd validate`, `new` and `schema`, run as commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("agentd")


def agentd(*arguments: str, cwd: Path, code: int = 0) -> str:
    """The output of the command, both streams, after it has ended with `code`."""
    ended = subprocess.run(
        [COMMAND, *arguments],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_a_new_agent_is_valid_and_never_overwrites_a_file(tmp_path: Path) -> None:
    output = agentd("new", "analyst", cwd=tmp_path)

    assert "wrote manifests/analyst.yaml and prompts/analyst.md" in output
    assert "agentd ask analyst" in output
    assert len((tmp_path / "manifests/analyst.yaml").read_text().splitlines()) <= 6
    assert agentd("validate", cwd=tmp_path) == "1 agent, 0 errors, 0 warnings\n"

    written = (tmp_path / "prompts/analyst.md").read_text()
    (tmp_path / "manifests/analyst.yaml").unlink()
    output = agentd("new", "analyst", cwd=tmp_path, code=2)
    assert output == "agentd: prompts/analyst.md exists already; nothing was written\n"
    assert (tmp_path / "prompts/analyst.md").read_text() == written
    assert not (tmp_path / "manifests/analyst.yaml").exists()


def test_a_new_agent_names_its_schemas_and_model(tmp_path: Path) -> None:
    for kind in ("agent", "test"):
        (tmp_path / f"{kind}.schema.json").write_text("{}")

    agentd(
        "new", "analyst", "--model", "mock/echo", "--test", "--manifests", "agents", cwd=tmp_path
    )

    test = (tmp_path / "agents/analyst.test.yaml").read_text()
    assert test.startswith("# yaml-language-server: $schema=../test.schema.json\ncases:")

    lines = (tmp_path / "agents/analyst.yaml").read_text().splitlines()
    assert len(lines) <= 6
    assert lines[0] == "# yaml-language-server: $schema=../agent.schema.json"
    assert "model: mock/echo" in lines
    assert agentd("validate", "agents", cwd=tmp_path).startswith("1 agent, 0 errors")


@pytest.mark.parametrize("name", ["a.b", "_x", "../x", ""])
def test_a_new_agent_needs_a_name_that_subjects_allow(tmp_path: Path, name: str) -> None:
    agentd("new", name, cwd=tmp_path, code=2)

    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    # A file in place of the folder: root may write into a folder that is read-only.
    (tmp_path / "agents").write_text("")

    output = agentd("new", "ada", "--manifests", "agents", cwd=tmp_path, code=2)

    assert output == "agentd: agents/ada.yaml cannot be written: File exists\n"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    for name in ("manifests", "prompts"):
        (tmp_path / name).mkdir()
    (tmp_path / "manifests/analyst.yaml").write_text(
        "capabilities: [analysis]\nhistory: {model: openai/gpt-4o-mini}\n"
    )
    (tmp_path / "manifests/coder.yaml").write_text("capabilities: [coding]\npromt: x.md\n")
    (tmp_path / "prompts/analyst.md").write_text("You are\n{{ agnt.name }}.\n")
    return tmp_path


def test_all_problems_are_shown_with_place_source_line_and_hint(broken: Path) -> None:
    assert agentd("validate", "--no-keys", cwd=broken, code=2) == (
        "manifests/analyst.yaml:2:18: warning: OPENAI_API_KEY is not set (needed by "
        "openai/gpt-4o-mini); set the variable, or `api_key`\n"
        "     2 | history: {model: openai/gpt-4o-mini}\n"
        "       |                  ^^^^^^^^^^^^^^^^^^\n"
        "manifests/coder.yaml:2:1: error: unknown field `promt`; did you mean `prompt`?\n"
        "     2 | promt: x.md\n"
        "       | ^^^^^\n"
        "prompts/analyst.md:2:4: error: unknown name `agnt`; did you mean `agent`?\n"
        "     2 | {{ agnt.name }}.\n"
        "       |    ^^^^\n"
        "0 agents, 2 errors, 1 warning\n"
    )


def test_a_missing_key_is_an_error_as_for_up(broken: Path) -> None:
    (broken / "manifests/coder.yaml").unlink()
    (broken / "prompts/analyst.md").write_text("You are kind.")
    problem = (
        "manifests/analyst.yaml:2:18: {}: OPENAI_API_KEY is not set (needed by "
        "openai/gpt-4o-mini); set the variable, or `api_key`\n"
        "     2 | history: {{model: openai/gpt-4o-mini}}\n"
        "       |                  ^^^^^^^^^^^^^^^^^^\n"
    )

    assert agentd("validate", cwd=broken, code=2) == (
        problem.format("error") + "0 agents, 1 error, 0 warnings\n"
    )
    up = agentd("up", "--http", "off", cwd=broken, code=2)
    assert problem.format("error").partition("\n")[0] in up
    assert agentd("validate", "--no-keys", cwd=broken) == (
        problem.format("warning") + "1 agent, 0 errors, 1 warning\n"
    )


def test_json_has_every_problem(broken: Path) -> None:
    report = json.loads(agentd("validate", "--json", cwd=broken, code=2))

    assert (report["agents"], report["errors"], report["warnings"]) == ([], 3, 0)
    assert report["problems"][1] == {
        "file": "manifests/coder.yaml",
        "line": 2,
        "column": 1,
        "severity": "error",
        "problem": "unknown field `promt`",
        "hint": "did you mean `prompt`?",
    }


def test_an_invalid_mock_script_is_an_error(broken: Path) -> None:
    (broken / "manifests/coder.yaml").write_text(
        "capabilities: [coding]\ninstructions: x\n"
        "model: {name: mock/script, script: [{txt: Hello}]}\n"
    )

    assert "coder.yaml:3:28: error: turn 1: unknown key `txt`" in agentd(
        "validate", cwd=broken, code=2
    )


def test_a_folder_without_manifests_is_an_error_with_a_hint(tmp_path: Path) -> None:
    assert "does not exist" in agentd("validate", cwd=tmp_path, code=2)
    (tmp_path / "manifests").mkdir()
    assert "create one with `agentd new NAME`" in agentd("validate", cwd=tmp_path, code=2)


def test_the_schemas_of_manifests_and_messages_are_printed() -> None:
    assert agentd("schema", cwd=ROOT) == (ROOT / "agent.schema.json").read_text()
    for kind in ("agent", "defaults", "test"):
        assert agentd("schema", kind, cwd=ROOT) == (ROOT / f"{kind}.schema.json").read_text()
    message = json.loads(agentd("schema", "--message", cwd=ROOT))
    assert message == json.loads((ROOT / "docs/message.schema.json").read_text())


def test_an_mcp_server_that_is_not_installed_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/clock.yaml").write_text(
        "capabilities: [time]\ninstructions: x\ntools: [{mcp: {command: [no-such-server]}}]\n"
    )

    assert agentd("validate", cwd=tmp_path) == (
        "manifests/clock.yaml:3:16: warning: there is no program `no-such-server` here\n"
        "     3 | tools: [{mcp: {command: [no-such-server]}}]\n"
        "       |                ^^^^^^^\n"
        "1 agent, 0 errors, 1 warning\n"
    )


def test_a_schedule_that_clock_changes_affect_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/night.yaml").write_text(
        "capabilities: [night]\ninstructions: x\n"
        'schedule: {cron: "30 2 * * *", time_zone: Europe/Berlin, task: x}\n'
    )
    shown = agentd("validate", cwd=tmp_path)
    assert "night.yaml:3:18: warning: clock changes of Europe/Berlin affect the schedule: " in shown
    assert "02:30 is left out" in shown
    assert "02:30 is sent twice" in shown
