"""The emulator in a thread with an event loop of its own: for tests, and for programs that use their main thread."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections import Counter
from concurrent.futures import Future, InvalidStateError
from types import TracebackType
from typing import Any

import grpc

from yagrpc.emulator.cloud.operations import OperationRecord
from yagrpc.emulator.faults.injection import FaultRules
from yagrpc.emulator.options import EmulatorOptions, takes
from yagrpc.emulator.received import Received
from yagrpc.emulator.replies import Replies
from yagrpc.emulator.scripting.replies import Script
from yagrpc.emulator.server import EmulatorServer

__all__ = ["Emulator"]


class Emulator:
    """A Foundation Models service on loopback: `with Emulator() as emulator: ... emulator.address`.

    Its state (operations, tokens, counters, clock) survives a stop, and a second start listens on the same port.
    Methods may be called from any thread except the emulator's own; one thread starts and stops it.

    The options are those of `EmulatorOptions`:
    """

    @takes(EmulatorOptions)
    def __init__(self, options: EmulatorOptions) -> None:
        self._server = EmulatorServer(options)
        self._state = self._server.state
        self._thread: threading.Thread | None = None
        self._end: Future[None] = Future()

    @property
    def address(self) -> str:
        """Where it listens, such as `127.0.0.1:40123`; empty before the first start."""
        return self._server.address

    @property
    def rest_address(self) -> str:
        """Where REST is served, such as `127.0.0.1:40124`; empty before the first start, and without `rest`."""
        return self._server.rest_address

    @property
    def page_url(self) -> str:
        """The URL of the emulator's page, with the token of its buttons; empty where `rest_address` is."""
        return self._server.page_url

    @property
    def ca_file(self) -> str | None:
        """The file with the certificate that clients have to trust, as PEM; `None` without TLS."""
        return self._server.ca_file

    @property
    def calls(self) -> Counter[str]:
        """How many calls of each full gRPC path (`yagrpc.emulator.paths`) have arrived; a copy."""
        return self._state.received.calls

    @property
    def refusals(self) -> Counter[tuple[str, grpc.StatusCode]]:
        """How many calls have been refused, by path and code; a copy."""
        return self._state.received.refusals

    @property
    def requests(self) -> list[Received]:
        """The last requests with their path and metadata, oldest first; a copy. At most 1,000, and 64 MiB of them."""
        return self._state.received.requests

    @property
    def generations(self) -> Counter[str]:
        """How many requests of each path were accepted as generations: the service would bill each; a copy."""
        return self._state.received.generations

    @property
    def deliveries(self) -> Counter[str]:
        """How many answers have delivered the end of an operation, by its id; a copy."""
        return self._state.received.deliveries

    @property
    def most_in_a_second(self) -> Counter[str]:
        """The most calls of each path that arrived within any second of the emulator's clock; a copy."""
        return self._state.received.most_in_a_second

    @property
    def operations(self) -> list[OperationRecord]:
        """All operations with their real ends, in the order of their submits; faults do not show here."""
        return self._state.operations.records(self.now())

    @property
    def faults(self) -> FaultRules:
        """The scripted faults: `faults.add(...)` and `faults.clear()` apply to later calls."""
        return self._state.faults

    def now(self) -> float:
        """The emulator's time, in seconds since the Unix epoch."""
        return self._state.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward: operations end, quota windows pass, tokens and results expire.

        Args:
            seconds: How far, 0 or more.

        Raises:
            TypeError: That is no number.
            ValueError: A negative number, or one that leads beyond the year 9999.
        """
        self._state.advance(seconds)

    def set_time(self, moment: float) -> None:
        """Set the emulator's clock, with the same effects.

        Args:
            moment: Seconds since the Unix epoch, not in the clock's past.

        Raises:
            TypeError: That is no number.
            ValueError: The moment is in the past, or beyond the year 9999.
        """
        self._state.set_time(moment)

    def freeze(self) -> None:
        """Stop the emulator's clock: from now on only `advance` and `set_time` move it."""
        self._state.clock.freeze()

    def unfreeze(self) -> None:
        """Let the emulator's clock run again, from its present time."""
        self._state.clock.unfreeze()

    def set_replies(self, replies: Replies | None) -> None:
        """Replace all scripted replies. Operations that were submitted before keep the replies of that time.

        Raises:
            TypeError: A pattern is no text, or a reply is of a type that is no reply.
            ValueError: A pattern is no regular expression, or a reply could not be sent.
        """
        self._state.script = Script(replies)

    def reset(self) -> None:
        """Remove operations, counters, requests, the use of quotas, faults, and replies that were set later.

        For use between tests, while no call is running.
        """
        self._state.reset()

    def start(self) -> None:
        """Start the thread; returns when the emulator listens.

        Raises:
            RuntimeError: The emulator is running, the port is in use, or threads are greenlets of gevent's.
            ValueError: The state file can't be used.
        """
        if self._thread is not None:
            raise RuntimeError("the emulator is running already")
        patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
        if patched is not None and patched("threading"):  # gRPC's asyncio API would wait for ever
            raise RuntimeError(
                "gevent has patched threads (monkey.patch_all()), and the emulator can't work there: run it as a"
                " process (yagrpc emulator)"
            )
        ready: Future[None] = Future()
        self._end = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="yagrpc-emulator", daemon=True
        )
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all calls at once, stop listening and end the thread; without effect if the emulator is not running."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(InvalidStateError):  # its thread has ended by itself
                self._end.set_result(None)
            thread.join()

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, ready: Future[None]) -> None:
        asyncio.get_running_loop().set_exception_handler(_without_poller_noise)
        try:
            await self._server.start()
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        try:
            await asyncio.wrap_future(self._end)
        finally:
            await self._server.stop()


if Emulator.__doc__ and EmulatorOptions.__doc__:  # Python may drop docstrings (-OO)
    Emulator.__doc__ += EmulatorOptions.__doc__.partition("\n")[2]


def _without_poller_noise(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore one harmless error.

    All loops of a process that use grpc.aio read one socket of its poller. Before grpcio 1.80 a loop fails with
    BlockingIOError if another loop has read the socket first; calls are served nevertheless
    (https://github.com/grpc/grpc/issues/25364). An emulator beside an asyncio client is such a pair.
    """
    poller = "PollerCompletionQueue" in context["message"]
    if not (poller and isinstance(context.get("exception"), BlockingIOError)):
        loop.default_exception_handler(context)
