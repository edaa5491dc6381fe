"""Which facts an emitted message can lead to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.catalog.catalog import Catalog
from agentd.catalog.topology.reach import Reach


@pytest.fixture
def reach(folder: Callable[..., Catalog]) -> Reach:
    """Issues go through one agent or two to a check; what is logged leads nowhere."""
    catalog = folder(
        router="""
        emit:
          - {task: billing.issue, when: output.billing}
          - {task: technical.issue, when: output.technical}
          - {task: technical.urgent, target: expert}
          - {event: issue.sorted}
          - {task: log.entry}
        """,
        billing="emit: [{task: check.issue}]",
        technical="emit: [{event: issue.solved}]",
        expert="",
        solver="capabilities: [solve]\nsubscribe: event.issue.solved\nemit: [{task: check.issue}]",
        check="",
        log="",
        answer="join: {wait_for: ['result.check.*'], count: all}\nemit: [{task: billing.again}]",
    )
    return Reach(catalog.topology)


@pytest.mark.parametrize(
    ("emitted", "pattern", "leads"),
    [
        ("task.billing.issue", "result.check.*", True),
        ("task.technical.issue", "result.check.*", True),
        ("task.technical.issue", "event.issue.*", True),
        ("task.technical.urgent", "result.check.*", False),
        ("task.technical.urgent", "result.technical.*", True),
        ("event.issue.sorted", "result.check.*", False),
        ("task.log.entry", "result.check.*", False),
        ("task.log.entry", "result.log.*", True),
        ("task.elsewhere.x", "result.check.*", False),
    ],
)
def test_what_a_message_leads_to(reach: Reach, emitted: str, pattern: str, leads: bool) -> None:
    assert reach.leads("answer", emitted, pattern) == leads


def test_a_join_does_not_wait_for_what_it_makes_itself(reach: Reach) -> None:
    assert reach.leads("", "task.check.issue", "result.answer.*")
    assert not reach.leads("answer", "task.check.issue", "result.answer.*")
    assert not reach.leads("answer", "task.check.issue", "result.billing.*")
