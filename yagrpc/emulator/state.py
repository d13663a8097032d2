"""Everything that an emulator knows, put together: one object that outlives the server's starts and stops.

Rules: only the server's thread changes it, but for the clock, the log, the faults and the replies, which are safe from
any.
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
        options: What it was told.
    """

    def __init__(self, options: EmulatorOptions) -> None:
        self.options = options
        self.address = ""
        """Where the server listens, `host:port`; empty before its first start."""
        self.on_crash: Callable[[_pb.control_pb2.Crash], object] = lambda crash: None
        """What a scripted crash does; set by the server."""
        self.clock = Clock(frozen=options.frozen)
        self.received = ReceivedLog()
        self.quotas = Quotas(options.quota, options.quota_model)
        self.script = Script(options.replies)
        # A stream of random numbers for each use: another kind of duration must not change the ids.
        self.guard = Guard(options.auth, self._stream("tokens"))
        self.operations = Operations(self._stream("operations"))
        self.durations = self._stream("durations")
        self.faults = FaultRules(options.faults, self, self._stream("faults"), self.operations.number_of)
        drawn = uuid.UUID(int=self._stream("requests").getrandbits(128), version=4)
        self._request_prefix, self._last_request = str(drawn)[:-12], drawn.node
        self._file: StateFile | None = None

    def open(self) -> None:
        """Take up the state file, if there is to be one, before anything is served.

        Raises:
            StateFileError: It can't be used.
        """
        if self.options.state is None or self._file is not None:
            return
        file = StateFile(self.options.state)
        try:
            self.operations.attach(file)
        except BaseException:
            file.close()
            raise
        self._file = file
        self._keep_up(file)

    def close(self) -> None:
        """Let the state file go."""
        file, self._file = self._file, None
        if file is not None:
            self.operations.detach()
            file.close()

    def advance(self, seconds: float) -> None:
        """Move the clock forward, also for whoever goes on with the state file."""
        self.clock.advance(seconds)
        self._note_time()

    def set_time(self, moment: float) -> None:
        """Set the clock, likewise; seconds since the epoch."""
        self.clock.set(moment)
        self._note_time()

    def reset(self) -> None:
        """Forget operations, counters, requests, quotas' use and faults; the clock and all options stay."""
        self.operations.clear()
        self.received.clear()
        self.faults.clear()
        self.quotas = Quotas(self.options.quota, self.options.quota_model)
        self.script = Script(self.options.replies)

    def seconds(self, duration: Duration) -> float:
        """How long the running call's work takes: as a fault says, or its metadata, or else a duration drawn.

        Raises:
            Refusal: INVALID_ARGUMENT: its metadata says something that is no duration.
        """
        told = TAKES.get()
        if told is None:
            told = requested(CURRENT.get().metadata)
        return draw(duration, self.durations) if told is None else told

    def delivered(self, operation: _pb.operation_pb2.Operation) -> _pb.operation_pb2.Operation:
        """Count an operation that is about to be sent as delivered, if it is done; returns the operation."""
        if operation.done:
            self.received.deliver(operation.id)
        return operation

    def new_request_id(self) -> str:
        """A fresh UUID of version 4: drawn for this emulator but for its last part, which counts."""
        self._last_request = (self._last_request + 1) & 0xFFFF_FFFF_FFFF
        return f"{self._request_prefix}{self._last_request:012x}"

    async def wait(self, seconds: float) -> None:
        """Wait on the emulator's clock, from the arrival of the running call on."""
        await self.clock.wait_until(CURRENT.get().at + seconds)

    def shut(self, peer: str | None = None) -> bool:
        """Shut a client's connection, or all; whether there was any."""
        return shut_connections(int(self.address.rpartition(":")[2]), peer) > 0

    def crash(self, crash: _pb.control_pb2.Crash) -> None:
        """Start to crash."""
        self.on_crash(crash)

    def _keep_up(self, file: StateFile) -> None:
        """Set the clock to where it was: what was done stays done, and what was created is not in the future."""
        newest = max((record.created for record in self.operations.records(0)), default=0.0)
        # Moved by the difference, not set: the clock runs on while this is worked out.
        self.clock.advance(max(0.0, max(time.time() + file.ahead, newest) - self.clock.now()))

    def _note_time(self) -> None:
        if self._file is not None:
            self._file.ahead = self.clock.now() - time.time()

    def _stream(self, use: str) -> random.Random:
        seed = self.options.seed
        return random.Random() if seed is None else random.Random(f"{seed}/{use}")
