"""Laws of reading YAML: nothing raises, places exist, JSON is YAML, a reload equals a load."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.catalog.catalog import Catalog, load
from agentd.manifest.agent import Manifest
from agentd.manifest.file import read_manifest
from agentd.manifest.files import Files
from agentd.manifest.yaml.nodes import Map, Node, Scalar, Seq, plain
from agentd.manifest.yaml.reader import read
from agentd.problems import errors

# Texts that are close to YAML more often than random text is.
PIECES = st.sampled_from([
    "a", "b: ", "- ", "? ", "\n", "  ", "\t", "[", "]", "{", "}", "{{ x }}", ",", ":", "#", "|\n",
    ">", "'", '"', "\\", "&a ", "*a", "!t ", "<<: ", "---\n", "...", "%TAG ! !\n", "${V}", "\u2028",
])  # fmt: skip
NEARLY_YAML = st.lists(PIECES, max_size=40).map("".join)

# json.dumps writes other characters as surrogate pairs, which YAML does not have.
CHARACTERS = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])
KEYS = st.text(CHARACTERS, max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**29), 10**29)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(CHARACTERS, max_size=40)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)


def nodes(node: Node) -> list[Node]:
    match node:
        case Scalar():
            return [node]
        case Seq():
            return [node, *(each for item in node.items for each in nodes(item))]
        case Map():
            below = [each for _, value in node.entries.values() for each in nodes(value)]
            return [node, *(key for key, _ in node.entries.values()), *below]


@given(st.binary(max_size=200) | st.text(max_size=200) | NEARLY_YAML)
def test_any_bytes_are_a_document_or_problems(text: str | bytes) -> None:
    document = read(text, "f")

    for node in nodes(document.root) if document.root else []:
        assert 1 <= node.span.line <= len(node.span.source.lines)
        assert 1 <= node.span.column <= len(node.span.source.line(node.span.line)) + 1
    for problem in document.problems:
        assert problem.file == "f"
        assert problem.render().startswith(problem.place)


@given(VALUES)
def test_json_is_read_with_the_same_values(value: Any) -> None:
    document = read(json.dumps({"value": value}), "f")

    assert not document.problems
    assert document.root is not None
    assert same(plain(document.root)["value"], value)


def same(one: Any, other: Any) -> bool:
    """Equality that distinguishes 1, 1.0 and True."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=0)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return type(one) is type(other) and one == other


FIELDS = st.dictionaries(st.sampled_from(list(Manifest.model_fields)) | KEYS, VALUES, max_size=6)


@given(st.text(max_size=100) | NEARLY_YAML | FIELDS.map(json.dumps))
def test_any_manifest_is_valid_or_has_an_error(text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    for file in ("m.yaml", "m.agent.md"):
        made = read_manifest(content, file, stem="m", defaults=(), environ={"V": "v"})

        assert (made.manifest is None) == bool(errors(made.problems))


MANIFESTS = [
    b"capabilities: [a]\n",
    b"capabilities: [a]\nprompt: shared.md\n",
    b"capabilities: [a]\ninstructions: 'Hi {{ agent.name }}'\n",
    b"capabilities: [a]\ninstructions: 'Hi {{ agnt.name }}'\n",
    b"capabilities: [a]\nname: same\nprompt: shared.md\n",
    b"capabilities: [a]\nprompt: shared.md\nemit: [{task: b.c}]\n",
    b"capabilities: [a]\nprompt: shared.md\nmodel: {name: mock/script, script: b.yaml}\n",
    b"capabilities: [a]\nprompt: shared.md\ntools: [{python: t.py:do}]\n",
    b"capabilties: [a]\n",
    b"capabilities: [",
    b"- a turn\n",
    b"",
]
PROMPTS = [b"Hi.", b"{% include 'b.md' %}", b"{{ agnt }}", b"\xff"]
MANIFEST_FOLDERS = st.fixed_dictionaries(
    {},
    optional={
        **{f"{name}.yaml": st.sampled_from(MANIFESTS) for name in ("a", "b", "low/c")},
        "low/_defaults.yaml": st.sampled_from([b"limits: {timeout: 5s}", b"promt: x", b"{", b""]),
    },
)
PROMPT_FOLDERS = st.fixed_dictionaries(
    {}, optional={f"{name}.md": st.sampled_from(PROMPTS) for name in ("a", "b", "shared")}
)
TOOLS = [b"def do() -> str:\n    return 'done'\n", b"def do(:\n", b""]
TOOL_FOLDERS = st.fixed_dictionaries({}, optional={"t.py": st.sampled_from(TOOLS)})
SNAPSHOTS = st.builds(
    Files,
    folder=st.just(Path("manifests")),
    prompt_folder=st.just(Path("prompts")),
    tool_folder=st.just(Path("tools")),
    manifests=MANIFEST_FOLDERS,
    prompts=PROMPT_FOLDERS,
    tools=TOOL_FOLDERS,
    refused=st.just({}),
)


def seen(catalog: Catalog) -> tuple[object, ...]:
    revisions = {name: spec.revision for name, spec in catalog.agents.items()}
    return revisions, catalog.problems, catalog.broken


@settings(max_examples=60)
@given(st.lists(SNAPSHOTS, min_size=2, max_size=6))
def test_a_reload_gives_the_same_catalog_as_a_fresh_load(history: list[Files]) -> None:
    catalog: Catalog | None = None
    for files in history:
        catalog = load(files, environ={}, previous=catalog)

        assert seen(catalog) == seen(load(files, environ={}))
        assert {spec.file for spec in catalog.agents.values()}.isdisjoint(catalog.broken)
