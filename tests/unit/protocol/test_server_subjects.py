"""The server's subjects, as its documents spell them."""

from __future__ import annotations

from agentd.protocol import server_subjects
from agentd.protocol.server_subjects import Acknowledgement, bucket


def test_calls_of_the_jetstream_api() -> None:
    assert server_subjects.api("STREAM.INFO.LOG") == "$JS.API.STREAM.INFO.LOG"
    assert server_subjects.next_message("LOG", "me") == "$JS.API.CONSUMER.MSG.NEXT.LOG.me"


def test_a_direct_get_reads_one_subject_or_what_its_request_says() -> None:
    assert server_subjects.direct_get("LOG") == "$JS.API.DIRECT.GET.LOG"
    assert server_subjects.direct_get("LOG", "a.b") == "$JS.API.DIRECT.GET.LOG.a.b"


def test_an_advisory_names_the_stream_and_any_consumer() -> None:
    pattern = server_subjects.consumer_advisory("MAX_DELIVERIES", "WORK")

    assert pattern == "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.WORK.*"


def test_a_key_of_a_bucket_is_a_subject_below_it() -> None:
    assert bucket("KV_agents") == "$KV.agents"
    assert bucket("KV_agents", "dev", "me", "1") == "$KV.agents.dev.me.1"
    assert bucket("KV_agents", ">") == "$KV.agents.>"


def test_an_object_store_has_pieces_and_descriptions() -> None:
    assert server_subjects.object_store("files") == ["$O.files.C.>", "$O.files.M.>"]
    assert server_subjects.object_pieces("files", "Xy1") == "$O.files.C.Xy1"
    assert server_subjects.object_entry("files", "a?>") == "$O.files.M.YT8-"


def test_an_acknowledgement_is_taken_apart() -> None:
    parsed = Acknowledgement.parse("$JS.ACK.WORK.dev+analysis+5.2.17.9.1500000000000000000.3")

    assert parsed == Acknowledgement(
        stream="WORK", deliveries=2, sequence=17, stored_at=1.5e9, pending=3
    )
