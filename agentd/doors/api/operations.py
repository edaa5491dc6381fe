"""What the routes of tasks say of themselves in the OpenAPI document."""

from __future__ import annotations

from agentd.doors.api.described import Operation, Parameter
from agentd.doors.api.models import Agents, Cancelled, Ended, NewTask, Task

_STREAM = (
    "The events of the stream: `delta` (`text`: a piece of the answer), `restart` (`reason`: "
    "forget the pieces so far), `delay` (`text`: why it takes longer), `waiting` (for an approval) "
    "and, last, `result` (the task). The pieces since the last `restart` add up to the answer; if "
    "there are none, only the result has it. Comments are heartbeats."
)
_PLACE = Parameter(
    name="Last-Event-ID",
    place="header",
    text="Goes on behind this event, in any process. `?after=` is the same.",
    schema={"type": "string"},
)
_UNTIL = Parameter(
    name="until",
    place="query",
    text="Follows the task and what follows from it until this fact, such as `event.answer.ready` "
    "or `result.review.*`, or until the task fails. The pieces name their `task`; `fact` (`topic`, "
    "`message`) is a fact on the way; the last event is `end` (`topic`, `message`).",
    schema={"type": "string", "pattern": r"^(result|event)\.[^.]+\.[^.]+$"},
)

SEND = Operation(
    name="sendTask",
    summary="Send a task",
    text="With `Accept: text/event-stream`, the answer is the stream of the task. " + _STREAM,
    takes=NewTask,
    gives={
        200: ("The task with its result (`Prefer: wait`), or its stream.", Task),
        202: ("The task is stored: it survives a crash, and has one result.", Task),
    },
    parameters=[
        Parameter(
            name="Idempotency-Key",
            place="header",
            text="A request that is repeated under the same key is the same task. The same key "
            "with another body is refused.",
            schema={"type": "string", "maxLength": 255},
        ),
        Parameter(
            name="Prefer",
            place="header",
            text="`wait=30`: wait so many seconds for the result.",
            schema={"type": "string"},
        ),
        _UNTIL,
    ],
    streams=True,
    right="ask",
)
READ = Operation(
    name="getTask",
    summary="Read a task",
    text="A key sees the tasks that it has sent; with the right `read`, all.",
    gives={200: ("The task.", Task)},
    right="read",
)
FOLLOW = Operation(
    name="followTask",
    summary="Follow a task",
    text=_STREAM,
    gives={200: ("The stream.", None), 204: ("The stream was read to its end.", None)},
    parameters=[_PLACE, _UNTIL],
    streams=True,
    right="read",
)
CANCEL = Operation(
    name="cancelTask",
    summary="Cancel a task, and all that followed from it",
    text="A key may cancel the tasks that it has sent; with the right `operate`, all.",
    gives={200: ("It is cancelled.", Ended)},
    right="operate",
)
CANCEL_CONVERSATION = Operation(
    name="cancelConversation",
    summary="Cancel a conversation",
    text="All its tasks end, and later ones are refused.",
    takes=Cancelled,
    gives={200: ("It is cancelled.", Ended)},
    right="operate",
)
LIST_AGENTS = Operation(
    name="listAgents",
    summary="List the agents online",
    gives={200: ("The agents, in all processes.", Agents)},
    right="read",
)
