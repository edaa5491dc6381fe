"""Forwards a task that came to this agent but is for another one, once."""

from __future__ import annotations

from agentd import crash_points
from agentd.agent.commit import refuse
from agentd.agent.delivered_task import DeliveredTask
from agentd.agent.outcome import Outcome
from agentd.errors import TaskError, Undeliverable
from agentd.nats import jetstream
from agentd.protocol.destination import Destination
from agentd.queue.topic import topic_headers
from agentd.routing.eligibility import address


async def forward(task: DeliveredTask) -> Outcome | None:
    """Publishes the task again, to the destination that its body asks for.

    A sender that uses agentd's own rule publishes there to begin with, and gets an error
    immediately if no agent takes the task. A foreign client gets an error result instead: the
    outcome that is returned.

    Raises:
        Conflict, BusError: as `commit`.
    """
    services, message, subject = task.services, task.message, task.delivery.subject
    here = Destination(subject.domain, subject.specificity)
    try:
        to = await address(services.bus, services.subjects, here, message)
    except TaskError as error:
        return await refuse(task, Undeliverable(str(error), code=error.code))
    await jetstream.store(
        services.bus,
        services.subjects.task(to.domain, to.specificity, message.routing.priority),
        task.delivery.data,
        # A second delivery of the same task forwards it with the same id: it is stored once. Under
        # an id that somebody else has used, the server would store nothing.
        message_id=f"{services.secret.digest(f'{message.id} {task.delivery.sequence}')}"
        f"@{to.specificity}",
        headers={**task.delivery.headers_for(message.id), **_topic(task, to)},
    )
    crash_points.here("after-forward")
    return None


def _topic(task: DeliveredTask, to: Destination) -> dict[str, str]:
    """The headers that let the task keep its topic, if it has another than its subject says."""
    about = task.topic
    if about == task.delivery.subject:
        return {}
    text = f"{about.domain}.{about.specificity}"
    return topic_headers(text, to, task.delivery.data, task.services.secret)
