"""Which facts an agent hears of, and which of them are meant for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentd.manifest.agent import Manifest
from agentd.protocol.subjects import Subject, matches
from agentd.queue.fact_consumer import filters, patterns, wanted

token = st.sampled_from(["a", "b", "*"])
facts = st.builds("{}.{}.{}".format, st.sampled_from(["result", "event"]), token, token)


@given(st.lists(facts, min_size=1, max_size=6))
def test_filters_cover_what_is_asked_for_and_none_covers_another(asked: list[str]) -> None:
    found = filters(asked)
    for fact in asked:
        concrete = fact.replace("*", "z") + (".id" if fact.startswith("result") else "")
        assert any(matches(each, concrete) for each in found)
    assert not any(matches(a, b) for a in found for b in found if a != b)


def subject(text: str) -> Subject:
    return Subject.parse(f"agents.dev.{text}")


def test_what_agentd_tells_of_itself_is_asked_for_by_name() -> None:
    status = subject("event.status.online")
    assert wanted(["event.*.*"], status) is None
    assert wanted(["event.*.*", "event.status.*"], status) == "event.status.*"
    assert wanted(["event.*.*"], subject("event.report.ready")) == "event.*.*"
    assert wanted(["result.*.*"], subject("result.report.ready.t1")) == "result.*.*"


def test_a_join_is_told_when_its_time_is_up() -> None:
    manifest = Manifest.model_validate(
        {
            "name": "me",
            "capabilities": [],
            "subscribe": {"to": "event.a.b"},
            "join": {"wait_for": ["result.a.*"]},
        }
    )
    assert patterns(manifest) == ("event.a.b", "result.a.*", "event.join_due.me")
    assert patterns(Manifest(capabilities=())) == ()
