"""What changed between the files of two revisions."""

from __future__ import annotations

from agentd.record.changes import Change, changes


def test_files_that_are_the_same_are_left_out() -> None:
    assert changes({"a": b"x\n"}, {"a": b"x\n"}) == []
    assert changes({}, {}) == []


def test_changed_lines() -> None:
    [change] = changes({"p.md": b"Be brief.\nBe kind.\n"}, {"p.md": b"Be brief.\nBe rude.\n"})

    assert (change.path, change.kind) == ("p.md", "changed")
    assert list(change.lines) == [
        "--- p.md",
        "+++ p.md",
        "@@ -1,2 +1,2 @@",
        " Be brief.",
        "-Be kind.",
        "+Be rude.",
    ]


def test_files_that_were_added_and_removed() -> None:
    removed, added = changes({"a": b"old"}, {"b": b"new"})

    assert (removed.path, removed.kind, removed.lines[-1]) == ("a", "removed", "-old")
    assert (added.path, added.kind, added.lines[-1]) == ("b", "added", "+new")


def test_files_that_cannot_be_compared() -> None:
    many = b"x\n" * 30_000

    assert changes({"a": None}, {"a": b"x"}) == [
        Change("a", "changed", why="its content is no longer on record")
    ]
    assert changes({"a": b"\xff"}, {"a": b"x"}) == [Change("a", "changed", why="it is no text")]
    assert changes({"a": many}, {"a": b"y"})[0].why == "it has more than 20,000 lines"
    assert changes({"a": b"x\n"}, {"a": b"x"})[0].why == "only its line breaks differ"
    assert changes({"a": None}, {"a": None}) == []
