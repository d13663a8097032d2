"""The emulator in a thread with an event loop of its own: for tests, and for whoever has a main thread to lose."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from yagrpc.emulator.cloud.operations import OperationRecord
from yagrpc.emulator.cloud.quotas import EmulatorQuota
from yagrpc.emulator.cloud.windows import QuotaModel
from yagrpc.emulator.durations import Duration
from yagrpc.emulator.faults.fault import Fault
from yagrpc.emulator.faults.injection import FaultRules
from yagrpc.emulator.options import EmulatorOptions
from yagrpc.emulator.received import Received
from yagrpc.emulator.replies import Replies
from yagrpc.emulator.scripting.recording import Recording
from yagrpc.emulator.scripting.replies import Script
from yagrpc.emulator.server import EmulatorServer
from yagrpc.emulator.tls import Certificates

__all__ = ["Emulator"]


class Emulator:
    """A Foundation Models service on loopback: `with Emulator() as emulator: ... emulator.address`.

    Its state (operations, tokens, counters, clock) outlives a stop, and a second start listens on the same port.
    Methods may be called from any thread but the emulator's own; one thread starts and stops it.

    Args:
        host: `localhost` or a loopback address.
        port: The port, or 0 for any free one.
        duration: How long an asynchronous operation runs, in seconds of the emulator's clock: a number, or what
            draws one, such as `Lognormal(median=20, sigma=1)`. With 0 it is done in the first reply.
        completion_duration: How long a synchronous completion takes, likewise.
        seed: Makes ids, tokens and durations the same in every run.
        replies: Scripted replies: a mapping of patterns, searched for in the last user text, to replies, or a
            function of the request. A reply is a text, a `Failure`, a `google.rpc.Status` or a whole
            `CompletionResponse`.
        auth: `"off"`, `"present"`, or the accepted values of `authorization`, such as `{"Api-Key abc"}`.
        quota: Quotas to enforce, or `None`; `EmulatorQuota()` has the documented ones.
        quota_model: How calls are counted against them: `"sliding"` windows, `"fixed"` ones, or a token `"bucket"`.
        folder: The only folder that there is; `None` where any will do.
        tls: Listen with TLS, with a throwaway authority's certificate (`ca_file`), or with `Certificates` made before;
            needs the extra `emulator`.
        recording: Recorded answers, in place of all others: `Recording.load(file)`.
        frozen: Whether time stands still but for `advance` and `set_time`.
        faults: Scripted faults, such as `Fault(LostReply(), method=paths.COMPLETION_ASYNC, calls=1)`.
        state: A file that keeps the operations over the emulator's death; `None` for memory only.
        control: Whether the control service is served too.

    Raises:
        ValueError: An option is out of its range.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        duration: Duration = 1.0,
        completion_duration: Duration = 0.0,
        seed: int | None = None,
        replies: Replies | None = None,
        auth: str | Collection[str] = "off",
        quota: EmulatorQuota | None = None,
        quota_model: QuotaModel = "sliding",
        folder: str | None = None,
        tls: bool | Certificates = False,
        recording: Recording | None = None,
        frozen: bool = False,
        faults: Sequence[Fault] = (),
        state: str | Path | None = None,
        control: bool = False,
    ) -> None:
        self._server = EmulatorServer(
            EmulatorOptions(
                host=host,
                port=port,
                duration=duration,
                completion_duration=completion_duration,
                seed=seed,
                replies=replies,
                auth=auth,
                quota=quota,
                quota_model=quota_model,
                folder=folder,
                tls=tls,
                recording=recording,
                frozen=frozen,
                faults=faults,
                state=state,
                control=control,
            )
        )
        self._state = self._server.state
        self._thread: threading.Thread | None = None
        self._end: Future[None] = Future()

    @property
    def address(self) -> str:
        """Where it listens, such as `127.0.0.1:40123`; empty before the first start."""
        return self._server.address

    @property
    def ca_file(self) -> str | None:
        """The file with the certificate that clients are to trust, as PEM; `None` without TLS."""
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
        """The last 1000 requests with their path and metadata, oldest first; a copy."""
        return self._state.received.requests

    @property
    def generations(self) -> Counter[str]:
        """How many requests of each path have been taken up, each once billed by the service; a copy."""
        return self._state.received.generations

    @property
    def deliveries(self) -> Counter[str]:
        """How many answers have told an operation's end, by its id; a copy."""
        return self._state.received.deliveries

    @property
    def most_in_a_second(self) -> Counter[str]:
        """The most calls of each path that arrived within any second of the emulator's clock; a copy."""
        return self._state.received.most_in_a_second

    @property
    def operations(self) -> list[OperationRecord]:
        """All operations with their true ends, in the order of their submits, whatever their callers were told."""
        return self._state.operations.records(self.now())

    @property
    def faults(self) -> FaultRules:
        """The scripted faults: `faults.add(...)` and `faults.clear()` hold from then on."""
        return self._state.faults

    def now(self) -> float:
        """The emulator's time, in seconds since the Unix epoch."""
        return self._state.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward: operations end, quota windows pass, tokens and results expire.

        Args:
            seconds: How far, 0 or more.

        Raises:
            ValueError: A negative or infinite number.
        """
        self._state.advance(seconds)

    def set_time(self, moment: float) -> None:
        """Set the emulator's clock, with the same effects.

        Args:
            moment: Seconds since the Unix epoch, not in the clock's past.

        Raises:
            ValueError: It is in the past, or no point in time.
        """
        self._state.set_time(moment)

    def freeze(self) -> None:
        """Let the emulator's clock stand still from now on, but for `advance` and `set_time`."""
        self._state.clock.freeze()

    def unfreeze(self) -> None:
        """Let the emulator's clock go on from where it stands."""
        self._state.clock.unfreeze()

    def set_replies(self, replies: Replies | None) -> None:
        """Replace all scripted replies. What has been submitted before keeps the reply that it was promised."""
        self._state.script = Script(replies)

    def reset(self) -> None:
        """Forget operations, counters, requests, the use of quotas, faults, and replies that were set later.

        Between tests: no call should be running.
        """
        self._state.reset()

    def start(self) -> None:
        """Start the thread and return once it listens.

        Raises:
            RuntimeError: It is running, or the port is taken.
            ValueError: The state file can't be used.
        """
        if self._thread is not None:
            raise RuntimeError("the emulator is running already")
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
        """End all calls at once, stop listening and end the thread; without effect where it is not running."""
        thread, self._thread = self._thread, None
        if thread is not None:
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


def _without_poller_noise(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave out one harmless error.

    All loops of a process that use grpc.aio wait at one socket of its poller, and before grpcio 1.80 the loops that
    find it read by another one fail with BlockingIOError, calls being served all the same
    (https://github.com/grpc/grpc/issues/25364). An emulator beside an asyncio client is such a pair.
    """
    poller = "PollerCompletionQueue" in context["message"]
    if not (poller and isinstance(context.get("exception"), BlockingIOError)):
        loop.default_exception_handler(context)
