"""Whether a request comes from its sender: signatures over the raw body, and tokens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

from agentd.doors.refusal import Refusal
from agentd.manifest.triggers.verify import Hmac, Verify

_TIME = re.compile(r"[0-9]{1,12}")
# A header of Stripe may have the signatures of several secrets, while one replaces another.
_MOST_SIGNATURES = 20


def check(verify: Verify, headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """Returns if the request is the sender's.

    Args:
        headers: by their names in lower case.
        body: the bytes as they arrived. A parsed and rewritten body has another signature.
        now: the time here, in seconds since the epoch.

    Raises:
        Refusal: 401; the text says what is missing or wrong, and nothing of the secret.
    """
    match verify.kind:
        case "github":
            _check_hmac(_of_github(verify), headers, body)
        case "hmac" if verify.hmac:
            _check_hmac(verify.hmac, headers, body)
        case "slack":
            _check_slack(verify, headers, body, now)
        case "stripe":
            _check_stripe(verify, headers, body, now)
        case "bearer":
            _check_bearer(verify.bearer or (), headers)
        case _:
            return


def _of_github(verify: Verify) -> Hmac:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"""
    secrets = verify.github or ()
    return Hmac(secret=secrets, header="X-Hub-Signature-256", prefix="sha256=")


def _check_hmac(form: Hmac, headers: Mapping[str, str], body: bytes) -> None:
    given = _header(headers, form.header)
    if not given.startswith(form.prefix):
        raise _unsigned(f"the header {form.header} must begin with {form.prefix!r}")
    signature = _decoded(given.removeprefix(form.prefix), form.encoding)
    _compare(form.header, [signature], form.secret, body, form.algorithm)


def _check_slack(verify: Verify, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack"""
    sent = _header(headers, "X-Slack-Request-Timestamp")
    given = _header(headers, "X-Slack-Signature")
    _check_time("X-Slack-Request-Timestamp", sent, now, verify.tolerance)
    signature = _decoded(given.removeprefix("v0="), "hex") if given.startswith("v0=") else b""
    signed = b"v0:%s:%s" % (sent.encode(), body)
    _compare("X-Slack-Signature", [signature], verify.slack or (), signed)


def _check_stripe(verify: Verify, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """https://docs.stripe.com/webhooks/signature"""
    given = _header(headers, "Stripe-Signature")
    pairs = [part.strip().partition("=") for part in given.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1:
        raise _unsigned("the header Stripe-Signature must have one time, `t=`")
    _check_time("Stripe-Signature", times[0], now, verify.tolerance)
    # `v0` is no signature: Stripe sends it with test events only, and it must not count.
    signatures = [_decoded(value, "hex") for name, _, value in pairs if name == "v1"]
    signed = b"%s.%s" % (times[0].encode(), body)
    _compare("Stripe-Signature", signatures[:_MOST_SIGNATURES], verify.stripe or (), signed)


def _check_bearer(tokens: Iterable[str], headers: Mapping[str, str]) -> None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given:
        raise _unsigned("the header `Authorization: Bearer …` is missing")
    # As bytes: `compare_digest` takes no text outside of ASCII.
    if not _any_equal([given.strip().encode()], [token.encode() for token in tokens]):
        raise _unsigned("the token in `Authorization` is not the one of this webhook")


def _check_time(name: str, sent: str, now: float, tolerance: float) -> None:
    if not _TIME.fullmatch(sent):
        raise _unsigned(f"the header {name} must have the time in seconds")
    # Into the future too: a request that was caught must not be of use later.
    if abs(now - int(sent)) > tolerance:
        raise _unsigned(
            f"the time in {name} is more than {tolerance:g} s from the time here: the request is "
            "old, or a clock is wrong"
        )


def _compare(
    name: str,
    given: Iterable[bytes],
    secrets: Iterable[str],
    signed: bytes,
    algorithm: str = "sha256",
) -> None:
    digest = getattr(hashlib, algorithm)
    right = [hmac.new(secret.encode(), signed, digest).digest() for secret in secrets]
    if not _any_equal(given, right):
        raise _unsigned(f"the signature in {name} is not that of this body and secret")


def _any_equal(given: Iterable[bytes], right: Iterable[bytes]) -> bool:
    """Compares all with all, each in constant time: how long it takes says nothing of a secret."""
    accepted = [*right]
    return sum(hmac.compare_digest(one, other) for one in given for other in accepted) > 0


def _decoded(text: str, encoding: str) -> bytes:
    """The bytes of a written signature; none, which no signature is, if it cannot be read."""
    try:
        if encoding == "hex":
            return binascii.unhexlify(text.strip())
        return base64.b64decode(text.strip(), validate=True)
    except ValueError:
        return b""


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower())
    if not value:
        raise _unsigned(f"the header {name} is missing: it has the signature")
    return value


def _unsigned(text: str) -> Refusal:
    return Refusal(401, "not_verified", text)
