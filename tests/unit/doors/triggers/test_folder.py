"""Which files of a folder are complete, and which are never read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agentd.doors.triggers import folder as folders
from agentd.doors.triggers.folder import Folder, is_written


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time must pass between two looks; `QUIET` has a test of its own."""
    monkeypatch.setattr(folders, "QUIET", 0.0)


def inbox(path: Path, pattern: str = "*", largest: int = 1_000) -> Folder:
    return Folder(path, pattern, largest)


def looks(folder: Folder) -> list[tuple[str, bytes | None]]:
    """What is complete after two looks."""
    list(folder.complete())
    return sorted(folder.complete())


def test_a_new_file_is_complete_once(tmp_path: Path) -> None:
    folder = inbox(tmp_path)
    (tmp_path / "a.txt").write_text("text")

    assert looks(folder) == [("a.txt", b"text")]
    folder.take("a.txt")
    assert looks(folder) == []


def test_a_file_that_was_not_taken_is_complete_again(tmp_path: Path) -> None:
    folder = inbox(tmp_path)
    (tmp_path / "a.txt").write_text("text")

    assert looks(folder) == looks(folder) == [("a.txt", b"text")]


def test_a_file_with_new_content_is_new(tmp_path: Path) -> None:
    folder = inbox(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    looks(folder)
    folder.take("a.txt")
    (tmp_path / "b.txt").write_text("the folder changes")
    (tmp_path / "a.txt").write_text("other")

    assert ("a.txt", b"other") in looks(folder)


def test_a_file_has_to_be_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However old its own times are: the clock of a file server may be another one."""
    monkeypatch.setattr(folders, "QUIET", 3600.0)
    folder = inbox(tmp_path)
    (tmp_path / "a.txt").write_text("te")
    old = time.time() - 10_000
    os.utime(tmp_path / "a.txt", (old, old))
    assert looks(folder) == []
    monkeypatch.setattr(folders, "QUIET", 0.0)
    assert looks(folder) == [("a.txt", b"te")]


def test_a_file_that_grows_between_two_looks_is_not_complete(tmp_path: Path) -> None:
    folder = inbox(tmp_path)
    (tmp_path / "a.txt").write_text("te")
    assert list(folder.complete()) == []
    (tmp_path / "a.txt").write_text("text")
    assert list(folder.complete()) == []
    assert list(folder.complete()) == [("a.txt", b"text")]


def test_a_file_that_a_program_writes_is_not_complete(tmp_path: Path) -> None:
    folder = inbox(tmp_path)
    with (tmp_path / "a.txt").open("w") as writer:
        writer.write("half")
        writer.flush()
        assert looks(folder) == []
    assert looks(folder) == [("a.txt", b"half")]


def test_a_writer_that_comes_later_is_not_disturbed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    file = os.open(tmp_path / "a.txt", os.O_RDONLY)
    try:
        for _ in range(50):
            assert not is_written(file)
            (tmp_path / "a.txt").write_text("more")
    finally:
        os.close(file)


@pytest.mark.parametrize("name", [".hidden", "a.tmp", "a.part", "a.txt~", "b.pdf.crdownload"])
def test_unfinished_and_hidden_files_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")

    assert looks(inbox(tmp_path)) == []


def test_only_names_that_match_count(tmp_path: Path) -> None:
    for name in ("a.pdf", "b.PDF", "c.txt"):
        (tmp_path / name).write_text(name)

    assert [name for name, _ in looks(inbox(tmp_path, "*.pdf"))] == ["a.pdf"]


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "file").write_text("x")
    (tmp_path / "in" / "inside").symlink_to(tmp_path / "in" / "file")

    assert [name for name, _ in looks(inbox(tmp_path / "in"))] == ["file"]


def test_a_file_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "a"
    file.write_text("x")
    folder = inbox(tmp_path / "in")
    list(folder.complete())
    file.unlink()
    file.symlink_to(tmp_path / "secret")

    assert list(folder.complete()) == []


def test_folders_and_pipes_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    assert looks(inbox(tmp_path)) == []


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)
    (tmp_path / "b").write_bytes(b"x" * 10)

    assert looks(inbox(tmp_path, largest=10)) == [("a", None), ("b", b"x" * 10)]


def test_a_folder_that_is_missing_is_an_error_until_it_is_there(tmp_path: Path) -> None:
    folder = inbox(tmp_path / "in")
    with pytest.raises(OSError, match="No such file"):
        list(folder.complete())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("x")

    assert looks(folder) == [("a", b"x")]


def test_everything_can_be_new_again(tmp_path: Path) -> None:
    folder = inbox(tmp_path)
    (tmp_path / "a").write_text("x")
    looks(folder)
    folder.take("a")
    folder.forget()

    assert looks(folder) == [("a", b"x")]
