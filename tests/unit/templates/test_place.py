"""Where the problem of a template is in its file: at the word, or at the whole value."""

from __future__ import annotations

import pytest

from agentd.manifest.yaml.nodes import Map, Scalar
from agentd.manifest.yaml.reader import read
from agentd.templates.place import PromptProblem, TemplatePlace, in_node


def test_a_problem_underlines_its_word_inside_the_tag() -> None:
    problem = PromptProblem("unknown", 2, "a.b").in_file(
        "x\na.b {{ a.b }}", TemplatePlace("m.yaml", line=10, column=5)
    )

    assert problem.place == "m.yaml:11:12"
    assert problem.source == "    a.b {{ a.b }}"
    assert PromptProblem("unknown").in_file("x", TemplatePlace("m.yaml")).place == "m.yaml"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: x nope", "f:1:6"),
        ("a: 'x nope'", "f:1:7"),
        ("a: |\n  x nope\n", "f:2:5"),
        ("a: >\n  x\n  nope\n", "f:1:4"),
        ('a: "x\\tnope"', "f:1:4"),
    ],
)
def test_a_word_has_its_place_where_the_file_has_the_text_as_it_is(text: str, place: str) -> None:
    root = read(text, "f").root
    assert isinstance(root, Map)
    node = root.get("a")
    assert isinstance(node, Scalar)

    assert in_node(PromptProblem("unknown", 1, "nope"), node, node.span).place == place
