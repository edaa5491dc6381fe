"""The documents are true: their commands run, their YAML loads, tables and links are right."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentd.catalog.catalog import load
from agentd.cli import app
from agentd.manifest.tools import ToolEntry
from agentd.metrics import Metrics
from agentd.nats.server import find_binary
from agentd.problems import errors
from agentd.settings import Settings
from agentd.templates.requests.openapi_document import read_api
from agentd.testing.cases.case import read_suites
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    str(file.relative_to(ROOT)): file.read_text()
    for file in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    )
}

# Commands that cannot run in a test, by their beginning, with the reason.
NOT_RUN = {
    "docker ": "there is no Docker here",
    "kubectl ": "there is no cluster here",
    "nats ": "the nats command line is no dependency of ours",
    "NATS_URL=nats://": "that server is somewhere else",
}
# `make up` in a clean clone installs first, and then runs this. Other targets run with `make -n`.
STANDS_FOR = {"make up": "agentd up manifests/", "make ": f"make -C {ROOT} -n ", ".venv/bin/": ""}

SHELL = ("console", "bash", "sh")
FOLDER = r"(?:examples/[\w-]+/)?(?:manifests|prompts|tools)"
# A command that the document ends after a time, because it would wait for something.
ENDED = re.compile(r"timeout \d+ (.*) \|\| true")

CURL = f"""#!{sys.executable}
import getopt, sys, urllib.request
options, [*urls] = getopt.gnu_getopt(sys.argv[1:], "sNX:H:d:")
given = dict(options)
headers = dict(value.split(": ", 1) for name, value in options if name == "-H")
data = given["-d"].encode() if "-d" in given else None
request = urllib.request.Request(urls[0], data, headers, method=given.get("-X"))
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""


@dataclass(frozen=True)
class Fence:
    """A fenced block. `file` is what the line before it names: it is that file's content."""

    document: str
    line: int
    language: str
    text: str
    file: str | None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def fences_of(document: str) -> Iterator[Fence]:
    text = DOCUMENTS[document]
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        named = re.match(rf"`({FOLDER}/[\w./-]+)`", before)
        line = text.count("\n", 0, match.start()) + 1
        yield Fence(document, line, match[1], match[2], named[1] if named else None)


FENCES = [fence for document in DOCUMENTS for fence in fences_of(document)]
# test_contributing.py runs the commands of CONTRIBUTING.md, which belong to a checkout.
PLAYED = sorted(
    {fence.document for fence in FENCES if fence.language in SHELL} - {"CONTRIBUTING.md"}
)


def fences(*languages: str) -> list[Fence]:
    return [fence for fence in FENCES if fence.language in languages]


@dataclass(frozen=True)
class Command:
    """A command line, and the output that is shown below it: `…` stands for anything."""

    line: str
    output: str

    @property
    def is_run(self) -> bool:
        return not self.line.startswith(tuple(NOT_RUN))

    @property
    def is_daemon(self) -> bool:
        return "agentd up" in self.line

    def fits(self, code: int, output: str) -> bool:
        """Whether a run printed these lines in this order, and failed if an error is shown."""
        lines = [_pattern(line) for line in self.output.splitlines() if line.strip(" …")]
        found = re.search(".*?".join(lines), output, re.DOTALL)
        return found is not None and (code == 0) == ("error:" not in self.output)


def _pattern(line: str) -> str:
    """The width of a space does not count: the columns of tables vary."""
    return r"[^\n]*?".join(r"\s+".join(map(re.escape, part.split())) for part in line.split("…"))


def commands_of(fence: Fence) -> list[Command]:
    text = fence.text
    if fence.language != "console":
        lines = text.replace("\\\n", " ").splitlines()
        text = "".join(f"$ {line}\n" for line in lines if line and not line.startswith("#"))
    shown = [piece.partition("\n") for piece in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
    assert shown, f"{fence}: no command"
    return [Command(_as_run(line), output) for line, _, output in shown]


def _as_run(line: str) -> str:
    for shown, run in STANDS_FOR.items():
        line = line.replace(shown, run)
    return line


@dataclass
class Reader:
    """Follows a document step by step, in a copy of the example."""

    project: Path
    environ: dict[str, str]
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list[Any])
    address: str = "127.0.0.1:8000"

    def follow(self, fence: Fence) -> None:
        if fence.file:
            # Where a file shows the address of agentd, it is replaced by the address in this test.
            text = fence.text.replace("127.0.0.1:8000", self.address)
            (self.project / fence.file).write_text(text)
        elif fence.language == "diff":
            self.edit(fence)
        elif fence.language in SHELL:
            self.type(fence)

    def edit(self, fence: Fence) -> None:
        """Applies a diff to the file that the fence names."""
        name, *lines = fence.text.splitlines()
        file = self.project / name.removeprefix("--- ")
        old = "".join(f"{line[1:]}\n" for line in lines if line.startswith("-"))
        new = "".join(f"{line[1:]}\n" for line in lines if line.startswith("+"))
        text = file.read_text()
        assert old in text, f"{fence}: {file.name} has other lines"
        file.write_text(text.replace(old, new))

    def type(self, fence: Fence) -> None:
        """Runs the commands of a fence. The first `up` of a document keeps running until its end,
        a later one until the end of its fence."""
        before = max(1, len(self.daemons))
        exports = ""
        for command in commands_of(fence):
            if command.line.startswith("export "):
                exports += f"{command.line}\n"
            elif command.is_run and command.is_daemon:
                self.start(command, exports)
            elif ended := ENDED.fullmatch(command.line):
                self.run_until_shown(command, f"{exports}exec {ended[1]}")
            elif command.is_run:
                self.until_as_shown(command, lambda c=command, e=exports: self.run(c, e))
        while len(self.daemons) > before:
            self.end(self.daemons.pop())

    def start(self, command: Command, exports: str = "") -> None:
        log = self.project / f"up{len(self.daemons)}.log"
        with log.open("wb") as out:
            daemon = subprocess.Popen(
                ["bash", "-c", f"{exports}exec env {command.line}"],
                cwd=self.project,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.daemons.append(daemon)
        self.until_as_shown(command, lambda: (daemon.poll() or 0, log.read_text()))
        if "2>" in command.line:
            return  # the next commands wait until it is ready
        ready = Command(command.line, "agents ready in")
        self.until_as_shown(ready, lambda: (daemon.poll() or 0, log.read_text()))
        text = log.read_text()
        assert "\n0 agents" not in text, text
        if len(self.daemons) == 1:
            self.address = text.partition("health and metrics http://")[2].split()[0]

    def run_until_shown(self, command: Command, line: str) -> None:
        """Runs a command until it has printed what is shown, however long that takes.

        A repetition, as after a fixed time that was too short, would send a second task.
        """
        log = self.project / "ended.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", line],
                cwd=self.project,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            self.until_as_shown(command, lambda: (0, log.read_text()))
        finally:
            process.terminate()
            process.wait(PATIENCE)

    def run(self, command: Command, exports: str) -> tuple[int, str]:
        line = command.line.replace("127.0.0.1:8000", self.address)
        done = subprocess.run(
            ["bash", "-c", exports + line],
            cwd=self.project,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def until_as_shown(self, command: Command, run: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not command.fits(*(did := run())):
            assert time.monotonic() < deadline, f"$ {command.line}\n{did[1]}\nexit code {did[0]}"
            time.sleep(0.1)

    def end(self, daemon: subprocess.Popen[bytes]) -> None:
        if daemon.poll() is None:
            os.killpg(daemon.pid, signal.SIGTERM)
        assert daemon.wait(PATIENCE) == 0

    def leave(self) -> None:
        for daemon in reversed(self.daemons):
            self.end(daemon)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    for name in ("manifests", "prompts", "tools", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "curl").write_text(CURL)
    (tools / "curl").chmod(0o755)
    own = {
        "PATH": f"{Path(sys.executable).parent}:{tools}:{os.environ['PATH']}",
        "AGENTD_HTTP": "127.0.0.1:0",
        "AGENTD_DURABILITY": "relaxed",
    }
    reader = Reader(tmp_path, os.environ | own)
    yield reader
    reader.leave()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("document", PLAYED)
def test_commands_print_what_the_docs_show(document: str, reader: Reader) -> None:
    steps = list(fences_of(document))
    shell = [command for step in steps if step.language in SHELL for command in commands_of(step)]
    run = [command for command in shell if command.is_run]
    if run and not run[0].is_daemon:
        reader.start(Command("agentd up manifests/", ""))
    for step in steps:
        reader.follow(step)


def test_every_command_that_is_not_run_still_occurs() -> None:
    lines = [command.line for fence in fences(*SHELL) for command in commands_of(fence)]

    assert [each for each in NOT_RUN if not any(line.startswith(each) for line in lines)] == []


def test_every_fence_is_of_a_kind_that_is_checked() -> None:
    checked = {*SHELL, "yaml", "markdown", "python", "json", "diff", "conf"}
    only_shown = {"text", "mermaid"}

    assert {fence.language for fence in FENCES} - checked - only_shown == set()


@pytest.mark.parametrize("fence", fences("yaml", "markdown"), ids=str)
def test_yaml_is_valid(fence: Fence, tmp_path: Path) -> None:
    if "kind: Deployment" in fence.text:
        check_deployment(yaml.safe_load(fence.text))
    elif fence.text.startswith("cases:"):
        (tmp_path / "shown.test.yaml").write_text(fence.text)
        suites, problems = read_suites(tmp_path)
        assert (len(suites), problems) == (1, [])
    elif is_api(fence):
        entry = ToolEntry.model_validate({"openapi": fence.file})
        assert not read_api(yaml.safe_load(fence.text), entry).left_out
    else:
        check_manifest(fence, tmp_path)


def is_api(fence: Fence) -> bool:
    """Whether it is an OpenAPI document, which stands beside the manifests."""
    return fence.text.startswith("openapi:")


def check_deployment(deployment: dict[str, Any]) -> None:
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}

    assert pod["terminationGracePeriodSeconds"] > Settings().grace + 10
    assert mounts == {name: f"/app/{name}" for name in ("manifests", "prompts", "tools")}
    assert {volume["name"] for volume in pod["volumes"]} == mounts.keys()
    assert {each["name"] for each in container["env"]} <= {"NATS_URL", *variables()}


def check_manifest(fence: Fence, folder: Path) -> None:
    """Loads it, made whole where it shows a field or two."""
    for name in ("prompts", "tools"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "manifests").mkdir()
    text, name = fence.text, "shown.yaml"
    if fence.language == "markdown":
        name = "shown.agent.md"
    elif "_defaults.yaml" in text:
        name = "_defaults.yaml"
        (folder / "manifests" / "one.yaml").write_text("capabilities: [one]\ninstructions: One.\n")
    else:
        given = yaml.safe_load(text)
        text += "" if "capabilities" in given else "\ncapabilities: [shown]\n"
        prompted = {"prompt", "instructions", "call"} & given.keys()
        text += "" if prompted else "\ninstructions: Shown.\n"
        if "call" in given and "tools" not in given:
            text += f"\ntools: [{{agent: {given['call']['tool']}}}]\n"
    (folder / "manifests" / name).write_text(text)
    for example in re.findall(r"^prompt: (\S+)$", text, re.MULTILINE):
        (folder / "prompts" / example).touch()
    for other in FENCES:
        if is_api(other) and other.file and Path(other.file).name in text:
            (folder / other.file).write_text(other.text)
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "text")
    catalog = load(folder / "manifests", environ=environ)

    assert [problem.render() for problem in errors(catalog.problems)] == []
    assert catalog.agents


@pytest.mark.parametrize("fence", fences("python"), ids=str)
def test_python_is_that_of_the_example(fence: Fence) -> None:
    assert fence.file
    assert fence.text == (ROOT / fence.file).read_text()


@pytest.mark.parametrize("fence", fences("json"), ids=str)
def test_json_is_json(fence: Fence) -> None:
    json.loads(fence.text)


@pytest.mark.parametrize("fence", fences("conf"), ids=str)
def test_nats_server_accepts_the_configurations(fence: Fence, tmp_path: Path) -> None:
    conf = tmp_path / "nats.conf"
    conf.write_text(fence.text)
    told = subprocess.run(
        [find_binary({}), "-t", "-c", conf], capture_output=True, text=True, check=False
    )

    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md"])
def test_every_link_has_a_target(document: str) -> None:
    text = (ROOT / document).read_text()
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    dead: list[str] = []
    for link in found:
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = ROOT / Path(document).parent / path if path else ROOT / document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)

    assert dead == []


def anchors(text: str) -> set[str]:
    """How GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_picture_loads_nothing_from_other_hosts() -> None:
    pictures = sorted((ROOT / "docs" / "images").glob("*.svg"))

    assert pictures
    for picture in pictures:
        svg = picture.read_text()
        assert not re.search(r"url\((?!#)|href=|@import|@font-face", svg.replace('url("#', "url(#"))


def first_words(document: str, head: str) -> list[str]:
    """The code words that the rows of a table begin with; `head` is how its first row begins."""
    table = DOCUMENTS[document].partition(f"\n| {head} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def variables() -> list[str]:
    return [f"AGENTD_{name.upper()}" for name in Settings.__dataclass_fields__]


def test_the_table_of_commands_has_all_of_them() -> None:
    from typer.main import get_command

    shown = [line.split()[1] for line in first_words("README.md", "command")]

    assert sorted(shown) == sorted(get_command(app).commands)  # type: ignore[attr-defined]


def test_the_table_of_settings_has_all_of_them_with_their_defaults() -> None:
    rows = re.findall(
        r"^\| `(AGENTD_\w+)` \|[^|]*\| (?:`([^`]*)`)? ?\|",
        DOCUMENTS["docs/operations.md"],
        re.MULTILINE,
    )
    default = vars(Settings())
    wanted = {
        variable: "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        for variable, value in zip(variables(), default.values(), strict=True)
    }

    assert {row[0]: row[1] for row in rows if row[0] in wanted} == wanted


def test_the_table_of_metrics_has_all_of_them() -> None:
    body, _ = Metrics().expose()
    exposed = set(re.findall(r"^# TYPE (agentd?_\w+)", body.decode(), re.MULTILINE))

    assert set(first_words("docs/operations.md", "metric")) == exposed


def test_the_table_of_packages_is_the_map_of_the_package() -> None:
    contents = ast.get_docstring(ast.parse((ROOT / "agentd/__init__.py").read_text())) or ""

    packages = first_words("docs/architecture.md", "package")
    assert packages == re.findall(r"^ {4}(\w+) ", contents, re.MULTILINE)


def test_the_table_of_warnings_quotes_the_checks_of_topologies() -> None:
    """What stands between placeholders (`x`, … and numbers) is text of a check."""
    table = DOCUMENTS["docs/topology.md"].partition("\n| warning |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (?!---)(.+?) \| ", table.partition("\n")[2], re.MULTILINE)
    checks = (ROOT / "agentd/catalog/topology").glob("*.py")
    texts = [
        node.value
        for check in checks
        for node in ast.walk(ast.parse(check.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    pieces = [
        piece for row in rows for piece in re.split(r"`[^`]+`|…|\d+|; ", row) if piece.strip()
    ]

    assert len(rows) == 16
    assert [piece for piece in pieces if not any(piece in text for text in texts)] == []


def test_every_decision_is_listed_and_has_the_same_parts() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = {page.name: page.read_text() for page in folder.glob("*.md")}
    index = pages.pop("README.md")
    parts = ["Context", "Decision", "Why", "Rejected alternatives", "Consequences"]

    assert set(re.findall(r"\]\((\S+\.md)\)", index)) == pages.keys()
    headings = {name: re.findall(r"^## (.+)$", text, re.MULTILINE) for name, text in pages.items()}
    assert {name: found for name, found in headings.items() if found != parts} == {}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_python_file_that_a_document_names_exists(document: str) -> None:
    """A file of agentd is named by its path in the package, any other by its path in the tree.
    NAME stands for the name of a new file."""
    text = re.sub(r"^```.*?^```$", "", DOCUMENTS[document], flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`([\w./-]+\.py)\b", text)

    missing = [
        name
        for name in named
        if "NAME" not in name and not any((d / name).is_file() for d in (ROOT / "agentd", ROOT))
    ]
    assert missing == []
