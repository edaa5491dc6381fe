"""Two files with an agent of the same name: the later file is an error."""

from __future__ import annotations

from agentd.catalog.topology.name_conflicts import name_conflicts
from agentd.manifest.file import ManifestDraft, read_manifest


def draft(file: str, text: str) -> ManifestDraft:
    return read_manifest(text.encode(), file, stem=file, defaults=(), environ={})


def test_the_order_of_the_file_names_decides() -> None:
    files = {
        "z.yaml": draft("z.yaml", "capabilities: []\nname: x"),
        "b.yaml": draft("b.yaml", "name: x\ncapabilities: []"),
        "a.yaml": draft("a.yaml", "capabilities: []\nname: x"),
        "y.yaml": draft("y.yaml", "capabilities: []\nname: y"),
    }

    found = name_conflicts(files)

    assert [(file, problem.place) for file, problem in sorted(found.items())] == [
        ("b.yaml", "b.yaml:1:7"),
        ("z.yaml", "z.yaml:2:7"),
    ]
    assert found["z.yaml"].text == "another agent is also called `x`"
    assert found["z.yaml"].hint == "it is in a.yaml; change one `name`"


def test_a_manifest_with_errors_has_no_name_to_conflict() -> None:
    files = {
        "a.yaml": draft("a.yaml", "name: x\npromt: y"),
        "b.yaml": draft("b.yaml", "name: x\ncapabilities: []"),
    }

    assert name_conflicts(files) == {}


def test_a_webhook_belongs_to_one_agent() -> None:
    hook = "capabilities: []\ntriggers: [{webhook: w, verify: none}]"
    files = {name: draft(name, f"{hook}\nname: {name[0]}") for name in ("b.yaml", "a.yaml")}
    files["c.yaml"] = draft("c.yaml", hook.replace("webhook: w", "webhook: x"))

    found = name_conflicts(files)

    assert [(file, problem.place) for file, problem in found.items()] == [("b.yaml", "b.yaml:2:22")]
    assert found["b.yaml"].text == "another agent also has the webhook `w`"
    assert found["b.yaml"].hint == "it is in a.yaml; change one of the names"
