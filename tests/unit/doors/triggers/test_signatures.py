"""Signatures of senders: the published examples, forgeries, replays, and rotated secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from agentd.doors.refusal import Refusal
from agentd.doors.triggers.signatures import check
from agentd.manifest.triggers.verify import Verify

NOW = 1_531_420_618.0
BODY = b'{"id": "evt_1"}'

# https://docs.slack.dev/authentication/verifying-requests-from-slack
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&"
    b"channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&"
    b"command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2F"
    b"T1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
    b"398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK = {
    "x-slack-request-timestamp": "1531420618",
    "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
}
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"

# https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
GITHUB_SECRET, GITHUB_BODY = "It's a Secret to Everybody", b"Hello, World!"
GITHUB = {
    "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
}


def verify(**fields: Any) -> Verify:
    return Verify.model_validate(fields)


def refusal(how: Verify, headers: dict[str, str], body: bytes, *, now: float = NOW) -> str:
    with pytest.raises(Refusal) as caught:
        check(how, headers, body, now=now)
    assert caught.value.status == 401
    return str(caught.value)


def signed(secret: str, body: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret.encode(), body, getattr(hashlib, algorithm)).digest()


def stripe(secret: str, body: bytes = BODY, *, more: str = "") -> dict[str, str]:
    signature = signed(secret, b"%d.%s" % (int(NOW), body)).hex()
    return {"stripe-signature": f"t={int(NOW)},v1={signature}{more}"}


def test_the_examples_of_github_and_slack_are_accepted() -> None:
    check(verify(github=GITHUB_SECRET), GITHUB, GITHUB_BODY, now=NOW)
    check(verify(slack=SLACK_SECRET), SLACK, SLACK_BODY, now=NOW)


def test_a_signature_of_stripe_is_accepted() -> None:
    check(verify(stripe="whsec_1"), stripe("whsec_1"), BODY, now=NOW)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_signature_of_another_sender_is_accepted(algorithm: str, encoding: str) -> None:
    how = {"secret": "s", "algorithm": algorithm, "encoding": encoding, "prefix": "sig="}
    digest = signed("s", BODY, algorithm)
    text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()

    check(verify(hmac=how), {"x-signature": f"sig={text}"}, BODY, now=NOW)
    refusal(verify(hmac=how), {"x-signature": text}, BODY)
    refusal(verify(hmac=how), {"x-signature": f"sig={text}"}, BODY + b" ")


def test_a_token_is_accepted_whatever_the_case_of_its_scheme() -> None:
    check(verify(bearer="t0ken"), {"authorization": "bearer t0ken"}, BODY, now=NOW)


@pytest.mark.parametrize("given", ["", "t0ken", "Basic t0ken", "Bearer", "Bearer t0ke", "Bearer é"])
def test_another_token_is_refused(given: str) -> None:
    text = refusal(verify(bearer="t0ken"), {"authorization": given}, BODY)

    assert "t0ken" not in text


@pytest.mark.parametrize(
    ("how", "headers", "body"),
    [
        (verify(github=GITHUB_SECRET), GITHUB, GITHUB_BODY),
        (verify(slack=SLACK_SECRET), SLACK, SLACK_BODY),
        (verify(stripe="whsec_1"), stripe("whsec_1"), BODY),
    ],
    ids=["github", "slack", "stripe"],
)
class TestForgeries:
    def test_another_body_is_refused(
        self, how: Verify, headers: dict[str, str], body: bytes
    ) -> None:
        assert "is not that of this body" in refusal(how, headers, body + b" ")

    def test_a_request_without_signature_is_refused(
        self, how: Verify, headers: dict[str, str], body: bytes
    ) -> None:
        assert "is missing" in refusal(how, {}, body)
        assert "is missing" in refusal(how, dict.fromkeys(headers, ""), body)

    @pytest.mark.parametrize(
        "odd", ["sha256=", "v0=", "t=1531420618", "t=1531420618,v1=", "zz", "sha256=é", "v0=é"]
    )
    def test_an_odd_signature_is_refused(
        self, how: Verify, headers: dict[str, str], body: bytes, odd: str
    ) -> None:
        name = next(name for name in headers if "signature" in name)
        refusal(how, {**headers, name: odd}, body)

    def test_a_header_that_occurs_twice_is_refused(
        self, how: Verify, headers: dict[str, str], body: bytes
    ) -> None:
        name = next(name for name in headers if "signature" in name)
        refusal(how, {**headers, name: f"{headers[name]}, {headers[name]}"}, body)


@pytest.mark.parametrize("late", [-301, 301, 1e9])
def test_a_replay_outside_of_the_time_window_is_refused(late: float) -> None:
    text = refusal(verify(slack=SLACK_SECRET), SLACK, SLACK_BODY, now=NOW + late)

    assert "the request is old" in text
    refusal(verify(stripe="whsec_1"), stripe("whsec_1"), BODY, now=NOW + late)


@pytest.mark.parametrize("late", [-300, 0, 300])
def test_a_request_inside_of_the_time_window_is_accepted(late: float) -> None:
    check(verify(slack=SLACK_SECRET), SLACK, SLACK_BODY, now=NOW + late)
    check(verify(stripe="whsec_1"), stripe("whsec_1"), BODY, now=NOW + late)


def test_the_window_is_as_wide_as_the_manifest_says() -> None:
    check(verify(stripe="s", tolerance="1h"), stripe("s"), BODY, now=NOW + 3599)
    refusal(verify(stripe="s", tolerance="1s"), stripe("s"), BODY, now=NOW + 2)


@pytest.mark.parametrize("time", ["", "1e9", "-1", "9" * 5000, "١٢٣", "1531420618 "])
def test_a_time_that_is_no_number_of_seconds_is_refused(time: str) -> None:
    refusal(verify(slack=SLACK_SECRET), {**SLACK, "x-slack-request-timestamp": time}, SLACK_BODY)


def test_a_new_time_does_not_make_an_old_signature_valid() -> None:
    late = {**SLACK, "x-slack-request-timestamp": str(int(NOW + 400))}
    text = refusal(verify(slack=SLACK_SECRET), late, SLACK_BODY, now=NOW + 400)

    assert "is not that of this body" in text


def test_stripe_may_send_a_signature_for_each_of_two_secrets() -> None:
    other = signed("other", b"%d.%s" % (int(NOW), BODY)).hex()

    check(verify(stripe="whsec_1"), stripe("whsec_1", more=f",v1={other}"), BODY, now=NOW)


def test_the_test_signature_of_stripe_does_not_count() -> None:
    header = stripe("s")["stripe-signature"].replace("v1=", "v0=")

    refusal(verify(stripe="s"), {"stripe-signature": header}, BODY)


def test_a_secret_can_be_replaced_without_a_gap() -> None:
    check(verify(github=["new", GITHUB_SECRET]), GITHUB, GITHUB_BODY, now=NOW)
    refusal(verify(github=["new"]), GITHUB, GITHUB_BODY)


def test_a_refusal_says_nothing_of_the_secret() -> None:
    right = signed(GITHUB_SECRET, b"x").hex()
    text = refusal(verify(github=GITHUB_SECRET), {"x-hub-signature-256": "sha256=00"}, b"x")

    assert GITHUB_SECRET not in text
    assert right[:8] not in text
