"""Anything at all, as an answer and as an argument: only yagrpc's own errors come out.

`YAGRPC_FUZZ` is the number of examples of each test; `make fuzz` raises it.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import yagrpc
from yagrpc import _pb, methods
from yagrpc._core.call.call import Call
from yagrpc._core.call.policy import policy_of
from yagrpc._core.client import ClientCore
from yagrpc._core.failure.sizes import Unreadable
from yagrpc._core.failure.status import call_error
from yagrpc._core.operation.view import OperationView
from yagrpc._grpc.deserializers import deserializer
from yagrpc._grpc.runtime import RUNTIME
from yagrpc._grpc.status import status_of
from yagrpc._services.text import completion_request, completion_type
from yagrpc._services.tokenizer import tokenize_request
from yagrpc.results import Chunk, Completion, Tokens

EXAMPLES = int(os.environ.get("YAGRPC_FUZZ", "300"))
examples = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

OURS = (yagrpc.YagrpcError,)
NOBODY: Any = None
"""No poller: nothing is waited for here."""
RESPONSE = "type.googleapis.com/yandex.cloud.ai.foundation_models.v1.CompletionResponse"


def read_all(value: Any) -> None:
    """Read every attribute of a value."""
    for name in dir(type(value)):
        if not name.startswith("_") and not callable(getattr(type(value), name)):
            try:
                getattr(value, name)
            except OURS as error:
                reported(error)
    repr(value)


def reported(error: Exception) -> None:
    """An error is one line."""
    assert len(str(error).splitlines()) <= 1


wire = st.one_of(
    st.binary(max_size=200),
    # What begins as a field goes deeper: numbers 1 to 8 of any wire type.
    st.lists(st.tuples(st.integers(1, 8), st.sampled_from([0, 1, 2, 5]), st.binary(max_size=20)), max_size=6).map(
        lambda fields: b"".join(
            bytes([number << 3 | kind]) + (bytes([len(body)]) + body if kind == 2 else (body + bytes(8))[:8])
            for number, kind, body in fields
        )
    ),
)


@examples
@given(data=wire)
def test_any_bytes_as_a_completion(data: bytes) -> None:
    response = deserializer(methods.TextGenerationService.Completion, -1)(data)
    if isinstance(response, Unreadable):
        return
    for kind in (Completion, Chunk):
        try:
            read_all(kind(response))
        except OURS as error:
            reported(error)


@examples
@given(data=wire)
def test_any_bytes_as_tokens(data: bytes) -> None:
    response = deserializer(methods.TokenizerService.Tokenize, -1)(data)
    if not isinstance(response, Unreadable):
        tokens = Tokens(response)
        read_all(tokens)
        assert len(list(tokens)) == len(tokens)


@examples
@given(data=wire, done=st.booleans())
def test_any_bytes_as_an_operation(data: bytes, done: bool) -> None:
    operation = deserializer(methods.OperationService.Get, -1)(data)
    if isinstance(operation, Unreadable):
        return
    operation.done = done or operation.done
    read_all(OperationView(NOBODY, operation, completion_type(), None))
    try:
        read_all(completion_type().unpack(operation))
    except OURS as error:
        reported(error)


@examples
@given(name=st.one_of(st.just(RESPONSE), st.text(max_size=80)), data=wire, error=st.integers(-(2**31), 2**31 - 1))
def test_any_bytes_as_a_result(name: str, data: bytes, error: int) -> None:
    operation = _pb.operation_pb2.Operation(id="op", done=True)
    if error % 3 == 0:
        operation.error.code = error
        operation.error.details.add(type_url=name, value=data)
    else:
        operation.response.type_url = name
        operation.response.value = data
    view = OperationView(NOBODY, operation, completion_type(), None)
    read_all(view)
    with_result = error % 3 != 0
    try:
        read_all(completion_type().unpack(operation))
    except yagrpc.OperationError as failure:
        reported(failure)
        assert failure.operation_id == "op"
    else:
        assert with_result
        assert name.rpartition("/")[2] == RESPONSE.rpartition("/")[2]


@examples
@given(
    number=st.integers(1, 16),
    message=st.text(max_size=50),
    details=st.one_of(wire, st.text(max_size=9)),
    pushback=st.one_of(st.none(), st.text(max_size=12), st.binary(max_size=5)),
)
def test_any_status_as_a_failure(number: int, message: str, details: Any, pushback: Any) -> None:
    import grpc

    code = next(code for code in grpc.StatusCode if code.value[0] == number)
    pairs = [("grpc-status-details-bin", details), *([("grpc-retry-pushback-ms", pushback)] if pushback else [])]
    failure = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*pairs), message)
    method = methods.TokenizerService.Tokenize
    call: Call[Any, Any] = Call(method, policy_of(method), object(), 1.0, (), "mine")
    error = call_error(status_of(failure), call, "host:1")
    reported(error)
    assert error.retry_after is None or error.retry_after >= -1


anything: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=10),
        st.sampled_from(["user", "assistant", "yandexgpt", "gpt://f/m", "text", "role", b"a", "AUTO"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(st.sampled_from(["role", "text", "name", "description", "parameters", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)  # fmt: skip

PARAMETERS = [
    *("system", "model", "temperature", "max_tokens", "reasoning_mode", "tools", "tool_choice", "parallel_tool_calls"),
    *("json_object", "json_schema", "timeout", "metadata", "request_id", "data_logging", "resubmit"),
]


@pytest.fixture(scope="module")
def core() -> ClientCore:
    """A client's settings."""
    return ClientCore(
        RUNTIME,
        folder_id="f",
        credentials=yagrpc.NoCredentials(),
        model="yandexgpt",
        endpoint="127.0.0.1:1",
        operation_endpoint=None,
        plaintext=True,
        endpoints=None,
        quota=None,
        polling=yagrpc.Polling(),
        data_logging=None,
    )


@examples
@given(messages=anything, parameters=st.dictionaries(st.sampled_from(PARAMETERS), anything, max_size=4))
def test_any_arguments_of_a_completion(core: ClientCore, messages: Any, parameters: dict[str, Any]) -> None:
    arguments: Any = dict(parameters)
    try:
        request, calling = completion_request("completion", messages, arguments, core)
        call = core.call(methods.TextGenerationService.Completion, request, calling)
    except OURS as error:
        reported(error)
        assert isinstance(error, yagrpc.RequestError | yagrpc.ConfigError)
    else:
        assert call.request.SerializeToString() is not None


@examples
@given(text=anything, parameters=st.dictionaries(st.sampled_from(["model", *PARAMETERS[-5:]]), anything, max_size=4))
def test_any_arguments_of_a_tokenizer(core: ClientCore, text: Any, parameters: dict[str, Any]) -> None:
    arguments: Any = dict(parameters)
    try:
        request, calling = tokenize_request("tokenize", text, arguments, core)
        core.call(methods.TokenizerService.Tokenize, request, calling)
    except OURS as error:
        reported(error)


SETTINGS = [
    *("folder_id", "credentials", "model", "endpoint", "operation_endpoint", "plaintext", "endpoints", "quota"),
    *("polling", "data_logging", "root_certificates", "channel_options", "interceptors"),
]


@examples
@given(given_settings=st.dictionaries(st.sampled_from(SETTINGS), anything, max_size=3))
def test_any_settings_of_a_client(given_settings: dict[str, Any]) -> None:
    settled: Any = {"folder_id": "f", "credentials": yagrpc.NoCredentials(), **given_settings}
    try:
        yagrpc.Client(**settled).close()
    except OURS as error:
        reported(error)


@examples
@given(operation_id=anything, target=anything)
def test_any_operation_that_is_attached(operation_id: Any, target: Any) -> None:
    client = yagrpc.Client(folder_id="f", credentials=yagrpc.NoCredentials(), endpoint="127.0.0.1:1", plaintext=True)
    try:
        client.operation(operation_id, target)
    except OURS as error:
        reported(error)


def test_what_does_not_parse_is_no_decode_error() -> None:
    """The reader keeps protobuf's own error to itself."""
    answer = deserializer(methods.OperationService.Get, -1)(b"\xff\xff")
    assert isinstance(answer, Unreadable)
    with pytest.raises(DecodeError):
        _pb.operation_pb2.Operation.FromString(b"\xff\xff")
