"""Everything that an emulator knows, in one object that survives the server's stops and starts.

Rules: only the server's thread changes it, except the clock, the log, the faults and the replies, which any thread may
change.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable

from yagrpc import _pb
from yagrpc.emulator.clock import Clock
from yagrpc.emulator.cloud.auth import Guard
from yagrpc.emulator.cloud.operations import Operations
from yagrpc.emulator.cloud.quotas import Quotas
from yagrpc.emulator.connections import shut_connections
from yagrpc.emulator.durations import Duration, draw, requested
from yagrpc.emulator.faults.injection import TAKES, FaultRules
from yagrpc.emulator.options import EmulatorOptions
from yagrpc.emulator.received import CURRENT, ReceivedLog
from yagrpc.emulator.scripting.replies import Script
from yagrpc.emulator.statefile import StateFile

__all__ = ["State"]


class State:
    """The emulated cloud.

    Args:
        options: Its options.
    """

    def __init__(self, options: EmulatorOptions) -> None:
        self.options = options
        self.address = ""
        """Where the server listens, `host:port`; empty before its first start."""
        self.rest_address = ""
        """Where REST is served, likewise; empty without the option `rest`."""
        self.on_crash: Callable[[_pb.control_pb2.Crash], object] = lambda crash: None
        """What a scripted crash does; set by the server."""
        self.clock = Clock(frozen=options.frozen)
        self.received = ReceivedLog()
        self.quotas = Quotas(options.quota, options.quota_model)
        self.script = Script(options.replies)
        # A separate stream of random numbers for each use: another duration must not change the ids.
        self.guard = Guard(options.auth, self._stream("tokens"))
        self.operations = Operations(self._stream("operations"))
        self.durations = self._stream("durations")
        self.faults = FaultRules(options.faults, self, self._stream("faults"), self.operations.number_of)
        drawn = uuid.UUID(int=self._stream("requests").getrandbits(128), version=4)
        self._request_prefix, self._last_request = str(drawn)[:-12], drawn.node
        self._file: StateFile | None = None

    def open(self) -> None:
        """Open the state file, if the options name one, before anything is served.

        Raises:
            StateFileError: The file can't be used.
        """
        if self.options.state is None or self._file is not None:
            return
        file = StateFile(self.options.state)
        try:
            ahead = file.ahead
            self.operations.attach(file)
        except BaseException:
            file.close()
            raise
        self._file = file
        self._restore_clock(ahead)

    def close(self) -> None:
        """Close the state file."""
        file, self._file = self._file, None
        if file is not None:
            self.operations.detach()
            file.close()

    def advance(self, seconds: float) -> None:
        """Move the clock forward, also for the next emulator that opens the state file."""
        self.clock.advance(seconds)
        self._note_time()

    def set_time(self, moment: float) -> None:
        """Set the clock, likewise, to seconds since the epoch."""
        self.clock.set(moment)
        self._note_time()

    def reset(self) -> None:
        """Remove operations, counters, requests, the use of quotas, and faults; the clock and all options stay."""
        self.operations.clear()
        self.received.clear()
        self.faults.clear()
        self.quotas = Quotas(self.options.quota, self.options.quota_model)
        self.script = Script(self.options.replies)

    def seconds(self, duration: Duration) -> float:
        """How long the work of the running call takes: set by a fault, by its metadata, or drawn.

        Raises:
            Refusal: INVALID_ARGUMENT: the value in its metadata is no duration.
        """
        seconds = TAKES.get()
        if seconds is None:
            seconds = requested(CURRENT.get().metadata)
        return draw(duration, self.durations) if seconds is None else seconds

    def delivered(self, operation: _pb.operation_pb2.Operation) -> _pb.operation_pb2.Operation:
        """Count an operation that is about to be sent as delivered, if it is done; returns the operation."""
        if operation.done:
            self.received.deliver(operation.id)
        return operation

    def new_request_id(self) -> str:
        """A new UUID of version 4: drawn once for this emulator, except the last part, which is a counter."""
        self._last_request = (self._last_request + 1) & 0xFFFF_FFFF_FFFF
        return f"{self._request_prefix}{self._last_request:012x}"

    async def wait(self, seconds: float) -> None:
        """Wait on the emulator's clock until so long after the arrival of the running call."""
        await self.clock.wait_until(CURRENT.get().at + seconds)

    def shut(self, peer: str | None = None) -> bool:
        """Shut down a client's connection, or all connections; returns whether there was one."""
        addresses = [address for address in (self.address, self.rest_address) if address]
        return sum(shut_connections(int(address.rpartition(":")[2]), peer) for address in addresses) > 0

    def crash(self, crash: _pb.control_pb2.Crash) -> None:
        """Start to crash."""
        self.on_crash(crash)

    def _restore_clock(self, ahead: float) -> None:
        """Move the clock to where it was: finished operations stay finished, and none is created in the future.

        Args:
            ahead: How far it was ahead of the real one, in seconds.
        """
        # The real clock may have gone back since: then the last thing that happened is the earliest possible time.
        newest = self.operations.last_moment()
        self.clock.catch_up(max(time.time() + ahead, newest))

    def _note_time(self) -> None:
        if self._file is not None:
            self._file.ahead = self.clock.now() - time.time()

    def _stream(self, use: str) -> random.Random:
        seed = self.options.seed
        return random.Random() if seed is None else random.Random(f"{seed}/{use}")
