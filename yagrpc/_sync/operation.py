# Generated from _aio/operation.py by scripts/make_sync.py; do not edit.
"""`Operation`: a submitted request whose result comes later, for the blocking client."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from yagrpc import _pb, config
from yagrpc._core.call.parameters import check_parameters, checked_timeout
from yagrpc._core.operation.view import MetadataT, OperationView, ResultT
from yagrpc._sync.primitives import Future, call_back, claimed, named_interrupt, new_future
from yagrpc.errors import YagrpcError
from yagrpc.ids import NO_IDS, RequestIds
from yagrpc.signatures import explicit_parameters

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc._core.call.parameters import CallParameters
    from yagrpc._core.operation.result import ResultType
    from yagrpc._core.polling.watch import Watch
    from yagrpc._sync.poller import Poller
    from yagrpc.quantities import Seconds


class Owner(Protocol):
    """What an operation needs of the client that created it."""

    @property
    def _poller(self) -> Poller: ...

    def _cancel(self, operation_id: str, calling: CallParameters) -> _pb.operation_pb2.Operation: ...


class Operation(OperationView[ResultT, MetadataT]):
    """An asynchronous request that the service has accepted.

    `done()`, `refresh()` and `result()` ask the service, paced with all other operations of the client; everything
    else shows what was last seen. It is safe to use from several threads.
    """

    __slots__ = ()

    _client: Owner

    blocking = True

    def __init__(
        self,
        client: Owner,
        proto: _pb.operation_pb2.Operation,
        result_type: ResultType[ResultT],
        submitted: float | None = None,
        ids: RequestIds = NO_IDS,
    ) -> None:
        super().__init__(client, proto, result_type, submitted, ids)

    def done(self, timeout: Seconds | None = config.GET_TIMEOUT) -> bool:
        """Whether it has ended; polls once, unless that is known.

        Args:
            timeout: Seconds, or a `timedelta`, for the answer, the wait for a slot under the quota included.

        Raises:
            YagrpcError: Asking failed.
        """
        return self.refresh(timeout).proto.done

    def refresh(self, timeout: Seconds | None = config.GET_TIMEOUT) -> Operation[ResultT, MetadataT]:
        """Poll once, unless its end is known; gives the operation itself.

        Args:
            timeout: Seconds, or a `timedelta`, for the answer, the wait for a slot under the quota included.

        Raises:
            OperationNotFoundError: The service does not know it.
            YagrpcError: Asking failed.
        """
        if not self._proto.done:
            try:
                self._proto = self._client._poller.poll_once(self, checked_timeout(timeout))
            except YagrpcError as error:
                self._named(error)
                raise
        return self

    def result(self, timeout: Seconds | None = None, *, strict: bool | None = None) -> ResultT:
        """Wait until it is done, and give its result.

        Args:
            timeout: Seconds to wait, or a `timedelta`; 0 is one poll, `None` for ever. It never cancels the operation.
            strict: Whether a completion that the model did not finish is an error; `None` for what the submit was
                given, or else the client.

        Raises:
            OperationTimeoutError: It is not done in time; it still runs, and can be waited for again.
            OperationFailedError: It ended with an error.
            OperationCancelledError: It was cancelled.
            OperationResultError: It is done without a result, or with one of another type.
            IncompleteCompletionError: It is `strict`, and the content filter stopped the completion, or it was cut off.
            OperationNotFoundError: The service does not know it (`OperationExpiredError`: any longer).
            CallError: The service refuses the Get.
            ClientClosedError: The client was closed meanwhile.
            KeyboardInterrupt: Ctrl-C; its text has the operation's id.
        """
        self._type.check_strict(strict)
        if not self._over:
            try:
                with named_interrupt(self.id):
                    self._proto = self._client._poller.wait(self, checked_timeout(timeout))
            except YagrpcError as error:
                self._named(error)
                raise
        return self._outcome_once(strict)

    @explicit_parameters
    def cancel(self, **parameters: Unpack[CallParameters]) -> None:
        """Ask the service to stop it. Best effort: it may still finish, and may be billed.

        Args:
            **parameters: See `CallParameters`.

        Raises:
            CallError: The service refused.
        """
        check_parameters("cancel", parameters)
        self._proto = self._client._cancel(self.id, parameters)

    def add_done_callback(self, callback: Callable[[Operation[ResultT, MetadataT]], object]) -> None:
        """Call `callback(operation)` once, when it has ended or can't be waited for any longer.

        It is called at once where the end is known, and else in a thread of the client's, after the callbacks before
        it; it may wait for other operations. `result(0)` gives the outcome without waiting. It runs in the context
        (`contextvars`) of this call; an exception of it is logged.

        Args:
            callback: Takes the operation.
        """
        if self._proto.done:
            self._call_back(callback)
            return
        poller = self._client._poller
        context = contextvars.copy_context()

        def called(watch: Watch) -> None:
            self._saw(watch)
            call_back(poller, lambda: context.run(self._call_back, callback))

        poller.listen(self, called)

    def future(self) -> Future[ResultT]:
        """A future of the result; it has no thread; cancelling it does not affect the operation.

        A callback of the future's is called by the thread that answers come through: it can't wait for an operation.
        """
        future: Future[ResultT] = new_future()

        def settle(watch: Watch) -> None:
            self._saw(watch)
            if claimed(future):
                self._settle(future)

        if self._proto.done:
            self._settle(future)
            return future
        poller = self._client._poller
        watch = poller.listen(self, settle)
        future.add_done_callback(lambda done: poller.unlisten(watch, settle))
        return future
