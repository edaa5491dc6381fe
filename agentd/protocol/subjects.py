"""Every subject of agentd, spelled here and nowhere else."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, cast

from agentd.errors import SubjectError, UsageError

SubjectType = Literal["task", "result", "event", "query", "stream", "dlq"]

TOKEN: Final = r"[A-Za-z0-9_-]{1,64}"
DEFAULT_PRIORITY: Final = 5

# Work for one agent by name, and work for a set of capabilities by the route's signature.
AGENT_DOMAIN: Final = "_agent"
ROUTE_DOMAIN: Final = "_route"
# Stands for a token that NATS allows and agentd does not. No agent has such a capability.
MALFORMED: Final = "_malformed"
RESERVED_DOMAINS: Final = frozenset({AGENT_DOMAIN, ROUTE_DOMAIN})

# What agentd itself tells: of runs, agents, dead letters, conversations and joins.
RUNTIME_EVENTS: Final = frozenset(
    {
        "approval",
        "cancel",
        "conversation",
        "dlq",
        "join",
        "join_due",
        "join_late",
        "run",
        "status",
        "summary",
        "task",
        "trigger",
    }
)

# The Synadia agent protocol uses the same root and has its verbs where our environment stands.
RESERVED_ENVIRONMENTS: Final = frozenset(
    {"prompt", "hb", "status", "attachments", "spawn", "list", "stop"}
)

# The first tokens of everything that agentd publishes, stores or listens to.
OWN_ROOTS: Final = ("agentd", "agents", "due", "ring", "sched", "stored", "work")

# How many tokens may follow the specificity.
_REST: Final[dict[str, tuple[int, ...]]] = {
    "task": (0, 1),  # the priority
    "result": (1,),  # the task's id
    "event": (0,),
    "query": (0,),
    "stream": (0,),
    "dlq": (0,),
}

# Tasks come on few subjects, again and again: each is taken apart once.
_REMEMBERED: Final = 256

_is_token = re.compile(TOKEN).fullmatch
_is_priority = re.compile("[0-9]").fullmatch


def token(text: str, what: str) -> str:
    """`text` itself, if it can be one token of a subject; `what` names it in the error.

    NATS silently drops a publish to `a..b`, and takes wildcards in it literally. So nothing
    unchecked may become part of a subject.

    Raises:
        SubjectError: `text` is not 1 to 64 of the allowed characters.
    """
    if not _is_token(text):
        raise SubjectError(f"{what} {_shown(text)} must be 1 to 64 of A-Z a-z 0-9 _ -")
    return text


def is_token(text: str) -> bool:
    """Whether `text` can be one token of a subject."""
    return _is_token(text) is not None


def digest(text: str) -> str:
    """A token for any text, such as the id of a conversation."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def environment(name: str) -> str:
    """`name` itself, if it can be the name of an environment.

    Raises:
        UsageError: the name is not a subject token, or is reserved.
    """
    try:
        token(name, "environment")
    except SubjectError as error:
        raise UsageError(str(error)) from None
    if name in RESERVED_ENVIRONMENTS:
        raise UsageError(
            f"environment {name!r} is a word of the Synadia agent protocol, which has the same "
            f"subjects; choose another than {', '.join(sorted(RESERVED_ENVIRONMENTS))}"
        )
    return name


@dataclass(frozen=True)
class Subjects:
    """Builds the subjects of one environment; every method raises SubjectError for a bad token.

    Raises:
        UsageError: `env` cannot be the name of an environment.
    """

    env: str

    def __post_init__(self) -> None:
        environment(self.env)

    @property
    def group(self) -> str:
        """The queue group of all processes: one of them receives each message."""
        return f"agentd.{self.env}"

    @property
    def everything(self) -> str:
        """The pattern of all public subjects of this environment."""
        return f"agents.{self.env}.>"

    @property
    def ring(self) -> str:
        """The pattern of the doorbell: a message without content for each task that WORK stores."""
        return f"ring.{self.env}.>"

    @property
    def all_work(self) -> str:
        """The pattern of all stored work."""
        return f"work.{self.env}.>"

    def stored(self, rest: str) -> str:
        """The doorbell of LOG: a message without content for each message that LOG stores on this
        pattern (`rest` as for `pattern`)."""
        return f"stored.{self.pattern(rest).removeprefix('agents.')}"

    @property
    def cooldown(self) -> str:
        """Where replicas announce the cooldown of a model's endpoint to each other."""
        return f"agentd.{self.env}.cooldown"

    def audit(self, *rest: str) -> str:
        """Where the audit stores its `checkpoint`, and the cosignatures of witnesses."""
        return f"agentd.{self.env}.audit.{'.'.join(rest)}"

    def task(self, domain: str, specificity: str, priority: int | None = None) -> str:
        """A task for one agent with the capability `domain`."""
        base = self._public("task", domain, specificity)
        return base if priority is None else f"{base}.{_priority(priority)}"

    def task_for(self, agent: str, priority: int | None = None) -> str:
        """A task for the agent of this name."""
        return self.task(AGENT_DOMAIN, token(agent, "agent"), priority)

    def result(self, domain: str, specificity: str, task_id: str) -> str:
        """The one outcome of a task."""
        return f"{self._public('result', domain, specificity)}.{token(task_id, 'task id')}"

    def event(self, domain: str, specificity: str) -> str:
        """An event, for every subscriber."""
        return self._public("event", domain, specificity)

    def query(self, domain: str, specificity: str) -> str:
        """A query, answered on the reply subject and not stored."""
        return self._public("query", domain, specificity)

    def stream(self, task_id: str) -> str:
        """The deltas of a task's answer."""
        return f"agents.{self.env}.stream.response.{token(task_id, 'task id')}"

    def accepted(self, task_id: str) -> str:
        """Where CHUNKS notes for a while how a task was accepted."""
        return f"agents.{self.env}.stream.accepted.{token(task_id, 'task id')}"

    def dlq(self, domain: str, specificity: str) -> str:
        """A dead letter."""
        return self._public("dlq", domain, specificity)

    def schedule(self, kind: Literal["agent", "message", "approval", "join"], name: str) -> str:
        """The schedule of an agent, of a message to be sent later, of a suspended task, or of the
        timeout of a join; `*` for all of the kind."""
        return f"sched.{self.env}.{kind}.{name if name == '*' else token(name, kind)}"

    def pattern(self, rest: str) -> str:
        """The pattern `agents.{env}.{rest}`: `rest` is tokens, `*`, and a last `>`."""
        *head, last = rest.split(".")
        for part in [*head, last if last != ">" else "*"]:
            if part != "*":
                token(part, f"in {_shown(rest)} the part")
        return f"agents.{self.env}.{rest}"

    def relative(self, subject: str) -> str:
        """A subject or pattern without `agents.{env}.`, which it need not have.

        Raises:
            UsageError: it belongs to another environment.
        """
        own = f"agents.{self.env}."
        if subject.startswith("agents.") and not subject.startswith(own):
            other = subject.split(".")[1]
            raise UsageError(f"{subject} belongs to the environment {other!r}; say --env {other}")
        return subject.removeprefix(own)

    def work(
        self, domain: str, specificity: str | None = None, *, priority: int | None = None
    ) -> str:
        """The pattern of the stored work of one capability; where the others are None, of any."""
        one = "*" if specificity is None else token(specificity, "specificity")
        band = "*" if priority is None else _priority(priority)
        return f"work.{self.env}.{token(domain, 'domain')}.{one}.{band}"

    def _public(self, kind: SubjectType, domain: str, specificity: str) -> str:
        token(domain, "domain")
        token(specificity, "specificity")
        return f"agents.{self.env}.{kind}.{domain}.{specificity}"


@dataclass(frozen=True)
class Subject:
    """A public subject taken apart; `str()` puts it together again.

    `rest` is what follows the specificity: the priority of a task where it has one, the task's id
    of a result.
    """

    env: str
    type: SubjectType
    domain: str
    specificity: str
    rest: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join(("agents", self.env, self.type, self.domain, self.specificity, *self.rest))

    @classmethod
    def parse(cls, subject: str) -> Subject:
        """The parts of `agents.{env}.{type}.{domain}.{specificity}...`.

        Raises:
            SubjectError: it is not a subject of this protocol.
        """
        root, *parts = subject.split(".")
        if root != "agents" or len(parts) < 4 or not all(map(_is_token, parts)):
            raise _foreign(subject)
        env, kind, domain, specificity, *rest = parts
        if env in RESERVED_ENVIRONMENTS or len(rest) not in _REST.get(kind, ()):
            raise _foreign(subject)
        if kind == "task" and not all(map(_is_priority, rest)):
            raise _foreign(subject)
        return cls(env, cast("SubjectType", kind), domain, specificity, tuple(rest))

    @classmethod
    @lru_cache(_REMEMBERED)
    def nearest(cls, subject: str) -> Subject:
        """`parse` for what a stream has stored: tokens that it refuses become `_malformed`."""
        *head, tail = subject.split(".", 2)
        tokens = (each if is_token(each) else MALFORMED for each in tail.split("."))
        return cls.parse(".".join([*head, *tokens]))

    @property
    def priority(self) -> int:
        """0 to 9, higher is more urgent; 5 where the subject says nothing."""
        return int(self.rest[0]) if self.type == "task" and self.rest else DEFAULT_PRIORITY

    @property
    def task_id(self) -> str | None:
        """The task that a result or a stream belongs to; None for other types."""
        if self.type == "result":
            return self.rest[0]
        return self.specificity if self.type == "stream" else None


@lru_cache(_REMEMBERED)
def parse_work(subject: str) -> Subject:
    """The task behind a stored `work.` subject or its doorbell `ring.`, as `Subject.nearest`.

    Raises:
        SubjectError: it is neither.
    """
    return Subject.nearest(published_from(subject))


def published_from(work: str) -> str:
    """The subject, with its priority, that a task was published to, from its subject in WORK.

    Raises:
        SubjectError: it is no subject of WORK.
    """
    root, *parts = work.split(".")
    if root not in ("work", "ring") or len(parts) != 4:
        raise _foreign(work)
    return ".".join(("agents", parts[0], "task", *parts[1:]))


def environment_of(subject: str) -> str | None:
    """The environment of a public subject; None for any other subject."""
    root, _, rest = subject.partition(".")
    return rest.partition(".")[0] if root == "agents" else None


def is_foreign(subject: str) -> bool:
    """Whether a subject is neither agentd's nor the server's.

    A stranger who names a subject for an answer has agentd publish there, with the rights of
    agentd: as a result of another task, for example, or as a call of `$JS.API`.
    """
    root = subject.partition(".")[0]
    return root not in OWN_ROOTS and not root.startswith("$")


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to `pattern` receives `subject`, by the rules of the NATS server.

    `*` stands for one token, a last `>` for one or more; inside a token they are plain
    characters. What the server refuses (an empty token, a `>` before the end) matches nothing.
    """
    wanted, given = pattern.split("."), subject.split(".")
    if "" in wanted or "" in given or ">" in wanted[:-1]:
        return False
    if wanted[-1] == ">" and len(given) >= len(wanted):
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    return len(wanted) == len(given) and all(
        want in ("*", got) for want, got in zip(wanted, given, strict=True)
    )


def _priority(priority: int) -> int:
    if not 0 <= priority <= 9:
        raise SubjectError(f"priority {priority} must be 0 to 9")
    return priority


def _foreign(subject: str) -> SubjectError:
    return SubjectError(f"{_shown(subject)} is not a subject of agentd")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")
