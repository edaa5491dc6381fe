"""The drawing of a trace: its lines at every width, and that no text steers the terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.cli.record.picture import drawn
from agentd.cli.shared.cells import width_of
from agentd.record.trace.node import Node

T0 = 1_800_000_000.0


def shown(tree: Node, width: int = 80, asked: str = "") -> list[str]:
    lines = drawn(tree, width=width, asked=asked)
    return [
        "".join(part if isinstance(part, str) else part.text for part in line) for line in lines
    ]


def conversation(*children: Node) -> Node:
    return Node(
        kind="conversation",
        id="chat",
        began=T0,
        ended=T0 + 10,
        details={"tasks": 1, "tokens": 42},
        children=children,
    )


CALL = Node(
    kind="call",
    name="search",
    text="{}",
    status="failed",
    began=T0 + 5,
    ended=T0 + 7.5,
    sequences=[3],
)
TURN = Node(kind="turn", name="gpt", status="ok", began=T0 + 2.5, ended=T0 + 5, children=[CALL])
RESULT = Node(kind="result", text="All.", status="ok", began=T0 + 10, ended=T0 + 10, id="r1")
TASK = Node(
    kind="task",
    name="analyst",
    id="t1",
    text="How is it?",
    status="ok",
    began=T0,
    started=T0 + 2.5,
    ended=T0 + 10,
    sequences=[1],
    children=[TURN, RESULT],
)


def test_a_tree_with_bars_of_time() -> None:
    lines = shown(conversation(TASK))
    lines[3] = lines[3][:2]  # its time depends on the time zone

    assert lines == [
        "conversation chat  1 task · 10.0 s · 42 tokens",
        "",
        "✓ analyst  How is it?                               ░░░░████████████      10.0 s",
        "│ ",
        "├─ ✓ turn  gpt                                          ████               2.5 s",
        "│  └─ ✗ search {}                                           ████           2.5 s",
        "└─ ✓ result: All.                                                  ╵",
    ]


@pytest.mark.parametrize("asked", ["t1", "1"])
def test_the_message_that_was_asked_for_is_marked(asked: str) -> None:
    marked = [line for line in shown(conversation(TASK), asked=asked) if "◀" in line]

    assert [line[:24].rstrip() for line in marked] == ["✓ analyst  How is it? ◀"]


@pytest.mark.parametrize("width", [1, 40, 79, 80, 100, 250])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    deep = TASK
    for _ in range(60):
        deep = replace(TASK, text="東京 " * 40, children=[deep, RESULT])

    for line in shown(conversation(deep), width):
        assert width_of(line) <= max(width, 40)


def test_what_has_not_ended_reaches_to_the_end() -> None:
    waiting = Node(kind="approval", status="waiting", began=T0 + 5, details={"decision": "waiting"})
    task = replace(TASK, status="waiting", ended=None, children=[TURN, waiting])

    lines = shown(conversation(task))
    assert lines[2].endswith(" ░░░░░░░░░░░░░░░░")
    assert "waits for a decision" in lines[-1]


def test_a_moment_at_the_end_stands_in_the_last_column() -> None:
    assert shown(conversation(TASK))[-1].index("╵") == 80 - 12 - 1


def test_texts_of_strangers_steer_no_terminal() -> None:
    hostile = "\x1b[2J\x07\u202eevil\n\r"
    task = replace(
        TASK,
        name=hostile,
        text=hostile,
        id=hostile,
        details={"revision": hostile, "source": hostile},
    )
    tree = replace(conversation(task), id=hostile)

    assert not set("".join(shown(tree))) & set("\x1b\x07\u202e\n\r")


def test_a_trace_of_nothing() -> None:
    empty = Node(kind="conversation", id="chat", began=0.0, details={"tasks": 0})

    assert shown(empty) == ["conversation chat  0 tasks"]
