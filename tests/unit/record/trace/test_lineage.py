"""What each task followed from, if people and programs name whatever they like."""

from __future__ import annotations

from collections.abc import Mapping

from agentd.protocol.fields import Context
from agentd.protocol.message import new
from agentd.record.trace.grouped import grouped
from agentd.record.trace.lineage import DEEPEST, Place, places
from tests.unit.record.trace.story import PERSON, Story


def tasks(**parents: str) -> Story:
    """A task of each name with this parent."""
    story = Story()
    for name, parent in parents.items():
        context = Context(conversation_id="chat", parent_message_id=parent or None)
        task = new("task", "?", source=PERSON, id=name, context=context)
        story.store(story.subjects.task("analysis", "general"), task)
    return story


def test_a_task_stands_below_its_parent() -> None:
    found = places(grouped(tasks(a="", b="a", c="b", d="elsewhere").entries))

    assert found == {"a": Place(), "b": Place("a"), "c": Place("b"), "d": Place()}


def test_a_loop_of_parents_is_cut() -> None:
    found = places(grouped(tasks(a="c", b="a", c="b", d="d", e="b").entries))

    assert found["d"] == Place()
    assert [place.task for place in found.values()].count("") == 2
    assert found["e"] == Place("b")
    assert max(_depth(found, key) for key in found) == 2


def test_a_chain_is_cut_at_the_deepest_level() -> None:
    chain = {f"t{number}": f"t{number - 1}" if number else "" for number in range(3 * DEEPEST)}
    found = places(grouped(tasks(**chain).entries))

    assert max(_depth(found, key) for key in found) == DEEPEST
    assert found[f"t{3 * DEEPEST - 1}"] == found[f"t{DEEPEST}"]


def _depth(found: Mapping[str, Place], key: str) -> int:
    depth = 0
    while key := found[key].event or found[key].task:
        depth += 1
        assert depth < 1_000
    return depth
