"""All checks of a topology together: when they run, and the places of their warnings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agentd.catalog.catalog import Catalog, load

Folder = Callable[..., Catalog]
Texts = Callable[[Catalog], list[str]]


def test_the_example_agents_have_no_problems() -> None:
    assert load(Path(__file__).parents[4] / "manifests", environ={}).problems == ()


def test_there_are_no_warnings_while_a_file_has_errors(folder: Folder, texts: Texts) -> None:
    catalog = folder(a="emit: [{task: b.x}]", b="promt: x")

    assert texts(catalog) == ["unknown field `promt`"]


def test_places_are_right_after_an_edit_of_comments(folder: Folder) -> None:
    before = folder(a="emit: [{task: b.x}]")
    Path("manifests/a.yaml").write_text("# A comment.\n" + Path("manifests/a.yaml").read_text())

    after = load(Path("manifests"), environ={}, previous=before)

    assert [each.line for each in (*before.problems, *after.problems)] == [1, 2]
    assert after.agents["a"] is before.agents["a"]
