"""An emulator in another process, controlled through its control service: a thin typed helper for tests in Python.

    with Control("127.0.0.1:50051") as control:
        control.add_faults(Fault(LostReply(), method="TextGenerationAsyncService", calls=1))
        control.advance(60)

Rules: the contract is `control.proto`; here each method is one rpc, and a refusal is a ValueError with its text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import grpc

from yagrpc import _pb
from yagrpc.emulator.clock import check_seconds
from yagrpc.emulator.cloud.operations import OperationRecord
from yagrpc.emulator.faults.fault import Fault
from yagrpc.emulator.replies import Failure
from yagrpc.emulator.scripting.replies import reply_messages

__all__ = ["Control"]

_TIMEOUT_SECONDS = 10.0
"""For one call over loopback, including the connection."""

_DIRECT = (("grpc.enable_http_proxy", 0), ("grpc.address_http_proxy_enabled_addresses", ""))
"""No proxy, whatever gRPC finds in the environment: a proxy can't reach an emulator on this machine."""


class Control:
    """The control service of an emulator that was started with `--control` or `control=True`.

    Args:
        address: The address that it listens on, `host:port`.
        root_certificates: The certificates to trust, as PEM bytes, if it listens with TLS.
    """

    def __init__(self, address: str, *, root_certificates: bytes | None = None) -> None:
        if root_certificates is None:
            self._channel = grpc.insecure_channel(address, _DIRECT)
        else:
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(root_certificates), _DIRECT)
        self._stub = _pb.control_pb2_grpc.ControlServiceStub(self._channel)

    def add_faults(self, *faults: Fault) -> None:
        """Add rules after the rules that exist.

        Raises:
            ValueError: A rule is not understood there; no rule was added.
        """
        self._call(self._stub.AddFaults, _pb.control_pb2.AddFaultsRequest(faults=[fault.message for fault in faults]))

    def clear_faults(self) -> None:
        """Remove all rules."""
        self._call(self._stub.ClearFaults, _pb.control_pb2.ClearFaultsRequest())

    def set_replies(self, replies: Mapping[str, str | Failure]) -> None:
        """Replace all scripted replies: patterns of the last user text, with the reply to each.

        Raises:
            ValueError: A pattern is no regular expression.
        """
        self._call(self._stub.SetReplies, _pb.control_pb2.SetRepliesRequest(replies=reply_messages(replies)))

    def now(self) -> float:
        """The emulator's time, in seconds since the Unix epoch."""
        return self._move(_pb.control_pb2.AdvanceTimeRequest())

    def advance(self, seconds: float) -> float:
        """Move the emulator's clock forward by so many seconds; returns the new time.

        Raises:
            TypeError: That is no number.
            ValueError: The clock would move back, or beyond the year 9999.
        """
        seconds = check_seconds("seconds", seconds)
        return self._move(_pb.control_pb2.AdvanceTimeRequest(seconds=seconds))

    def set_time(self, moment: float) -> float:
        """Set the emulator's clock, in seconds since the epoch; returns the new time.

        Raises:
            TypeError: That is no number.
            ValueError: The clock would move back, or beyond the year 9999.
        """
        moment = check_seconds("moment", moment)
        to = _pb.timestamp_pb2.Timestamp(seconds=int(moment), nanos=int(moment % 1 * 1_000_000_000))
        return self._move(_pb.control_pb2.AdvanceTimeRequest(to=to))

    def freeze(self, frozen: bool = True) -> float:
        """Stop the emulator's clock, so that only `advance` and `set_time` move it, or let it run again."""
        return self._move(_pb.control_pb2.AdvanceTimeRequest(frozen=frozen))

    def operations(self) -> list[OperationRecord]:
        """All operations, in the order of their submits."""
        return [
            OperationRecord(
                one.id,
                one.number,
                _seconds(one.created_at),
                _seconds(one.ends_at) if one.HasField("ends_at") else float("inf"),
                one.done,
                one.model,
                one.words,
            )
            for one in self._call(self._stub.ListOperations, _pb.control_pb2.ListOperationsRequest()).operations
        ]

    def deliveries(self) -> Counter[str]:
        """How many answers have delivered the end of an operation, by its id."""
        listed = self._call(self._stub.ListOperations, _pb.control_pb2.ListOperationsRequest()).operations
        return Counter({one.id: one.deliveries for one in listed if one.deliveries})

    def counters(self) -> dict[str, _pb.control_pb2.MethodCounters]:
        """All counters, by full gRPC path."""
        response = self._call(self._stub.ReadCounters, _pb.control_pb2.ReadCountersRequest())
        return {one.path: one for one in response.methods}

    def reset(self) -> None:
        """Remove operations, counters, the use of quotas, faults and replies; the time stays."""
        self._call(self._stub.Reset, _pb.control_pb2.ResetRequest())

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _move(self, request: _pb.control_pb2.AdvanceTimeRequest) -> float:
        return _seconds(self._call(self._stub.AdvanceTime, request).now)

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=_TIMEOUT_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                raise ValueError(error.details()) from error
            if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise RuntimeError("this emulator was started without its control service (--control)") from error
            raise


def _seconds(timestamp: _pb.timestamp_pb2.Timestamp) -> float:
    return timestamp.seconds + timestamp.nanos / 1_000_000_000
