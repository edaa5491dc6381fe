"""Where tasks go, and who may take them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from agentd.errors import UsageError
from agentd.protocol.destination import Destination, Objection, Recipients, Requirement
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, Routing, new
from agentd.protocol.subjects import token

ANALYSIS = Destination("analysis", "general")
ANALYST = Destination("_agent", "analyst")


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
    with pytest.raises(UsageError, match="name a capability") as refused:
        Destination.parse(target)
    assert str(refused.value) == (
        f"{target!r} is no target: name a capability (analysis), a domain and a specificity "
        "(analysis.sentiment), or an agent (@analyst)"
    )


def test_a_destination_keeps_its_domain_and_its_specificity() -> None:
    assert Destination.parse("a.b") == Destination("a", "b")
    assert Destination.parse("@analyst") == ANALYST


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


def test_capabilities_and_exclusions_are_sorted_and_counted_once() -> None:
    recipients = sent("a", capabilities=("c", "b", "c"), exclusions=("y", "x", "y"))
    assert recipients.requirement == Requirement(("a", "b", "c"), ("x", "y"))
    assert str(recipients) == "a.general (a and b and c, but not x or y)"


def test_a_route_for_exclusions_alone_is_for_every_other_agent() -> None:
    route = str(Requirement((), ("bad",)).destination)
    recipients = sent(route, exclusions=("bad",))
    assert recipients.include("any", [])
    assert not recipients.include("bad", [])


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
    assert (str(recipients), str(sent("b.c"))) == ("@me", "b.c")
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


def test_only_a_destination_of_one_agent_names_an_agent() -> None:
    assert ANALYST.agent == "analyst"
    assert ANALYSIS.agent is None


def test_the_route_of_a_requirement_is_named_by_its_digest() -> None:
    requirement = Requirement(("a", "b"), ("c",))
    text = b'{"all": ["a", "b"], "not": ["c"]}'
    assert requirement.canonical() == text
    assert requirement.signature == hashlib.sha256(text).hexdigest()[:12]
    assert requirement.destination == Destination("_route", requirement.signature)
    assert token(requirement.signature, "route") == requirement.signature
    others = [Requirement(("a", "b")), Requirement(("a",), ("c",)), Requirement(("c",), ("a", "b"))]
    assert len({each.signature for each in (*others, requirement)}) == 4


@pytest.mark.parametrize(
    ("agent", "capabilities", "met", "lacking"),
    [
        ("x", ["a", "b"], True, []),
        ("x", ["b", "z", "a"], True, []),
        ("x", ["b"], False, ["a"]),
        ("x", [], False, ["a", "b"]),
        ("bad", ["a", "b"], False, []),
    ],
)
def test_an_agent_with_every_capability_that_is_not_excluded_meets_a_requirement(
    agent: str, capabilities: list[str], met: bool, lacking: list[str]
) -> None:
    requirement = Requirement(("a", "b"), ("bad",))
    assert requirement.met_by(agent, capabilities) is met
    assert requirement.lacking(capabilities) == lacking


@pytest.mark.parametrize(
    ("requirement", "shown"),
    [
        (Requirement(("a", "b")), "a and b"),
        (Requirement(("a",), ("x", "y")), "a, but not x or y"),
        (Requirement((), ("x",)), "anything, but not x"),
        (Requirement(()), "anything"),
    ],
)
def test_a_requirement_is_shown_in_words(requirement: Requirement, shown: str) -> None:
    assert str(requirement) == shown


def test_a_rule_that_will_emit_a_message_has_recipients_too() -> None:
    assert Recipients.among(ANALYSIS) == Recipients(ANALYSIS, Requirement(("analysis",)))
    assert Recipients.among(ANALYSIS, target="analyst", passed_on_by="me") == Recipients(
        ANALYST, Requirement(()), "me"
    )


def test_objections_say_why() -> None:
    recipients = Recipients.among(
        ANALYSIS, capabilities=("a", "b"), exclusions=("me",), passed_on_by="me"
    )
    assert recipients.objections("me", ("b", "z")) == [
        Objection("capabilities", "lacks the capability `a` and `analysis` (has b z)"),
        Objection("excluded", "the message excludes it"),
        Objection("loop", "it emitted the message itself"),
    ]
    [nothing] = Recipients.among(ANALYSIS).objections("me", ())
    assert nothing.text == "lacks the capability `analysis` (has none)"
    assert Recipients.among(ANALYST).objections("me", ("a",)) == [
        Objection("target", "the message is for @analyst only")
    ]
