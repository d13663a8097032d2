"""Messages over a size limit, and answers that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from yagrpc import _pb, methods
from yagrpc._core.failure.sizes import RECEIVE_OPTION, SEND_OPTION, Unreadable, too_large, unreadable_error
from yagrpc._core.ports import Route
from yagrpc.errors import MessageTooLargeError, ResourceExhaustedError, ResultError

REQUEST = _pb.text_generation_service_pb2.TokenizeRequest(text="x" * 98)
SIZE = REQUEST.ByteSize()


def found(a_call: Any, message: str, send_limit: int = -1, request: Any = REQUEST) -> MessageTooLargeError | None:
    """What a used-up resource is, if it is a size."""
    error = ResourceExhaustedError(message, endpoint="model:443")
    return too_large(error, a_call(request=request), send_limit)


@pytest.mark.parametrize(
    ("limit", "over"), [(SIZE - 1, True), (0, True), (SIZE, False), (SIZE + 1, False), (-1, False), (-5, False)]
)
def test_a_request_over_the_limit_is_known_by_its_size(limit: int, over: bool, a_call: Any) -> None:
    error = found(a_call, "whatever it says", limit)
    assert (error is not None) is over
    if error is not None:
        assert (error.size, error.limit, error.option) == (SIZE, limit, SEND_OPTION)
        assert (error.endpoint, error.client_request_id) == ("model:443", "client-id")


@pytest.mark.parametrize("limit", [-1, 0, 10])
def test_a_stream_of_requests_has_no_size(limit: int, a_call: Any) -> None:
    assert found(a_call, "quota limit exceed", limit, request=iter([REQUEST])) is None


def test_a_route_limits_no_request_by_itself(a_call: Any) -> None:
    assert found(a_call, "quota limit exceed", Route("model:443").send_limit) is None


@pytest.mark.parametrize(
    ("message", "size", "limit", "option"),
    [
        ("Sent message larger than max (70 vs. 60)", 70, 60, SEND_OPTION),
        ("Received message larger than max (80 vs. 4)", 80, 4, RECEIVE_OPTION),
        ("CLIENT: Received message larger than max (80 vs. 4)", 80, 4, RECEIVE_OPTION),
        ("Decompressed message larger than max", None, None, RECEIVE_OPTION),
    ],
)
def test_grpcs_wording_shows_a_size(
    message: str, size: int | None, limit: int | None, option: str, a_call: Any
) -> None:
    error = found(a_call, message)
    assert error is not None
    assert (error.size, error.limit, error.option) == (size, limit, option)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "ai.textGenerationAsyncCompletionRequestsPerSecond.rate rate quota limit exceed: allowed 10 requests",
        "SERVER: Received message larger than max (80 vs. 4)",
    ],
)
def test_other_wordings_and_the_servers_mean_a_quota(message: str, a_call: Any) -> None:
    assert found(a_call, message) is None


@pytest.mark.parametrize("size", [70, None])
def test_an_answer_over_the_limit_has_run(size: int | None, a_call: Any) -> None:
    error = unreadable_error(Unreadable(size, 60), a_call(), "model:443")
    assert isinstance(error, MessageTooLargeError)
    assert (error.size, error.limit, error.option, error.endpoint) == (size, 60, RECEIVE_OPTION, "model:443")


def test_an_answer_that_does_not_parse_has_no_result(a_call: Any) -> None:
    error = unreadable_error(Unreadable(3, None, "truncated"), a_call(), "model:443")
    assert isinstance(error, ResultError)
    path = methods.TokenizerService.Tokenize.path
    assert error.message == f"the answer to {path} does not parse (3 bytes: truncated)"
    assert error.endpoint == "model:443"
