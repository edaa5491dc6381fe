"""`http:` tools before anything is sent: paths, addresses, templates, mistakes in a file."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.catalog.catalog import Catalog, load
from agentd.manifest.tools import ToolEntry
from agentd.manifest.yaml.nodes import environment_values
from agentd.templates.requests.json_path import NoMatch, parse_path
from agentd.templates.requests.request import BadRequest, HttpRequest
from agentd.templates.requests.request_template import (
    InvalidRequest,
    RequestTemplate,
    compile_request,
)
from agentd.tools.secrets import Secrets
from agentd.tools.web.addresses import Reach, is_public, literal
from agentd.tools.web.encodings import Decoder, Undecodable

MIB = 1024 * 1024


def template(url: str = "https://api.test/x", **fields: Any) -> RequestTemplate:
    parameters = fields.pop("parameters", None)
    http = {"url": url, **fields}
    return compile_request(ToolEntry.model_validate({"http": http, "parameters": parameters}))


def made(given: RequestTemplate, **arguments: Any) -> HttpRequest:
    return given.request(arguments, "key-1")


def mistakes(url: str = "https://api.test/x", **fields: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        template(url, **fields)
    return [mistake.text for mistake in caught.value.mistakes]


# --- the path of `pick`

ANSWER: Mapping[str, Any] = {
    "data": {"items": [{"temp": 3, "name": "a"}, {"name": "b"}], "odd key.": [1]},
    "0": "zero",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", ANSWER),
        ("$", ANSWER),
        ("data.items[0].temp", 3),
        ("$.data.items[-1].name", "b"),
        ("data.items.1.name", "b"),
        ("data.items[*].name", ["a", "b"]),
        ("data.items[*].temp", [3]),
        ("data.items.*", ANSWER["data"]["items"]),
        ('data["odd key."][0]', 1),
        ("data['odd key.']", [1]),
        ("0", "zero"),
    ],
)
def test_a_path_picks_what_it_says(path: str, value: Any) -> None:
    assert parse_path(path).pick(ANSWER) == value


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("data.itms", "`data` has no 'itms'; it has 'items', 'odd key.'"),
        ("data.items[5]", "`data.items` has 2 items, so none at [5]"),
        ("data.items.name", "`data.items` is a list, not an object with 'name'"),
        ("data.items[0].temp.x", "`data.items[0].temp` is a number, without 'x'"),
        ("data.items[*].nothing", "`data.items[*]` has no 'nothing'"),
        ("data.items[0].name[*]", "`data.items[0].name` is a text, not a list"),
        ("nothing", "the answer has no 'nothing'; it has 'data', '0'"),
    ],
)
def test_a_path_that_leads_nowhere_says_how_far_it_goes(path: str, words: str) -> None:
    with pytest.raises(NoMatch) as caught:
        parse_path(path).pick(ANSWER)

    assert words in str(caught.value)


@pytest.mark.parametrize("path", ["a..b", "a[", "a[x]", "a b", "a['b]", "[1.5]", "a.[0", "$$"])
def test_what_is_no_path_is_told_at_load(path: str) -> None:
    with pytest.raises(ValueError, match="is no path from its character"):
        parse_path(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.data())
def test_every_part_of_a_value_has_a_path(value: Any, data: st.DataObject) -> None:
    path, part = "", value
    while isinstance(part, dict | list) and part and data.draw(st.booleans()):
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        key: Any = data.draw(st.sampled_from(keys))
        quoted = key if isinstance(key, int) else '"' + _escaped(key) + '"'
        path, part = f"{path}[{quoted}]", part[key]

    assert parse_path(path).pick(value) == part


def _escaped(key: str) -> str:
    return key.replace("\\", "\\\\").replace('"', '\\"')


@given(st.text(), json_values)
def test_any_text_is_a_path_or_no_path(text: str, value: Any) -> None:
    try:
        parse_path(text).pick(value)
    except (ValueError, NoMatch):
        return


# --- requests made of arguments

ARGUMENTS = st.text() | st.sampled_from(
    ["..", ".", "", "../admin", "a/b", "?x=1", "#f", "&y=2", "@evil.test", "%2e%2e", "%2F..",
     "\\..", "//evil.test", "é", "a b", "\r\nX: 1", "\ud800", "..;/", "%252e%252e/", "http://evil.test"]
)  # fmt: skip


@given(ARGUMENTS, ARGUMENTS)
def test_a_value_in_a_url_stays_one_value(city: str, day: str) -> None:
    weather = template("https://api.test/v1/{{ city }}/days?day={{ day }}&units=metric")
    try:
        url = urlsplit(made(weather, city=city, day=day).url)
    except BadRequest:
        return

    assert (url.scheme, url.netloc, url.fragment) == ("https", "api.test", "")
    segments = url.path.split("/")
    assert segments == ["", "v1", segments[2], "days"]
    assert unquote(segments[2]) == city
    assert not {"..", ".", ""} & set(unquote(segments[2]).replace("\\", "/").split("/")) - {""}
    pairs = parse_qsl(url.query, keep_blank_values=True, strict_parsing=True)
    assert pairs == [("day", day), ("units", "metric")]


@given(ARGUMENTS)
def test_a_header_stays_one_header(value: str) -> None:
    try:
        sent = made(template(headers={"X-City": "in {{ city }}"}), city=value).headers["X-City"]
    except BadRequest:
        return

    assert sent == f"in {value}".strip()
    assert not {"\r", "\n", "\0"} & set(sent)


@pytest.mark.parametrize("value", ["..", ".", "", "../x", "a/../b", "%2e%2e", "a\\..\\b"])
def test_a_value_cannot_climb_out_of_its_path(value: str) -> None:
    with pytest.raises(BadRequest, match="`city` stands in the path"):
        made(template("https://api.test/users/{{ city }}", method="DELETE"), city=value)


@pytest.mark.parametrize(
    "url",
    [
        "https://{{ host }}/x",
        "https://{{ host }}",
        "https://api.{{ host }}/x",
        "https://api.test:{{ port }}/x",
        "https://api.test{{ rest }}",
        "https://{{ user }}@api.test/x",
        "{{ url }}",
        "{{ scheme }}://api.test/",
    ],
)
def test_no_argument_chooses_the_host(url: str) -> None:
    assert mistakes(url) == ["`url` takes its host from an argument"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://api.test/", "is no http or https address"),
        ("api.test/x", "is no http or https address"),
        ("https://user:pass@api.test/", "has a user and password"),
        ("https://api.test:99999/", "has a host that is none"),
        ("https://[::1/", "has a host that is none"),
        ("https://api.test/{{ city", "has `{{` without its `}}`"),
        ("https://api.test/{% if x %}a{% endif %}", "has a `{%` tag"),
        ("https://api.test/{{ city | nonsense }}", "No filter named 'nonsense'"),
    ],
)
def test_a_url_that_is_none_is_told_at_load(url: str, words: str) -> None:
    assert words in mistakes(url)[0]


def test_a_url_is_sent_as_written() -> None:
    url = "HTTPS://Müsli.test:8443/a%20b/c d/ü?q=1&r=a+b#gone"

    assert made(template(url)).url == (
        "https://xn--msli-0ra.test:8443/a%20b/c%20d/%C3%BC?q=1&r=a+b"
    )


def test_the_schema_is_what_the_templates_name() -> None:
    given = template(
        "https://api.test/{{ city }}?d={{ day }}",
        method="POST",
        headers={"X-Key": "{{ idempotency_key }}", "X-Lang": "{{ lang | upper }}"},
        body={"note": "about {{ city }}"},
    )

    assert given.schema == {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("city", "day", "lang")},
        "required": ["city", "day", "lang"],
        "additionalProperties": False,
    }
    assert given.takes_key
    sent = made(given, city="Bonn", day="1", lang="de")
    assert sent.headers["X-Key"] == "key-1"
    assert sent.headers["X-Lang"] == "DE"


PARAMETERS = {
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "default": 3},
        "tags": {"type": "array", "items": {"type": "string"}},
        "units": {"enum": ["metric", "imperial"]},
    },
    "required": ["city"],
}


def test_arguments_keep_their_types_and_what_is_not_given_is_left_out() -> None:
    given = template(
        "https://api.test/x?u={{ units }}&v=1",
        method="POST",
        parameters=PARAMETERS,
        query={"tag": "{{ tags }}", "unit": "{{ units }}"},
        headers={"X-Units": "{{ units }}"},
        body={"days": "{{ days }}", "tags": "{{ tags }}", "all": [1, "{{ units }}", "{{ city }}"]},
    )

    little = made(given, city="Bonn")
    assert little.url == "https://api.test/x?v=1"
    assert little.headers == {"Content-Type": "application/json"}
    assert json.loads(little.body or b"") == {"days": 3, "all": [1, "Bonn"]}
    much = made(given, city="Bonn", days=5, tags=["a&b", "c"], units="metric")
    assert much.url == "https://api.test/x?u=metric&v=1&tag=a%26b&tag=c&unit=metric"
    assert much.headers["X-Units"] == "metric"
    assert json.loads(much.body or b"") == {
        "days": 5,
        "tags": ["a&b", "c"],
        "all": [1, "metric", "Bonn"],
    }


@pytest.mark.parametrize(
    ("headers", "body", "sent", "kind"),
    [
        ({}, {"a": "{{ a }}"}, b'{"a": "x&y"}', "application/json"),
        ({}, "say {{ a }}", b"say x&y", "text/plain; charset=utf-8"),
        ({}, ["{{ a }}"], b'["x&y"]', "application/json"),
        ({"content-type": "application/xml"}, "<a>{{ a }}</a>", b"<a>x&y</a>", "application/xml"),
        (
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"a": "{{ a }}", "b": [1, 2]},
            b"a=x%26y&b=1&b=2",
            "application/x-www-form-urlencoded",
        ),
    ],
)
def test_a_body_is_written_as_its_type_says(
    headers: dict[str, str], body: Any, sent: bytes, kind: str
) -> None:
    request = made(template(method="PUT", headers=headers, body=body), a="x&y")

    assert request.body == sent
    assert [v for name, v in request.headers.items() if name.lower() == "content-type"] == [kind]


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = mistakes(
        "https://{{ host }}/",
        headers={"Host": "x", "bad name": "y", "Content-Length": "3", "X-A": "{{ tmp }}"},
        method="POST",
        body={"a": ["{{ ("]},
        parameters={"properties": {"temp": {}, "idempotency_key": {}}},
    )

    assert [text.partition(" ")[0] for text in found] == [
        "`url`", "`headers.Host`", "`headers.bad", "`headers.Content-Length`",
        "`headers.X-A`", "`body.a.0`", "`parameters`",
    ]  # fmt: skip


def test_a_get_has_no_body() -> None:
    assert mistakes(body={"a": 1}) == ["`body` goes with another method"]


@pytest.mark.parametrize(
    "arguments",
    [{"x": "a" * 2_000_000}, {"x": float("nan")}, {"x": "\ud800"}],
    ids=["too large", "no JSON", "no character"],
)
def test_arguments_that_cannot_be_sent_are_the_models_mistake(arguments: dict[str, Any]) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for headers in ({}, form):
        given = template(method="POST", body={"x": "{{ x }}"}, parameters={"properties": {"x": {}}})
        text = template(method="POST", headers=headers, body="<{{ x }}>")
        for each in (given, text):
            try:
                body = made(each, **arguments).body
            except BadRequest:
                continue
            assert body is not None


# --- addresses

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101", "::ffff:8.8.8.8"]
NOT_PUBLIC = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.1.2.3 169.254.169.254 172.16.0.1 192.0.0.1
    192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
    239.255.255.250 240.0.0.1 255.255.255.255 100.100.100.200 168.63.129.16
    :: ::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1
    64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:101:101:: 3fff::1
    5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 4000::1
"""


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_within_reach(address: str) -> None:
    assert is_public(ip_address(address))
    assert Reach().allows(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_what_is_not_public_is_not(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Reach().allows(ip_address(address))
    assert not Reach.of(["wiki.internal", "10.99.0.0/16"]).allows(ip_address(address), "else.test")


@given(st.ip_addresses())
def test_whatever_python_calls_private_is_out_of_reach(address: Any) -> None:
    if is_public(address):
        assert address.is_global
        private = ("private", "loopback", "multicast", "link_local", "unspecified")
        assert not any(getattr(address, f"is_{kind}") for kind in private)


def test_a_manifest_opens_what_it_names() -> None:
    some = Reach.of(["10.0.0.0/8", "Wiki.Internal", "fd12::/16"])
    assert some.allows(ip_address("10.1.2.3"))
    assert some.allows(ip_address("::ffff:10.1.2.3"))
    assert some.allows(ip_address("192.168.0.9"), "wiki.internal.")
    assert not some.allows(ip_address("192.168.0.9"), "evil.test")
    everything = Reach.of(True)
    assert everything.allows(ip_address("127.0.0.1"))
    assert everything.allows(ip_address("192.168.0.9"))
    for metadata in ("169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "0.0.0.0"):
        assert not everything.allows(ip_address(metadata))
    assert Reach.of(["169.254.169.254"]).allows(ip_address("169.254.169.254"))


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "1.2.3.4.", "::g"]
)
def test_odd_ways_to_write_an_address_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|not permitted"):
        literal(host)


# --- compressed answers


def test_a_bomb_is_unpacked_only_as_far_as_it_is_read() -> None:
    bomb = gzip.compress(bytes(64 * MIB))
    decoder = Decoder("gzip", 1000)
    decoder.feed(bomb)

    assert decoder.full
    assert decoder.taken() == bytes(1000)


@given(st.binary(), st.sampled_from(["gzip", "x-gzip", "deflate", "raw", ""]), st.integers(1, 40))
def test_an_answer_is_the_same_however_it_is_packed(data: bytes, coding: str, step: int) -> None:
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = {
        "": data,
        "gzip": gzip.compress(data[:7]) + gzip.compress(data[7:]),
        "x-gzip": gzip.compress(data),
        "deflate": zlib.compress(data),
        "raw": raw.compress(data) + raw.flush(),
    }[coding]
    decoder = Decoder(coding.replace("raw", "deflate"), MIB)
    for start in range(0, len(packed), step):
        decoder.feed(packed[start : start + step])

    assert decoder.finished() == data


@given(st.binary(min_size=1), st.sampled_from(["gzip", "deflate"]))
def test_garbage_is_told_as_such(data: bytes, coding: str) -> None:
    decoder = Decoder(coding, MIB)
    try:
        decoder.feed(data)
        decoder.finished()
    except Undecodable:
        return


def test_a_broken_or_unknown_coding_is_told() -> None:
    cut = Decoder("gzip", MIB)
    cut.feed(gzip.compress(b"x" * 5000)[:-9])
    with pytest.raises(Undecodable, match="is not complete"):
        cut.finished()
    with pytest.raises(Undecodable, match="'br', which was not asked for"):
        Decoder("br", MIB)


# --- secrets


def test_a_secret_is_hidden_however_it_was_sent() -> None:
    secrets = Secrets(["s3cret/+ö", "short"])

    assert secrets.hide("a s3cret/+ö b") == "a [secret] b"
    assert secrets.hide("s3cret%2F%2B%C3%B6") == "[secret]"
    assert secrets.hide(json.dumps("s3cret/+ö")) == '"[secret]"'
    assert secrets.hide("a short text") == "a short text"
    assert secrets.hide_in({"a": ["s3cret/+ö", 1]}) == {"a": ["[secret]", 1]}


# --- the files


def read(folder: Path, manifest: str, **environ: str) -> Catalog:
    (folder / "manifests").mkdir()
    (folder / "manifests" / "a.yaml").write_text(
        f"capabilities: [a]\ninstructions: Hi.\n{manifest}"
    )
    return load(folder / "manifests", environ=environ)


@pytest.mark.parametrize(
    ("http", "place", "words"),
    [
        ("{url: 'https://{{ host }}/x'}", "4:17", "`url` takes its host from an argument"),
        ("{url: https://a.test, pick: 'a..b'}", "4:39", "`pick` is no path"),
        ("{url: https://a.test, headers: {Host: b}}", "4:49", "is set by agentd itself"),
        ("{url: https://a.test, allow_private: [10.0.0.1/8]}", "4:33", "hosts and networks"),
        ("{url: https://a.test, heders: {}}", "4:33", "unknown field `heders`; did you mean"),
    ],
)
def test_a_mistake_has_its_place(tmp_path: Path, http: str, place: str, words: str) -> None:
    catalog = read(tmp_path, f"tools:\n  - http: {http}\n")
    found = [problem.render() for problem in catalog.problems if problem.severity == "error"]

    assert len(found) == 1, found
    assert words in found[0]
    assert f"a.yaml:{place}: " in found[0]


def test_a_file_remembers_what_the_environment_gave(tmp_path: Path) -> None:
    text = (
        "tools: [{http: {url: 'https://a.test/${NAME:-x}?k=${KEY}', headers: {A: 'B ${TOKEN}'}}}]\n"
    )
    catalog = read(tmp_path, text, KEY="key-123456", TOKEN="token-123456")

    assert set(environment_values(catalog.agents["a"].root)) == {"key-123456", "token-123456"}
