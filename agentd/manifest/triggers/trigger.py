"""`triggers`: the tasks that an agent starts for a webhook, a message on NATS or a new file."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from agentd.manifest.quantities import (
    Duration,
    Expression,
    FactPattern,
    Name,
    Priority,
)
from agentd.manifest.strict_model import StrictModel
from agentd.manifest.triggers.callback import Callback, as_callback
from agentd.manifest.triggers.verify import Verify, as_verify
from agentd.protocol.subjects import OWN_ROOTS, TOKEN, is_foreign

KINDS = ("webhook", "nats", "files")

# The names that the expressions of each kind can use.
NAMES = {
    "webhook": ("headers", "query", "body", "digest"),
    "nats": ("subject", "headers", "body", "digest"),
    "files": ("file",),
}
LONGEST_WAIT = 600.0  # seconds that a request may wait for its answer

_TARGET = re.compile(rf"@?(?!_){TOKEN}|(?!_){TOKEN}\.{TOKEN}")
_SUBJECT = re.compile(r"[^\s*>.]+(\.(\*|[^\s*>.]+))*(\.>)?")
_MAGIC = re.compile(r"[*?\[]")


class Trigger(StrictModel):
    """Starts a task: for a `webhook`, a message on NATS (`nats`) or a new file (`files`)."""

    webhook: Name | None = Field(
        default=None,
        description="The name of a webhook: `POST /hooks/{name}` starts the task.",
        examples=["github"],
    )
    nats: str | None = Field(
        default=None,
        description="A subject of other programs. Each message on it starts a task; if a stream "
        "holds the subject, none is lost. `*` and a last `>` are wildcards.",
        examples=["orders.created"],
    )
    files: str | None = Field(
        default=None,
        description="A folder and a pattern, relative to the folder that holds `manifests/`. Each "
        "new file starts a task with the file attached.",
        examples=["inbox/*.pdf"],
    )
    verify: Annotated[
        Verify | None,
        BeforeValidator(as_verify, json_schema_input_type=Verify | Literal["none"] | None),
    ] = Field(
        default=None,
        description="How a request to the webhook proves who sent it. `none` accepts everyone.",
        examples=[{"github": "${GITHUB_SECRET}"}],
    )
    public: bool = Field(
        default=False,
        description="The webhook also answers on an address that others can reach while there are "
        "no keys. `verify` must check who sends.",
        examples=[True],
    )
    when: Expression | None = Field(
        default=None,
        description="The task is started only if this expression is true. The expressions of a "
        "webhook can use `headers`, `query`, `body` and `digest`; those of `nats` `subject`, "
        "`headers`, `body` and `digest`; those of `files` `file`.",
        examples=["body.action == 'opened'"],
    )
    id: Expression | None = Field(
        default=None,
        description="An expression that gives the id of the delivery. Deliveries with the same id "
        "are one task. Default: what the sender gives, or else the digest of the body.",
        examples=["body.event.id"],
    )
    task: str | None = Field(
        default=None,
        description="Where the task goes: a capability, `domain.specificity` or `@agent`. "
        "Default: this agent.",
        examples=["review.pull_request"],
    )
    content: Expression | None = Field(
        default=None,
        description="An expression that gives the content of the task. Default: the body, or the "
        "name of the file.",
        examples=["body.pull_request"],
    )
    conversation: Expression | None = Field(
        default=None,
        description="An expression that gives the conversation of the task. Default: a new one.",
        examples=["body.event.thread_ts"],
    )
    priority: Priority = Field(
        default=5, description="The priority of the task, 0 to 9.", examples=[7]
    )
    answer: Literal["accepted", "result", "until"] = Field(
        default="accepted",
        description="What the webhook answers: `accepted` with the id of the task, when it is "
        "stored; the `result`; or the fact that `until` names.",
        examples=["result"],
    )
    until: FactPattern | None = Field(
        default=None,
        description="The fact that ends the work, if that is not the result of the task. It is "
        "what `answer: until` and `callback` send.",
        examples=["event.answer.ready"],
    )
    timeout: Annotated[Duration, Field(le=LONGEST_WAIT)] = Field(
        default=30.0,
        description="How long a request waits for its answer, at most 10 minutes. Then it gets "
        "the id of the task, which goes on.",
        examples=["60s"],
    )
    callback: Annotated[
        Callback | None,
        BeforeValidator(as_callback, json_schema_input_type=str | Callback | None),
    ] = Field(
        default=None,
        description="Where the result is posted when it is there.",
        examples=["body.response_url"],
    )

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def name(self) -> str:
        """What it listens to: the name of the webhook, the subject, or the pattern of files."""
        return str(getattr(self, self.kind))

    @property
    def is_unsigned(self) -> bool:
        """Whether anybody can start the task over HTTP."""
        return self.verify is not None and self.verify.kind == "none"

    @property
    def names(self) -> tuple[str, ...]:
        """The names that its expressions can use."""
        return NAMES[self.kind]

    @field_validator("nats")
    @classmethod
    def _is_foreign_subject(cls, subject: str | None) -> str | None:
        if subject is None:
            return None
        if not _SUBJECT.fullmatch(subject):
            hint = "for example orders.created or orders.*; the first part has no wildcard"
            raise ValueError("must be a subject of NATS", hint)
        if not is_foreign(subject):
            own = ", ".join(f"{root}." for root in OWN_ROOTS)
            hint = f"agentd has {own} and the server has $; for facts of agents use `subscribe`"
            raise ValueError(f"is a subject of agentd or of the server: `{subject[:80]}`", hint)
        return subject

    @field_validator("files")
    @classmethod
    def _folder_and_pattern(cls, files: str | None) -> str | None:
        if files is None:
            return None
        folder, _, pattern = files.rpartition("/")
        if not folder or not pattern or _MAGIC.search(folder) or "**" in pattern:
            hint = "for example inbox/* or inbox/*.pdf; only the last part may have wildcards"
            raise ValueError("must be a folder and a pattern for the names in it", hint)
        if ".." in folder.split("/") or "\\" in files or "\0" in files:
            raise ValueError("must not have .. or \\ in it", "")
        return files

    @field_validator("task")
    @classmethod
    def _is_target(cls, task: str | None) -> str | None:
        if task is not None and not _TARGET.fullmatch(task):
            hint = "write a capability (review), a topic (review.pull_request) or @agent"
            raise ValueError("is no target of a task", hint)
        return task

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(KINDS)}", "")
        if given == ["webhook"]:
            return self._secured()
        for field in ("verify", "public", "answer", "timeout"):
            if field in self.model_fields_set:
                hint = "only a request over HTTP has one"
                raise ValueError(f"has no effect with `{given[0]}`", hint, field)
        return self

    def _secured(self) -> Self:
        if self.verify is None:
            hint = "name the secret, for example {github: ${SECRET}}; `none` accepts everyone"
            raise ValueError("needs `verify`: else everyone could start the task", hint)
        if self.is_unsigned and self.public:
            hint = "let `verify` check who sends; or leave it out, and make a key: agentd keys add"
            raise ValueError("would let everyone start the task", hint, "public")
        if self.is_unsigned and self.callback and not self.callback.is_fixed:
            problem = "takes the URL from a request that nobody has signed"
            hint = "anyone could have results sent anywhere: write the URL here, or sign requests"
            raise ValueError(problem, hint, "callback")
        return self

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.answer == "until" and self.until is None:
            raise ValueError("needs `until`, the fact to wait for", "", "answer")
        if self.until and self.answer != "until" and not self.callback:
            hint = "write `answer: until`, or give a `callback`"
            raise ValueError("has no effect", hint, "until")
        if self.until and self.answer == "result":
            raise ValueError("cannot wait for the result and for `until`", "", "answer")
        return self
