"""The parts of a message: their names on the wire, and limits that only become tighter."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agentd.protocol.fields import (
    DEEPEST,
    AgentIdentity,
    Constraints,
    Context,
    Payload,
    Routing,
    Sibling,
)


def test_fields_are_spelled_in_camel_case_on_the_wire() -> None:
    assert Payload.wire_names() == (
        "content",
        "model",
        "parameters",
        "constraints",
        "answerSchema",
        "tools",
        "continuation",
        "sequenceNumber",
        "isFirst",
        "isFinal",
        "chunk",
        "turn",
    )
    assert AgentIdentity.wire_names() == ("id", "type")


def test_python_and_the_wire_have_their_own_spelling() -> None:
    assert Context(conversation_id="c") == Context.model_validate({"conversationId": "c"})
    stated = Context(conversation_id="c", max_history=3).model_dump(exclude_unset=True)
    assert stated == {"conversationId": "c", "maxHistory": 3}
    with pytest.raises(ValidationError, match="should be maxHistory"):
        Context.model_validate({"conversationId": "c", "max_history": 3}, by_name=False)


def test_the_schema_of_a_part_refuses_the_spelling_of_python() -> None:
    names = Routing.model_json_schema().get("propertyNames")
    assert names is None
    names = Constraints.model_json_schema()["propertyNames"]
    assert names == {"not": {"enum": ["max_cost", "max_tokens"]}}


def test_null_in_a_list_or_an_object_is_the_empty_one() -> None:
    routing = Routing.model_validate({"capabilities": None, "exclusions": ["a"]})
    assert (routing.capabilities, routing.exclusions) == ((), ("a",))
    payload = Payload.model_validate({"parameters": None, "constraints": None})
    assert (payload.parameters, payload.constraints) == ({}, Constraints())


@pytest.mark.parametrize(
    ("inner", "outer", "least"),
    [
        (Constraints(), Constraints(), Constraints()),
        (Constraints(max_cost=1), Constraints(max_cost=2), Constraints(max_cost=1)),
        (Constraints(max_cost=2), Constraints(max_cost=1), Constraints(max_cost=1)),
        (Constraints(max_cost=0), Constraints(max_cost=1), Constraints(max_cost=0)),
        (Constraints(timeout=5), Constraints(max_tokens=9), Constraints(timeout=5, max_tokens=9)),
    ],
)
def test_constraints_within_others_are_never_wider(
    inner: Constraints, outer: Constraints, least: Constraints
) -> None:
    assert inner.within(outer) == least
    assert inner.within(outer).model_fields_set == least.model_fields_set


def test_constraints_that_agentd_does_not_know_are_kept_the_inner_ones_first() -> None:
    outer = Constraints.model_validate({"energy": 1, "region": "eu"})
    inner = Constraints.model_validate({"energy": 2, "maxCost": 0.5})
    assert inner.within(outer).model_dump(exclude_unset=True) == {
        "energy": 2,
        "region": "eu",
        "maxCost": 0.5,
    }


def test_lists_are_bounded() -> None:
    place = Sibling(of="t", index=0, count=1)
    assert len(Context(conversation_id="c", siblings=(place,) * DEEPEST).siblings) == DEEPEST
    with pytest.raises(ValidationError):
        Context(conversation_id="c", siblings=(place,) * (DEEPEST + 1))
    assert len(Routing(capabilities=("a",) * 100).capabilities) == 100
    with pytest.raises(ValidationError):
        Routing(capabilities=("a",) * 101)
