"""Path, query and body become the request message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yagrpc import _pb, methods
from yagrpc.method import HttpRule, UnaryMethod
from yagrpc.rest import BadRequest, Found, read_message, read_request

BODY = "*"
ALL = HttpRule("POST", "/x", "*")
QUERY = HttpRule("GET", "/x")

MANY_NAMES = b"{%s}" % b",".join(b'"k%d":0' % n for n in (*range(200_000), 199_999))
"""A body whose size is allowed; what compared each name with all others would need an hour for it."""

Fault = _pb.control_pb2.AddFaultsRequest


def method(kind: str) -> UnaryMethod[Any, Any]:
    """A method whose request is one of the control service's messages, which have fields of many kinds."""
    module = "yagrpc_proto.yagrpc.emulator.v1.control_pb2"
    return UnaryMethod("/a.B/C", request=f"{module}:{kind}", response=f"{module}:{kind}")


def read(kind: str, rule: HttpRule, *, query: str = "", body: bytes = b"", fields: dict[str, str] | None = None) -> Any:
    return read_request(Found(method(kind), rule, fields or {}), query=query, body=body)


def completion(body: bytes) -> Any:
    return read_request(Found(methods.TextGenerationAsyncService.Completion, ALL, {}), query="", body=body)


def test_the_guides_body_is_read() -> None:
    request = completion(
        b'{"modelUri": "gpt://b1g/yandexgpt", "completionOptions": {"stream": false, "temperature": 0.1, '
        b'"maxTokens": "2000", "reasoningOptions": {"mode": "DISABLED"}}, '
        b'"messages": [{"role": "user", "text": "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82"}]}'
    )
    assert request.completion_options.max_tokens.value == 2000
    assert request.messages[0].text == "привет"


@pytest.mark.parametrize("name", ["modelUri", "model_uri"])
def test_names_are_in_both_forms(name: str) -> None:
    assert completion(json.dumps({name: "gpt://a/b"}).encode()).model_uri == "gpt://a/b"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "the body is empty"),
        (b"  \n", "the body is empty"),
        (b"{", "the body is no JSON: Expecting property name"),
        (b"[]", "the body is a list: it takes a JSON object, a CompletionRequest"),
        (b'"text"', "the body is a text"),
        (b"null", "the body is null"),
        (b"1.5", "the body is a number"),
        (b"true", "the body is true or false"),
        (b'{"\\ud800": 5}', "the body does not fit CompletionRequest"),
        (b'{"temperature": NaN}', "the body is no JSON: NaN is no JSON value"),
        (b'{"temperature": -Infinity}', "the body is no JSON: -Infinity is no JSON value"),
        (b'{"modelUri": "a", "modelUri": "b"}', "the body has the field 'modelUri' twice"),
        pytest.param(MANY_NAMES, "the body has the field 'k199999' twice", id="many names"),
        (b'{"model": "a"}', 'no field named "model" at "CompletionRequest"'),
        (b'{"modelUri": 5}', "Failed to parse modelUri field"),
        (b'{"messages": {"role": "user"}}', "messages"),
        (b'{"completionOptions": {"maxTokens": "many"}}', "maxTokens"),
        (b'{"completionOptions": {"maxTokens": 1.5}}', "maxTokens"),
        (b'{"completionOptions": {"maxTokens": 99999999999999999999999}}', "maxTokens"),
        (b'{"completionOptions": {"reasoningOptions": {"mode": "LOUD"}}}', "mode"),
        (b"\xff\xfe{\x00}\x00", "the body is no UTF-8: byte 0 is 0xff"),
        (b"[" * 100_000, "the body is nested too deep"),
        (b'{"a":' * 90_000 + b"1" + b"}" * 90_000, "the body is nested too deep"),
        (b'{"jsonSchema": {"schema": ' + b'{"a":' * 150 + b"1" + b"}" * 150 + b"}}", "too deep"),
        (b'{"completionOptions": {"maxTokens": ' + b"9" * 10_000 + b"}}", "the body is no JSON"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_that_does_not_fit_is_refused_in_one_short_line(body: bytes, text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        completion(body)
    shown = str(refused.value)
    assert text in shown
    assert len(shown) < 250
    assert shown.isprintable()


def test_a_byte_order_mark_is_left_out() -> None:
    assert completion(b'\xef\xbb\xbf{"modelUri": "a"}').model_uri == "a"


def test_a_rule_without_a_body_takes_its_fields_from_the_query() -> None:
    request = read("Fault", QUERY, query="method=a%20b&calls=1&calls=2&delay.seconds=1.5&times=3")
    assert (request.method, list(request.calls), request.delay.seconds, request.times) == ("a b", [1, 2], 1.5, 3)


def test_a_query_takes_bools_bytes_enums_wrappers_and_times() -> None:
    assert read("AdvanceTimeRequest", QUERY, query="frozen=true&to=1970-01-01T00:00:05Z").to.seconds == 5
    assert read("Garbage", QUERY, query="data=AAE%3D").data == b"\x00\x01"
    found = Found(methods.TextGenerationService.Completion, QUERY, {})
    query = (
        "completionOptions.maxTokens=7&completion_options.reasoningOptions.mode=DISABLED&completionOptions.stream=false"
    )
    request: Any = read_request(found, query=query, body=b"")
    options = request.completion_options
    assert (options.max_tokens.value, options.reasoning_options.mode, options.stream) == (7, 1, False)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("nope=1", "the query has 'nope': Fault has no field 'nope'"),
        ("delay.nope=1", "Seconds has no field 'nope'"),
        ("delay=1", "which is a message: name a field of it"),
        ("method.x=1", "'method' of Fault is no message"),
        ("times=1&times=2", "the query has 'times' 2 times: it takes one value"),
        ("loseReply.connection=yes", "it takes true or false"),
        ("times=x", "times"),
        ("a", "the query is not valid"),
        ("method=%ff", "the query is not valid"),
        ("&".join(f"calls={n}" for n in range(2000)), "the query is not valid"),
    ],
)
def test_a_query_that_does_not_fit_is_refused(query: str, text: str) -> None:
    with pytest.raises(BadRequest, match=text.replace("(", "\\(")):
        read("Fault", QUERY, query=query)


def test_a_body_where_none_is_taken_is_refused() -> None:
    with pytest.raises(BadRequest, match="GET /x takes no body"):
        read("Fault", QUERY, body=b"{}")
    with pytest.raises(BadRequest, match="all fields of this method are in the body"):
        read("Fault", ALL, query="times=1", body=b"{}")


def test_a_body_may_be_one_field() -> None:
    rule = HttpRule("POST", "/x", "delay")
    request = read("Fault", rule, query="times=2", body=b'{"seconds": 3}')
    assert (request.delay.seconds, request.times) == (3, 2)
    with pytest.raises(BadRequest, match="that field is in the body"):
        read("Fault", rule, query="delay.seconds=1", body=b'{"seconds": 3}')


def test_the_path_comes_before_the_body() -> None:
    fields = {"method": "of the path", "delay.seconds": "2"}
    request = read("Fault", ALL, body=b'{"method": "of the body", "times": 4}', fields=fields)
    assert (request.method, request.delay.seconds, request.times) == ("of the path", 2, 4)
    with pytest.raises(BadRequest, match="the body has another value"):
        read("Fault", ALL, body=b'{"delay": 5}', fields={"delay.seconds": "2"})


def test_a_whole_message_is_read() -> None:
    assert read_message(Fault, b'{"faults": [{"hang": {}}]}').faults[0].HasField("hang")
    with pytest.raises(BadRequest, match="it takes a JSON object, a AddFaultsRequest"):
        read_message(Fault, b"[]")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["faults", "method", "delay", "seconds", "fail", "details", "@type"]), inner)
    ),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(JSON)
def test_any_json_is_a_message_or_refused(value: object) -> None:
    try:
        message = read_message(Fault, json.dumps(value).encode())
    except BadRequest as error:
        assert str(error)
    else:
        assert isinstance(value, dict)
        assert message.ByteSize() >= 0


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_refused(body: bytes) -> None:
    try:
        read_message(Fault, body)
    except BadRequest as error:
        assert str(error).isprintable()


@given(st.text(max_size=60))
def test_any_query_is_a_message_or_refused(query: str) -> None:
    try:
        read("Fault", QUERY, query=query)
    except BadRequest as error:
        assert str(error).isprintable()
