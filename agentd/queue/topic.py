"""The topic of a task: what it is about, where its subject names an agent or a route instead.

The result of a task is published under its topic. A sender who could choose it would answer for a
task of somebody else. So a topic in the headers counts only if a process of agentd has signed it,
for these bytes and this destination.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from agentd.nats.bus import Bus
from agentd.nats.shared_value import Secret
from agentd.protocol.destination import Destination
from agentd.protocol.subjects import RESERVED_DOMAINS, TOKEN, Subject

TOPIC, SIGNATURE = "Agentd-Topic", "Agentd-Topic-Signature"


class Stored(Protocol):
    """A task as it is on record. `life` is the sequence in LOG under which it began."""

    @property
    def subject(self) -> Subject: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def data(self) -> bytes: ...
    @property
    def life(self) -> int: ...


def topic_headers(topic: str, to: Destination, data: bytes, secret: Secret) -> dict[str, str]:
    """The headers of a task about `topic` (`domain.specificity`), with these bytes, for `to`."""
    return {TOPIC: topic, SIGNATURE: _signature(topic, to, data, secret)}


def topic_of(task: Stored, secret: Secret) -> Subject:
    """The subject that names what a task is about, where its own names an agent or a route."""
    topic, subject = task.headers.get(TOPIC, ""), task.subject
    if not _has_topic(task):
        return subject
    to = Destination(subject.domain, subject.specificity)
    signature = task.headers.get(SIGNATURE, "")
    # What the log held before there was a secret was not signed.
    is_old = not signature and secret.is_newer_than(task.life)
    if not is_old and signature != _signature(topic, to, task.data, secret):
        return subject
    domain, _, specificity = topic.partition(".")
    return replace(subject, domain=domain, specificity=specificity)


async def read_topic(bus: Bus, task: Stored) -> Subject:
    """`topic_of`, for who does not have the secret at hand.

    Raises:
        BusError: the server does not answer.
    """
    secret = Secret()
    if _has_topic(task):
        await secret.read(bus, task.subject.env)
    return topic_of(task, secret)


def _has_topic(task: Stored) -> bool:
    topic = task.headers.get(TOPIC, "")
    is_one = re.fullmatch(rf"{TOKEN}\.{TOKEN}", topic) is not None
    return is_one and task.subject.domain in RESERVED_DOMAINS


def _signature(topic: str, to: Destination, data: bytes, secret: Secret) -> str:
    return secret.digest(f"topic {topic} {to} {hashlib.sha256(data).hexdigest()}")
