"""Options of the channels that a client opens: limits, care for the connection, and what gRPC must not do.

Rules: the caller's option wins over ours of the same key, except that no plaintext channel uses a proxy, and that
gRPC's retries stay off. A channel of the host's own is left as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from yagrpc import config
from yagrpc._core.failure.sizes import RECEIVE_OPTION, SEND_OPTION
from yagrpc._grpc.environment import proxy_of
from yagrpc._version import __version__
from yagrpc.errors import ConfigError
from yagrpc.hiding import shown
from yagrpc.quantities import number

USER_AGENT: Final = f"yagrpc/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}"

METADATA_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of an answer's metadata, the most that gRPC takes (measured). Above a limit of its own, 8 to 16 KiB by default,
it makes RESOURCE_EXHAUSTED of an answer to what has run; the details of a status may be longer than that."""

PER_MESSAGE_DECOMPRESSION: Final = "grpc.per_message_decompression"
"""Whether gRPC unpacks answers; it does so without a limit (grpcio 1.68 to 1.85, where its own limit is lifted)."""

_RETRIES: Final = "grpc.enable_retries"
"""Whether gRPC sends again by itself, by a service config, whatever the call is."""

_IDENTITY_AND_GZIP: Final = 0b101
"""The compressions that an answer may have, as gRPC's bit set: `deserializers` unpacks gzip, and not deflate."""

_MARGIN: Final = config.MESSAGE_LIMIT
"""How far gRPC's own limit of an answer is above ours, in bytes. An answer in between is known to be one: it was
received. One above is refused by gRPC, newer versions by its announced length: so a peer can't fill the memory."""

DEFAULT_OPTIONS: Final[Sequence[tuple[str, Any]]] = (
    ("grpc.primary_user_agent", USER_AGENT),
    (RECEIVE_OPTION, config.MESSAGE_LIMIT),
    (SEND_OPTION, config.MESSAGE_LIMIT),
    (PER_MESSAGE_DECOMPRESSION, 0),
    ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
    (_RETRIES, 0),
    ("grpc.max_metadata_size", METADATA_LIMIT),
    ("grpc.absolute_max_metadata_size", METADATA_LIMIT),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 8_000),
    ("grpc.http2.ping_timeout_ms", 8_000),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    ("grpc.service_config_disable_resolution", 1),
)
"""Options of every channel that a client opens.

No retries of gRPC's: see `retry`. Pings: while a call runs, a peer that says nothing for 20 s is asked and has 8 s to
answer, so that a dead one is known within 28 s (newer grpcio go by `ping_timeout_ms`, which is 60 s otherwise); none
are sent between calls. Measured against gRPC's own server, which closes a connection with `too_many_pings` when it is
asked more often than it likes: a silent call is left alone for over 230 s with grpcio 1.68.1 and for 220 s with 1.85.3
(160 s with `grpc.http2.max_pings_without_data=2`, 80 s with 0), both beyond a completion's 180 s. Reconnecting: every
10 s at most; gRPC's own 120 s would outlast the outage. No service config from DNS (gRPC's default, too): it could set
timeouts and a balancer.
"""

DIRECT_OPTIONS: Final[Sequence[tuple[str, Any]]] = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.address_http_proxy_enabled_addresses", ""),
)
"""Options that keep a channel from any proxy. The first one turns off `grpc_proxy`, `https_proxy` and `http_proxy`, the
second one `GRPC_ADDRESS_HTTP_PROXY`, which the first one leaves on (measured with grpcio 1.68.1 and 1.85.3)."""


class ChannelOptions:
    """The options of the channels that a client opens: yagrpc's own, and the caller's in their place.

    Args:
        given: Pairs of an option's name and its value.

    Attributes:
        given: The pairs.
        send_limit: The largest request that is sent, in bytes; -1 for any.
        receive_limit: The largest answer that is taken, in bytes; -1 for any. The deserializers apply it; gRPC's
            own limit is above it.
        for_tls: The options for gRPC itself, of a channel with TLS.
        for_plaintext: The same, of a channel without TLS: a proxy on its way would read the credentials.

    Raises:
        ConfigError: They are not pairs of a name and a value, a limit is not a number, or gRPC would retry.
    """

    __slots__ = ("_proxy", "for_plaintext", "for_tls", "given", "receive_limit", "send_limit")

    def __init__(self, given: Iterable[tuple[str, Any]]) -> None:
        merged: dict[str, Any] = dict(DEFAULT_OPTIONS)  # of two equal keys gRPC takes the first
        try:
            self.given = tuple(given)
            merged.update(self.given)
        except (TypeError, ValueError):
            raise ConfigError("channel_options takes pairs such as ('grpc.keepalive_time_ms', 20000)") from None
        if not all(isinstance(key, str) for key in merged):
            raise ConfigError("channel_options takes pairs that begin with a name, such as 'grpc.keepalive_time_ms'")
        merged = {key: value if key == _RETRIES else _taken_by_grpc(key, value) for key, value in merged.items()}
        for key in (RECEIVE_OPTION, SEND_OPTION):
            if not isinstance(merged[key], int):
                raise ConfigError(f"channel option {key!r} is {shown(merged[key])}: it takes bytes, or -1 for no limit")
        if not (isinstance(merged[_RETRIES], int) and merged[_RETRIES] == 0):
            again = "gRPC would send again a generation that may have run"
            raise ConfigError(f"channel option {_RETRIES!r} is {shown(merged[_RETRIES])}: {again}: leave it out")
        self.send_limit: int = merged[SEND_OPTION]
        self.receive_limit: int = merged[RECEIVE_OPTION]
        self._proxy: object = merged.get("grpc.http_proxy") if merged.get("grpc.enable_http_proxy", 1) else ""
        merged[RECEIVE_OPTION] = -1 if self.receive_limit < 0 else min(self.receive_limit + _MARGIN, 2**31 - 1)
        self.for_tls = [*merged.items()]
        self.for_plaintext = [*{**merged, **dict(DIRECT_OPTIONS)}.items()]

    def proxy_of(self, endpoint: str) -> str:
        """The proxy of a channel with TLS to an endpoint, for errors; empty where there is none."""
        return proxy_of(endpoint, None if self._proxy is None else str(self._proxy))


def _taken_by_grpc(key: str, value: Any) -> Any:
    """The value of an option as gRPC takes it, which takes a number of numpy, or one with a fraction, for a pointer.

    Raises:
        ConfigError: gRPC can't take it: its own error names no option, and comes with the first call.
    """
    whole = value if isinstance(value, int) else number(value, whole=True)
    if whole is None and (isinstance(value, (str, bytes)) or type(value).__module__.partition(".")[0] == "grpc"):
        return value
    if whole is None or not -(2**31) <= whole < 2**31:
        raise ConfigError(
            f"channel option {shown(key)} is {shown(value)}: it takes a whole number below 2**31, a text or bytes"
        )
    return int(whole)


def host_channels(channel: object, operation_channel: object) -> set[str]:
    """The endpoints, of `Policy.endpoint`, that have a channel of the host's own."""
    given = {"model": channel, "operation": operation_channel}
    return {endpoint for endpoint, one in given.items() if one is not None}
