"""Everything that an emulator knows, put together: one object that outlives the server's starts and stops.

Rules: only the server's thread changes it, but for the clock and the log, which are safe from any.
"""

from __future__ import annotations

import random
import uuid

from yagrpc.emulator.auth import Guard
from yagrpc.emulator.clock import Clock
from yagrpc.emulator.operations import Operations
from yagrpc.emulator.options import EmulatorOptions
from yagrpc.emulator.quotas import Quotas
from yagrpc.emulator.received import ReceivedLog
from yagrpc.emulator.replies import Script

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
        self.clock = Clock()
        self.received = ReceivedLog()
        self.quotas = Quotas(options.quota, options.quota_model)
        self.script = Script(options.replies)
        # A stream of random numbers for each use: another kind of duration must not change the ids.
        self.guard = Guard(options.auth, self._stream("tokens"))
        self.operations = Operations(self._stream("operations"))
        self.durations = self._stream("durations")
        self._request_ids = self._stream("requests")

    def new_request_id(self) -> str:
        """A fresh UUID."""
        return str(uuid.UUID(int=self._request_ids.getrandbits(128), version=4))

    def _stream(self, use: str) -> random.Random:
        seed = self.options.seed
        return random.Random() if seed is None else random.Random(f"{seed}/{use}")
