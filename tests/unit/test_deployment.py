"""The Dockerfile and the compose file, as far as they can be checked without Docker."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentd.nats import folder as nats_folder
from agentd.nats.server import OLDEST, find_binary
from agentd.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
NATS_CONF = ROOT / "docker" / "nats.conf"
# What `make check` tests, from the oldest to the newest.
PYTHONS = re.findall(r"[\d.]+", re.findall(r"^VERSIONS := (.*)", MAKEFILE, re.MULTILINE)[0])


@pytest.fixture
def services() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def instructions(name: str) -> list[str]:
    """The arguments of all instructions of one name in the Dockerfile, continued lines joined."""
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()[1:]) for line in lines if line.startswith(f"{name} ")]


def test_nats_accepts_its_configuration() -> None:
    done = subprocess.run(
        [find_binary({}), "-t", "-c", NATS_CONF], capture_output=True, text=True, check=False
    )
    assert "is valid" in done.stderr
    assert done.returncode == 0


def test_nats_in_the_container_has_the_settings_of_the_embedded_server(tmp_path: Path) -> None:
    folder = nats_folder.NatsFolder(tmp_path)
    embedded = settings_of(folder.configure(-1, "token", "always").read_text())
    composed = settings_of(NATS_CONF.read_text())
    assert composed["sync_interval"] == "always"
    for name in ("max_payload", "sync_interval", "max_file_store", "max_memory_store"):
        assert composed[name] == embedded[name]


def settings_of(conf: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*(\w+): ([^\s#]+)", conf, re.MULTILINE))


def test_images_are_pinned_and_name_no_registry(services: dict[str, Any]) -> None:
    version = re.fullmatch(r"nats:(\d+)\.(\d+)\.\d+-alpine", services["nats"]["image"])
    assert version
    assert (int(version[1]), int(version[2])) >= OLDEST
    assert {image.split()[0] for image in instructions("FROM")} == {f"python:{PYTHONS[-1]}-slim"}


def test_everything_names_the_pythons_that_are_tested() -> None:
    oldest, newest = PYTHONS[0], PYTHONS[-1]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    too_new = f"3.{int(newest.removeprefix('3.')) + 1}"
    assert settings["project"]["requires-python"] == f">={oldest},<{too_new}"
    named = [each.rpartition(" ")[2] for each in settings["project"]["classifiers"]]
    assert [each for each in named if each.startswith("3.")] == PYTHONS
    assert settings["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert settings["tool"]["pyright"]["pythonVersion"] == oldest
    assert f"--python python{newest} " in DOCKERFILE
    spoken = f"Python {', '.join(PYTHONS[:-1])} or {newest}"
    for document in ("README.md", "CONTRIBUTING.md"):
        assert spoken in (ROOT / document).read_text()


@pytest.mark.parametrize(
    ("here", "ours", "tested"),
    [
        ({"python3.11": "3.11", "python3.13": "3.13"}, "3.11", "python3.13"),
        ({"python3.11": "3.11", "python3": "3.12"}, "3.11", "python3"),
        ({"python3.11": "3.11", "python3": "3.14"}, "3.11", None),
        ({"python3.13": "3.13"}, "3.13", None),
    ],
)
def test_the_newest_python_is_tested_too(
    tmp_path: Path, here: dict[str, str], ours: str, tested: str | None
) -> None:
    """`python3.12` of pyenv is a program that does not run while another version is chosen."""
    venv = tmp_path / "venv/bin"
    venv.mkdir(parents=True)
    for name in ("python3.11", "python3.12", "python3.13", "python3"):
        write_python(tmp_path / name, here.get(name))
    write_python(venv / "python", ours)
    done = subprocess.run(
        ["make", "-n", "check-newest", f"VENV={venv.parent}", f"PYENV={tmp_path}"],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    parts = "tests/unit tests/property tests/acceptance"
    wanted = (
        f'test VENV=.venv-newest PYTHON="{tested}" ARGS="{parts} --ignore' if tested else "no newer"
    )
    assert wanted in done.stdout
    assert (".venv-newest/bin/pytest" in done.stdout) == (tested is not None)


def write_python(file: Path, version: str | None) -> None:
    """A program that knows its version, or that does not run."""
    file.write_text(f"#!/bin/sh\n{f'echo {version}' if version else 'exit 127'}\n")
    file.chmod(0o755)


def test_every_copied_file_exists_and_is_not_ignored() -> None:
    allowed = re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    lines = [line.split() for line in instructions("COPY") if "--from" not in line]
    for source in [source for *sources, _ in lines for source in sources]:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in allowed), source


def test_the_image_runs_agentd_as_an_ordinary_user() -> None:
    assert instructions("ENTRYPOINT") == ['["agentd"]']
    assert instructions("CMD") == ['["up", "manifests/"]']
    assert instructions("USER")[-1].isdigit()
    assert instructions("USER")[-1] != "0"
    assert "/opt/agentd/healthcheck.py" in DOCKERFILE.partition("HEALTHCHECK")[2]


def test_agentd_can_be_scaled(services: dict[str, Any]) -> None:
    agentd = services["agentd"]
    assert "container_name" not in agentd
    assert agentd["ports"] == ["127.0.0.1::8000"]  # no port of the host
    assert "NATS_URL=nats://nats:4222" in agentd["environment"]
    assert agentd["depends_on"] == {"nats": {"condition": "service_healthy"}}


def test_stopping_waits_for_the_drain(services: dict[str, Any]) -> None:
    period = re.fullmatch(r"(\d+)s", services["agentd"]["stop_grace_period"])
    assert period
    assert int(period[1]) > Settings().grace + 10


def test_mounts_are_whole_folders_that_exist(services: dict[str, Any]) -> None:
    for mount in services["agentd"]["volumes"]:
        source, target, mode = mount.split(":")
        assert target == f"/app/{Path(source).name}"
        assert mode == "ro"
        # Editors replace files. A mounted file would stay the old one in the container.
        assert (ROOT / source).is_dir()
    assert f"./docker/{NATS_CONF.name}:/etc/nats/nats.conf:ro" in services["nats"]["volumes"]
    assert services["nats"]["command"] == ["--config", "/etc/nats/nats.conf"]
    assert "nats:/data" in services["nats"]["volumes"]
    assert settings_of(NATS_CONF.read_text())["store_dir"] == "/data"


@pytest.fixture
def readiness() -> Iterator[HTTPServer]:
    """A server that answers /readyz with a status that the test can change."""

    class Answer(BaseHTTPRequestHandler):
        status = 200

        def do_GET(self) -> None:
            self.send_response(self.status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Prints nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def health(port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "docker" / "healthcheck.py"],
        env={"AGENTD_HTTP": f"0.0.0.0:{port}", "http_proxy": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_health_check_follows_readiness(readiness: HTTPServer) -> None:
    port = readiness.server_port
    assert health(port).returncode == 0
    readiness.RequestHandlerClass.status = 503  # type: ignore[attr-defined]
    done = health(port)
    assert done.returncode == 1
    assert done.stderr == "HTTP Error 503: Service Unavailable\n"
    readiness.server_close()
    assert health(port).returncode == 1
