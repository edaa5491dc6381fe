"""Where tasks go, and who may take them."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.errors import UsageError
from agentd.protocol.destination import Destination, Recipients, Requirement
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, Routing, new

ANALYSIS = Destination("analysis", "general")


def task(*, target: str | None = None, path: tuple[str, ...] = (), **routing: Any) -> AgentMessage:
    context = Context(conversation_id="c", path=path, hops=len(path))
    source = AgentIdentity(id="test")
    routed = Routing(**routing)
    return new("task", "hi", source=source, context=context, routing=routed, target=target)


def sent(to: str, **fields: Any) -> Recipients:
    return Recipients.of(task(**fields), Destination.parse(to))


@pytest.mark.parametrize(
    ("target", "subject"),
    [
        ("analysis", "analysis.general"),
        ("analysis.sentiment", "analysis.sentiment"),
        ("@analyst", "@analyst"),
    ],
)
def test_a_target_names_a_capability_a_topic_or_an_agent(target: str, subject: str) -> None:
    assert str(Destination.parse(target)) == subject


@pytest.mark.parametrize("target", ["", "@", "a.b.c", "a b", "analysis.", "*"])
def test_anything_else_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match="name a capability"):
        Destination.parse(target)


def test_a_plain_task_is_for_every_agent_with_the_capability() -> None:
    recipients = sent("analysis")

    assert recipients.include("any", ["analysis", "other"])
    assert not recipients.include("any", ["other"])
    assert (recipients.needs_route, recipients.destination) == (False, ANALYSIS)


def test_a_task_for_several_capabilities_has_a_route_of_its_own() -> None:
    recipients = sent("analysis", capabilities=("research",))
    requirement = Requirement(("analysis", "research"))

    assert recipients.include("both", ["research", "analysis"])
    assert not recipients.include("one", ["analysis"])
    assert recipients.destination == requirement.destination
    assert str(recipients) == "analysis.general (analysis and research)"


def test_naming_the_own_domain_as_a_capability_needs_no_route() -> None:
    assert sent("analysis", capabilities=("analysis",)).destination == ANALYSIS


def test_an_excluded_agent_may_not_take_the_task() -> None:
    recipients = sent("analysis", exclusions=("me",))

    assert not recipients.include("me", ["analysis"])
    assert recipients.include("you", ["analysis"])
    assert recipients.needs_route
    assert [each.code for each in recipients.objections("me", ["analysis"])] == ["excluded"]


def test_a_target_needs_no_capability_but_those_that_the_message_names() -> None:
    recipients = sent("analysis", target="me")

    assert recipients.include("me", [])
    assert not recipients.include("you", ["analysis"])
    assert recipients.destination == Destination("_agent", "me")
    assert [each.text for each in recipients.objections("you", ["analysis"])] == [
        "the message is for @me only"
    ]
    needy = sent("@me", capabilities=("research",))
    assert not needy.include("me", [])
    assert needy.include("me", ["research"])
    assert str(needy) == "@me (research)"


def test_an_agent_may_not_take_what_it_emitted_itself() -> None:
    recipients = sent("analysis", path=("you", "me"))

    assert not recipients.include("me", ["analysis"])
    assert recipients.include("you", ["analysis"])
    assert [each.code for each in recipients.objections("me", ["analysis"])] == ["loop"]


def test_every_objection_is_named() -> None:
    recipients = sent("analysis", path=("me",), exclusions=("me",), capabilities=("research",))

    assert [each.code for each in recipients.objections("me", ["coding"])] == [
        "capabilities",
        "excluded",
        "loop",
    ]
    assert recipients.objections("me", ["coding"])[0].text == (
        "lacks the capability `analysis` and `research` (has coding)"
    )


def test_objections_and_inclusion_are_one_rule() -> None:
    for to in ("analysis", "@me", "@you"):
        for fields in ({}, {"exclusions": ("me",)}, {"path": ("me",)}, {"capabilities": ("b",)}):
            recipients = sent(to, **fields)
            for held in ([], ["analysis"], ["analysis", "b"]):
                allowed = recipients.include("me", held)
                assert allowed == (recipients.objections("me", held) == [])


def test_a_message_on_a_route_says_what_the_route_requires() -> None:
    requirement = Requirement(("analysis", "research"), ("you",))
    to = f"_route.{requirement.signature}"
    stated = sent(to, capabilities=("research", "analysis"), exclusions=("you",))

    assert stated.requirement == requirement
    assert stated.destination == requirement.destination
    assert not sent(to).include("anyone", ["analysis", "research"])


def test_a_signature_does_not_depend_on_the_order() -> None:
    one = sent("a", capabilities=("c", "b"), exclusions=("y", "x"))
    other = sent("a", capabilities=("b", "c", "b"), exclusions=("x", "y"))

    assert one.requirement.signature == other.requirement.signature
    assert one.requirement.signature != sent("a", capabilities=("b", "c")).requirement.signature
