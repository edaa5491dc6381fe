"""Reading the folders of manifests, prompts and tools, whatever they contain."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agentd.errors import UsageError
from agentd.manifest.files import MAX_BYTES, display_path, read_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "prompts").mkdir()
    (tmp_path / "manifests/a.yaml").write_text("a")
    (tmp_path / "prompts/a.md").write_text("a")
    return tmp_path / "manifests"


def test_two_readings_are_equal_until_a_file_changes(folder: Path) -> None:
    first = read_files(folder)
    (folder / "a.yaml").write_text("a")
    assert read_files(folder) == first

    (folder.parent / "prompts/a.md").write_text("b")
    assert read_files(folder) != first


def test_prompts_are_read_beside_the_manifests_or_from_another_folder(
    folder: Path, tmp_path: Path
) -> None:
    assert set(read_files(folder).prompts) == {"a.md"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other/b.md").write_text("b")
    assert set(read_files(folder, tmp_path / "other").prompts) == {"b.md"}
    assert read_files(folder, tmp_path / "nowhere").prompts == {}


def test_only_the_files_of_each_kind_are_read(folder: Path) -> None:
    (folder.parent / "tools").mkdir()
    (folder / "deep/er").mkdir(parents=True)
    for name in (
        "b.yml",
        "c.agent.md",
        "d.json",
        "deep/er/e.yaml",
        "f.test.yaml",
        "g.md",
        ".h.yaml",
        "#i.yaml#",
        "j.yaml~",
        "k.yaml.tmp",
    ):
        (folder / name).write_text("x")
    for name in ("a.py", "b.txt"):
        (folder.parent / "tools" / name).write_text("x")

    files = read_files(folder)

    assert sorted(files.manifests) == ["a.yaml", "b.yml", "c.agent.md", "d.json", "deep/er/e.yaml"]
    assert sorted(files.tools) == ["a.py"]
    assert files.refused == {}


def test_a_folder_of_manifests_must_exist(folder: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_files(folder / "nowhere")
    with pytest.raises(UsageError, match=r"a\.yaml is a file; name its folder"):
        read_files(folder / "a.yaml")


def test_links_are_followed_inside_the_folder_and_refused_outside(
    folder: Path, tmp_path: Path
) -> None:
    """As in a mounted ConfigMap: files are links into a hidden folder, which a link replaces."""
    (folder / "..v1").mkdir()
    (folder / "..v1/b.yaml").write_text("one")
    (folder / "..data").symlink_to("..v1")
    (folder / "b.yaml").symlink_to("..data/b.yaml")
    (tmp_path / "secret.yaml").write_text("secret")
    (folder / "c.yaml").symlink_to(tmp_path / "secret.yaml")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.yaml").symlink_to("nothing.yaml")
    (folder / "itself.yaml").symlink_to("itself.yaml")

    first = read_files(folder)

    assert first.manifests == {"a.yaml": b"a", "b.yaml": b"one"}
    (problem,) = first.refused.values()
    assert problem.text == "is a link to a file outside its folder"

    (folder / "..v2").mkdir()
    (folder / "..v2/b.yaml").write_text("two")
    (folder / "..new").symlink_to("..v2")
    (folder / "..new").rename(folder / "..data")
    assert read_files(folder).manifests["b.yaml"] == b"two"


def test_pipes_are_skipped_and_huge_files_are_cut(folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    with (folder / "huge.yaml").open("wb") as huge:
        huge.truncate(1 << 32)

    files = read_files(folder)

    assert set(files.manifests) == {"a.yaml", "huge.yaml"}
    assert len(files.manifests["huge.yaml"]) == MAX_BYTES + 1


@contextlib.contextmanager
def unprivileged() -> Generator[None]:
    """Runs without the rights of root, who can read every file."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_file_without_read_permission_is_refused() -> None:
    with TemporaryDirectory() as root:
        manifest = Path(root) / "a.yaml"
        manifest.write_text("a")
        manifest.chmod(0)
        Path(root).chmod(0o755)
        with unprivileged():
            files = read_files(Path(root))

    assert files.manifests == {}
    assert files.refused[manifest].text == "cannot be read: Permission denied"
    assert files.refused[manifest].severity == "error"


def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(UsageError, match="cannot be listed: Too many open files"):
            read_files(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_paths_are_shown_relative_to_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert display_path(folder / "a.yaml") == "manifests/a.yaml"
    assert read_files(Path("manifests")).manifest_path("a.yaml") == "manifests/a.yaml"
    assert read_files(Path("manifests")).prompt_path("a.md") == "prompts/a.md"
    assert read_files(Path("manifests")).tool_path("a.py") == "tools/a.py"

    monkeypatch.chdir(folder)
    assert display_path(folder.parent / "prompts/a.md") == str(folder.parent / "prompts/a.md")
