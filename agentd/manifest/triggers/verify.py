"""`verify`: how a request to a webhook proves who sent it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from agentd.manifest.quantities import Duration, as_list, not_empty
from agentd.manifest.strict_model import StrictModel

_SIGNERS = ("github", "slack", "stripe", "hmac", "bearer")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")


def _secrets(values: tuple[str, ...]) -> tuple[str, ...]:
    for index, secret in enumerate(values):
        if not secret.strip():
            raise ValueError("is an empty secret", "set the variable that it comes from", index)
    return values


Secrets = Annotated[
    tuple[str, ...],
    AfterValidator(_secrets),
    AfterValidator(not_empty),
    BeforeValidator(as_list, json_schema_input_type=str | list[str]),
]


class Hmac(StrictModel):
    """A signature over the body, made with a secret that both sides know."""

    secret: Secrets = Field(
        description="The secret, or a list of them while one replaces another.",
        examples=["${SECRET}"],
    )
    header: str = Field(
        default="X-Signature",
        description="The header that has the signature.",
        examples=["X-Hub-Signature"],
    )
    algorithm: Literal["sha256", "sha512", "sha1"] = Field(
        default="sha256", description="The hash function of the HMAC.", examples=["sha512"]
    )
    encoding: Literal["hex", "base64"] = Field(
        default="hex", description="How the signature is written.", examples=["base64"]
    )
    prefix: str = Field(
        default="",
        max_length=40,
        description="The text before the signature in the header.",
        examples=["sha256="],
    )

    @field_validator("header")
    @classmethod
    def _is_header(cls, header: str) -> str:
        if not _HEADER.fullmatch(header):
            raise ValueError("must be the name of a header", "for example X-Signature")
        return header


class Verify(StrictModel):
    """How a request proves that it comes from the sender that you know: exactly one way."""

    github: Secrets | None = Field(
        default=None,
        description="The secret of a GitHub webhook. The signature is in `X-Hub-Signature-256`.",
        examples=["${GITHUB_SECRET}"],
    )
    slack: Secrets | None = Field(
        default=None,
        description="The signing secret of a Slack app. The signature is in `X-Slack-Signature`.",
        examples=["${SLACK_SIGNING_SECRET}"],
    )
    stripe: Secrets | None = Field(
        default=None,
        description="The secret of a Stripe endpoint. The signature is in `Stripe-Signature`.",
        examples=["${STRIPE_SECRET}"],
    )
    hmac: Hmac | None = Field(
        default=None,
        description="A signature of another sender.",
        examples=[{"secret": "${SECRET}", "header": "X-Signature"}],
    )
    bearer: Secrets | None = Field(
        default=None,
        description="A token that the sender puts into `Authorization: Bearer …`.",
        examples=["${TOKEN}"],
    )
    tolerance: Duration = Field(
        default=300.0,
        description="How far the time in a signature of Slack or Stripe may be from the time here.",
        examples=["5m"],
    )

    @property
    def kind(self) -> str:
        """The one way: `github`, `slack`, `stripe`, `hmac` or `bearer`; `none` for no proof."""
        return next((each for each in _SIGNERS if getattr(self, each) is not None), "none")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self is _UNSIGNED:
            return self
        if sum(getattr(self, each) is not None for each in _SIGNERS) != 1:
            raise ValueError(f"needs exactly one of {', '.join(_SIGNERS)}", "")
        if "tolerance" in self.model_fields_set and self.kind not in ("slack", "stripe"):
            hint = "only Slack and Stripe sign the time"
            raise ValueError(f"has no effect with `{self.kind}`", hint, "tolerance")
        return self


# What `none` stands for. No mapping of a manifest can say that by mistake.
_UNSIGNED = Verify.model_construct()


def as_verify(value: Any) -> Any:
    """`none` as a way without any proof; a mapping stays as it is."""
    if value == "none":
        return _UNSIGNED
    if isinstance(value, str):
        hint = "for example {github: ${SECRET}}"
        raise ValueError("must be a mapping with a secret, or `none`", hint)
    return value
