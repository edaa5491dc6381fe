"""The configurations of the streams: what each stores, and how it is bounded."""

from __future__ import annotations

from typing import Any

from agentd.nats import streams
from agentd.nats.streams import configurations
from agentd.protocol import stream_subjects
from agentd.protocol.server_subjects import bucket
from agentd.protocol.subjects import Subjects, matches, parse_work
from agentd.settings import Settings

BUCKETS = [
    streams.AGENTS,
    streams.RATES,
    streams.ROUTES,
    streams.BUDGETS,
    streams.STOPS,
    streams.JOINS,
    streams.CACHE,
]


def configured(**settings: Any) -> dict[str, dict[str, Any]]:
    return {config["name"]: config for config in configurations(Settings(**settings))}


def transformed(subject: str) -> list[str]:
    """What the transforms of WORK make of a subject, as the server applies them."""
    [source] = configured()[streams.WORK]["sources"]
    found: list[str] = []
    for transform in source["subject_transforms"]:
        if matches(transform["src"], subject):
            wildcards = [
                token
                for pattern, token in zip(
                    transform["src"].split("."), subject.split("."), strict=True
                )
                if pattern == "*"
            ]
            dest = transform["dest"]
            for number, token in enumerate(wildcards, 1):
                dest = dest.replace(f"{{{{wildcard({number})}}}}", token)
            found.append(dest)
    return found


def test_a_source_is_made_before_its_copy() -> None:
    names = list(configured())

    assert names[:3] == [streams.SCHEDULES, streams.LOG, streams.WORK]
    others = {streams.CHUNKS, streams.OBJECTS, streams.REVISIONS, streams.AUDIT}
    assert set(names) == {*names[:3], *others, *BUCKETS}


def test_nobody_deletes_from_the_audit() -> None:
    audit = configured()[streams.AUDIT]

    assert (audit["deny_delete"], audit["deny_purge"], audit["allow_rollup_hdrs"]) == (
        *(True, True),
        False,
    )
    assert streams.AUDIT not in configured(audit="off")


def test_nothing_is_reserved_beside_a_log_without_a_limit_of_its_own() -> None:
    found = configured(log_bytes=0)
    assert [found[name].get("max_bytes") for name in (streams.REVISIONS, streams.AUDIT)] == [0, 0]


def test_every_stream_allows_many_consumers_and_direct_reads() -> None:
    for config in configured(replicas=3).values():
        assert config["max_consumers"] == 20_000
        assert config["allow_direct"] is True
        assert config["num_replicas"] == 3


def test_only_the_stream_of_schedules_lets_a_header_schedule_or_empty() -> None:
    may = {
        name
        for name, config in configured().items()
        if config.get("allow_msg_schedules") and config["allow_rollup_hdrs"]
    }
    log = configured()[streams.LOG]

    assert may == {streams.SCHEDULES}
    assert (log["allow_rollup_hdrs"], log["deny_purge"]) == (False, True)


def test_the_log_is_bounded_by_the_settings() -> None:
    log = configured(log_days=0.5, log_bytes=1000)[streams.LOG]

    assert log["max_age"] == 12 * 3600 * 1_000_000_000
    assert log["max_bytes"] == 1000
    assert configured(log_days=0.5)[streams.OBJECTS]["max_age"] == log["max_age"]


def test_a_task_reaches_work_with_its_priority_or_the_default_one() -> None:
    subjects = Subjects("dev")

    assert transformed(subjects.task("a", "b")) == ["work.dev.a.b.5"]
    assert transformed(subjects.task("a", "b", 9)) == ["work.dev.a.b.9"]
    assert transformed(subjects.event("a", "b")) == []
    [work] = transformed(subjects.task("a", "b", 0))
    assert parse_work(work).priority == 0
    assert matches(subjects.work("a", "b", priority=0), work)


def test_a_doorbell_rings_without_contents() -> None:
    for name, subject in ((streams.LOG, "agents.dev.event.a.b"), (streams.WORK, "work.dev.a.b.5")):
        republish = configured()[name]["republish"]
        assert matches(republish["src"], subject)
        assert republish["headers_only"] is True
    assert matches(configured()[streams.WORK]["republish"]["dest"], Subjects("dev").ring)


def test_a_bucket_stores_one_message_a_key_with_its_own_ttl() -> None:
    for name in BUCKETS:
        config = configured()[name]
        assert config["subjects"] == [bucket(name, ">")]
        assert config["max_msgs_per_subject"] == 1
        assert config["allow_msg_ttl"] is True


def test_only_deltas_presence_and_rates_are_stored_in_memory() -> None:
    in_memory = {name for name, config in configured().items() if config["storage"] == "memory"}

    assert in_memory == {streams.CHUNKS, streams.AGENTS, streams.RATES}


def test_a_full_cache_drops_its_oldest_answer() -> None:
    buckets = configured(log_bytes=4000)

    assert buckets[streams.CACHE]["discard"] == "old"
    assert buckets[streams.CACHE]["max_bytes"] == 100
    assert buckets[streams.BUDGETS]["discard"] == "new"


def test_revisions_are_kept_longer_than_the_log_and_cannot_be_purged() -> None:
    config = configured(log_bytes=4000, log_days=1)[streams.REVISIONS]

    assert "max_age" not in config
    assert config["max_bytes"] == 100
    assert config["deny_purge"]
    assert not config.get("allow_rollup_hdrs")
    wanted = [stream_subjects.revision("dev", "a", "1"), stream_subjects.file_piece("dev", "ab", 0)]
    assert all(any(matches(p, s) for p in config["subjects"]) for s in wanted)
