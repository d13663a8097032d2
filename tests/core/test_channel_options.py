"""Options of the channels that a client opens."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import grpc
import numpy
import pytest

import yagrpc
from yagrpc import config
from yagrpc._core.failure.sizes import RECEIVE_OPTION, SEND_OPTION
from yagrpc._grpc.options import METADATA_LIMIT, ChannelOptions, host_channels


@pytest.mark.parametrize(
    "options",
    [None, 5, "text", [("one",)], [(1, 2)], [(SEND_OPTION, "many")], [(RECEIVE_OPTION, None)]],
)
def test_channel_options_that_are_none_are_refused(options: Any) -> None:
    with pytest.raises(yagrpc.ConfigError, match="channel.option"):
        ChannelOptions(options)


@pytest.mark.parametrize(
    "value", [None, 1.5, math.inf, numpy.float32(2), Decimal(1), 2**31, -(10**400), [], object(), {}]
)
def test_a_value_that_grpc_would_refuse_at_the_first_call_or_take_for_a_pointer_is_refused(value: Any) -> None:
    with pytest.raises(
        yagrpc.ConfigError, match=r"'grpc.keepalive_time_ms' is .*: it takes a whole number below 2\*\*31"
    ):
        ChannelOptions([("grpc.keepalive_time_ms", value)])


@pytest.mark.parametrize("value", [5, True, "five", b"five", numpy.int64(5), grpc.Compression.Gzip, -(2**31)])
def test_what_grpc_takes_is_taken_and_numbers_of_numpy_are_made_pythons(value: Any) -> None:
    taken = dict(ChannelOptions([("a", value)]).for_tls)["a"]
    assert taken == value
    assert isinstance(taken, (int, str, bytes))


def test_what_grpc_receives_is_measured_by_the_deserializers_before_grpc_s_own_limit() -> None:
    options = ChannelOptions([(RECEIVE_OPTION, 7), ("grpc.keepalive_time_ms", 5)])
    assert options.receive_limit == 7
    assert options.send_limit == config.MESSAGE_LIMIT
    given = dict(options.for_tls)
    assert given[RECEIVE_OPTION] == 7 + config.MESSAGE_LIMIT
    assert dict(ChannelOptions([(RECEIVE_OPTION, -1)]).for_tls)[RECEIVE_OPTION] == -1
    assert dict(ChannelOptions([(RECEIVE_OPTION, 2**31 - 1)]).for_tls)[RECEIVE_OPTION] == 2**31 - 1
    assert given["grpc.per_message_decompression"] == 0
    assert given["grpc.keepalive_time_ms"] == 5
    assert given["grpc.enable_retries"] == 0


@pytest.mark.parametrize("value", [1, True, -1, "0", None, [0]])
def test_grpc_must_not_send_again_by_itself(value: Any) -> None:
    """By a service config it does so with any call: a generation would be billed several times."""
    with pytest.raises(yagrpc.ConfigError, match=r"'grpc.enable_retries' is .*: gRPC would send again a generation"):
        ChannelOptions([("grpc.enable_retries", value)])


@pytest.mark.parametrize("value", [0, False])
def test_that_grpc_does_not_send_again_may_be_said(value: Any) -> None:
    assert dict(ChannelOptions([("grpc.enable_retries", value)]).for_tls)["grpc.enable_retries"] == 0


def test_metadata_of_an_answer_may_be_large() -> None:
    """Over gRPC's own limit they would make RESOURCE_EXHAUSTED of an answer to what has run."""
    given = dict(ChannelOptions([]).for_tls)
    assert (
        given["grpc.max_metadata_size"]
        == given["grpc.absolute_max_metadata_size"]
        == METADATA_LIMIT
        == 16 * 1024 * 1024
    )


def test_a_request_has_the_limit_that_is_given() -> None:
    options = ChannelOptions([(SEND_OPTION, 9)])
    assert options.send_limit == dict(options.for_tls)[SEND_OPTION] == 9


@pytest.mark.parametrize(
    ("given", "names"), [((None, None), set()), ((1, None), {"model"}), ((1, 1), {"model", "operation"})]
)
def test_channels_of_the_hosts_are_known_by_their_endpoint(given: tuple[Any, Any], names: set[str]) -> None:
    assert host_channels(*given) == names
