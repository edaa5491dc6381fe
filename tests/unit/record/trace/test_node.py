"""A node of a trace: its order and its JSON."""

from __future__ import annotations

from agentd.record.trace.node import Node


def test_the_first_record_of_a_node_may_be_one_below_it() -> None:
    call = Node(kind="call", began=2.0, sequences=[5])
    turn = Node(kind="turn", began=1.0, sequences=[7], children=[call])

    assert (turn.first, call.first, Node(kind="other", began=0.0).first) == (5, 5, 0)
    assert list(turn.walk()) == [turn, call]


def test_a_node_as_json_has_only_what_is_known() -> None:
    call = Node(kind="call", name="search", began=2.0, sequences=[5])
    turn = Node(
        kind="turn", began=0.5, ended=2.0, status="ok", details={"cost": 0.0}, children=[call]
    )

    assert turn.as_json() == {
        "kind": "turn",
        "status": "ok",
        "began": "1970-01-01T00:00:00.500+00:00",
        "ended": "1970-01-01T00:00:02.000+00:00",
        "cost": 0.0,
        "children": [
            {
                "kind": "call",
                "name": "search",
                "began": "1970-01-01T00:00:02.000+00:00",
                "sequences": [5],
            }
        ],
    }
