"""What changes in a stream that exists, and which errors are final."""

from __future__ import annotations

from typing import Any, cast

import pytest

from agentd.errors import BusError, StartError
from agentd.nats.bus import Bus
from agentd.nats.jetstream import ApiError
from agentd.nats.provision import differences, patiently
from agentd.testing import virtual_time
from tests.memory_bus import MemoryBus

WANTED: dict[str, Any] = {"name": "A", "num_replicas": 1, "storage": "file", "max_age": 5}
SOURCE = {"name": "LOG", "subject_transforms": [{"src": "a", "dest": "b"}]}


@pytest.mark.parametrize(
    ("existing", "changes"),
    [
        ({}, {}),
        ({"max_age": 6}, {"max_age": 5}),
        ({"num_replicas": 3}, {}),
        ({"storage": "memory"}, {}),
        ({"first_seq": 7, "compression": "s2", "placement": {"tags": ["a"]}}, {}),
    ],
)
def test_only_what_agentd_needs_is_changed(
    existing: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert differences({**WANTED, **existing}, {**WANTED, "first_seq": 9}) == changes


def test_replicas_are_added_and_never_removed() -> None:
    def asked(replicas: int, *, has: int) -> dict[str, Any]:
        return differences({**WANTED, "num_replicas": has}, {**WANTED, "num_replicas": replicas})

    assert asked(3, has=1) == {"num_replicas": 3}
    assert asked(1, has=3) == {}


def test_a_source_keeps_the_transforms_that_were_added_to_it() -> None:
    extended = {**SOURCE, "subject_transforms": [*SOURCE["subject_transforms"], {"src": "c"}]}

    assert differences({**WANTED, "sources": [extended]}, {**WANTED, "sources": [SOURCE]}) == {}
    assert differences(WANTED, {**WANTED, "sources": [SOURCE]}) == {"sources": [SOURCE]}


class Answers:
    """Work that meets these errors, one each, before it succeeds."""

    def __init__(self, *errors: BusError) -> None:
        self.errors = list(errors)

    async def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def repeated(work: Answers) -> str:
    """What `patiently` returns for this work."""
    return virtual_time.run(lambda: patiently(cast("Bus", MemoryBus()), work))


def api_error(code: int) -> ApiError:
    return ApiError("STREAM.CREATE.A", {"err_code": code, "description": "why"})


def test_what_may_pass_is_repeated() -> None:
    work = Answers(BusError("no answer"), api_error(10008), api_error(10005), BusError("lost"))

    assert repeated(work) == "done"


@pytest.mark.parametrize("code", [10023, 10047, 10052, 10074])
def test_a_refusal_is_final(code: int) -> None:
    with pytest.raises(StartError, match=r"^NATS refused STREAM\.CREATE\.A: why"):
        repeated(Answers(api_error(code)))
