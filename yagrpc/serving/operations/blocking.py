"""Long-running rpcs of a `grpc.server`: handlers run in threads of the servicer.

Rules: no lock is held while a store, a handler or the model works: an operation ends once, since its store says so.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import grpc

from yagrpc import _pb
from yagrpc._sync.client import Client
from yagrpc._sync.operation import Operation
from yagrpc.context import CURRENT, Caller, detached
from yagrpc.errors import ClientClosedError, ConfigError, YagrpcError
from yagrpc.hiding import shown
from yagrpc.quantities import Seconds
from yagrpc.serving.callers import log
from yagrpc.serving.operations import outcomes
from yagrpc.serving.operations.outcomes import MODELS_OWN, RETENTION, Kind, Models, Offers, Rules, system_clock
from yagrpc.serving.operations.records import OperationStore, StoredOperation
from yagrpc.serving.operations.sqlite import SqliteOperations
from yagrpc.serving.running import MOST_RUNNING, Running, one_or_more
from yagrpc.serving.table import Expose

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc.method import OperationMethod

WORKERS: Final = 32
"""Handlers that run at a time; further ones wait. One that has given an operation of the model's needs no thread."""


class OperationServicer:
    """Long-running rpcs of a `grpc.server`, and the `OperationService` that serves their operations.

        operations = serving.OperationServicer("operations.db", client)

        @operations.handler(answer=to_response)
        def correct(request):
            return client.completion_async(request.text)

        def Correct(self, request, context):   # of the rpc that returns an Operation
            return correct.submit(request)

        operations.add_to(server)              # before the server starts, and after all handlers are there

    Args:
        store: Where the operations are kept: the path of a SQLite file, or an `OperationStore`.
        client: What waits for the model's operations; `None` where handlers give messages only.
        retention: Seconds for which an operation that has ended can be fetched.
        expose: Of which codes the text of an error of yagrpc is passed on, as for the interceptor.
        operation_type: The class of the operations that handlers give, where the host's package has its own.
        most_running: Handlers that may run, or wait for a thread, at once; `submit` of one more raises a
            `ServerBusyError`.
        workers: Handlers that run at a time.
        clock: Gives the seconds since the epoch.

    Raises:
        ConfigError: A setting can't work, or the file can't be used.
    """

    def __init__(
        self,
        store: str | PathLike[str] | OperationStore,
        client: Client | None = None,
        *,
        retention: Seconds = RETENTION,
        expose: Expose = False,
        operation_type: type[Message] = _pb.operation_pb2.Operation,
        most_running: int = MOST_RUNNING,
        workers: int = WORKERS,
        clock: Callable[[], float] = system_clock,
    ) -> None:
        threads = one_or_more("workers", workers)
        self._rules = Rules(retention, expose, clock, operation_type)
        self._models = Models(client, Client, Operation, "AsyncOperationServicer")
        self._running = Running(most_running)
        self._own = None if isinstance(store, OperationStore) else SqliteOperations(store)
        self._store: OperationStore = self._own or store  # type: ignore[assignment]
        self._followed: set[str] = set()
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(threads, "yagrpc-operations")

    def handler(
        self,
        *,
        name: str | None = None,
        answer: Callable[[Any], Message] | None = None,
        result: type[Message] | OperationMethod[Any, Any, Any] | None = None,
        restart: type[Message] | None = None,
    ) -> Callable[[Callable[[Any], Any]], Handler]:
        """Declare a function whose result an operation gets; `submit` of what this gives runs it.

        The function takes the request, and returns a message, a `google.rpc.Status` as the operation's error, or an
        operation of the client. With that, the function has ended: the operation gets the result of the model's, also
        after a restart. Calls of the client in the function end when the operation is cancelled.

        Args:
            name: Its name, which the store keeps; by default the function's.
            answer: Makes a message of the result of the model's operation, such as a `Completion`; without it, the
                operation gets the model's own response.
            result: What the model's operation resolves to, as for `client.operation`; by default a completion.
            restart: The class of the requests, if the function may be run again from its start where a restart has
                ended it. By default the operation then fails: it may have submitted, and a second submit is billed.

        Raises:
            ConfigError: A setting can't work, or there are two handlers of the name.
        """

        def declared(function: Callable[[Any], Any]) -> Handler:
            if not callable(function) or inspect.iscoroutinefunction(function):
                raise ConfigError(f"handler got {shown(function)}: it takes a function, and no coroutine function")
            kind = Kind(str(name or getattr(function, "__name__", "")), function, answer, result, restart)
            return Handler(self, self._rules.declare(kind))

        return declared

    def attach(self, operation: Operation[Any, Any], *, description: str = "", metadata: Message | None = None) -> Any:
        """An operation that gets the result of an operation of the model's, as it is.

        Args:
            operation: The model's operation.
            description: What the operation is, for its callers.
            metadata: The metadata of the operation.

        Raises:
            RequestError: It is no operation of a `Client`.
        """
        return self._attach(MODELS_OWN, operation, description, metadata)

    def add_to(self, server: grpc.Server) -> None:
        """Serve `OperationService` on a server, and continue the operations of an earlier process.

        Raises:
            ConfigError: There are such operations, and no client; or the server is of the other kind.
        """
        if not isinstance(server, grpc.Server):
            raise ConfigError(f"server is {shown(server)}: it takes a grpc.server; use AsyncOperationServicer")
        _pb.operation_service_pb2_grpc.add_OperationServiceServicer_to_server(_Service(self), server)
        for stored in self._store.running():
            self._resume(stored)

    def close(self) -> None:
        """End what runs, and wait for it: the next start continues it. Call it before the client's `close`."""
        self._closing.set()
        self._running.leave()
        self._pool.shutdown(cancel_futures=True)
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> OperationServicer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Operations begin

    def _submit(self, kind: Kind, request: Message, description: str, metadata: Message | None) -> Any:
        stored = self._rules.created(kind, request, description, metadata, "")
        caller = self._running.begin(stored.id)
        try:
            self._add(stored)
        except BaseException:
            self._running.end(stored.id)
            raise
        self._start(kind, stored, request, caller)
        return self._rules.shown(stored)

    def _attach(self, kind: Kind, operation: Any, description: str, metadata: Message | None) -> Any:
        self._models.check(operation)
        stored = self._add(self._rules.created(kind, None, description, metadata, operation.id))
        outcomes.kept(operation.id)
        self._follow(kind, stored, operation)
        return self._rules.shown(stored)

    def _add(self, stored: StoredOperation) -> StoredOperation:
        if self._closing.is_set():
            raise ClientClosedError(stored.model_operation_id)
        if (before := self._rules.purge_before()) is not None:
            self._store.forget(before)
        self._store.add(stored)
        return stored

    def _resume(self, stored: StoredOperation) -> None:
        """Continue an operation of an earlier process, as far as that can be done."""
        found = self._rules.resumed(stored)
        if found is None:
            return
        if found.outcome is not None:
            self._end(stored, found.outcome)
        elif found.request is not None:
            self._start(found.kind, stored, found.request, self._running.begin(stored.id, resumed=True))
        else:
            self._follow(found.kind, stored, self._models.attached(found.kind, stored))

    # Operations run

    def _start(self, kind: Kind, stored: StoredOperation, request: Message, caller: Caller) -> None:
        context = contextvars.copy_context()
        context.run(CURRENT.set, caller)
        self._pool.submit(context.run, self._run, kind, stored, request, caller)

    def _run(self, kind: Kind, stored: StoredOperation, request: Message, caller: Caller) -> None:
        try:
            if not caller.gone:  # otherwise it was cancelled while it waited for a thread
                self._perform(kind, stored, request)
        except Exception:  # of the store, or of a client that was closed
            log.exception(outcomes.LEFT, stored.id, extra={"operation_id": stored.id})
        finally:
            self._running.end(stored.id)

    def _perform(self, kind: Kind, stored: StoredOperation, request: Message) -> None:
        assert kind.function is not None
        try:
            found: Any = kind.function(request)
            self._models.check_found(kind, found)
        except BaseException as error:  # also of sys.exit, which ends a thread only: callers would wait for good
            if self._closing.is_set():
                return
            found = self._rules.failure(stored, error)
        if not self._models.give(found):
            self._keep(stored, found)
        elif self._noted(stored, found.id):
            self._follow(kind, stored._replace(model_operation_id=found.id), found)
        else:  # it was cancelled meanwhile
            self._stop(found)

    def _keep(self, stored: StoredOperation, outcome: Message) -> None:
        """End an operation with its handler's own result, however often the store fails, within some time."""
        offers = Offers(stored)
        while True:
            try:
                self._end(stored, outcome)
                return
            except Exception as error:
                pause = offers.pause(error, closed=self._closing.is_set())
            if pause is None:
                return
            self._closing.wait(pause)

    def _noted(self, stored: StoredOperation, model_operation_id: str) -> bool:
        """Store which operation of the model's another waits for; gives whether it still waits for one."""
        try:
            return self._store.follow(stored.id, model_operation_id)
        except Exception:
            return outcomes.not_noted(stored, model_operation_id)

    def _follow(self, kind: Kind, stored: StoredOperation, operation: Operation[Any, Any]) -> None:
        """Have an operation ended with the model's."""
        self._followed.add(stored.id)
        with detached():
            operation.add_done_callback(functools.partial(self._settle, kind, stored))

    def _settle(self, kind: Kind, stored: StoredOperation, operation: Operation[Any, Any]) -> None:
        """The model's operation has ended, or could not be waited for."""
        self._followed.discard(stored.id)
        if not self._closing.is_set():
            outcome = self._rules.settled(kind, stored, operation, functools.partial(operation.result, 0))
            if outcome is not None:
                self._end(stored, outcome)

    def _end(self, stored: StoredOperation, outcome: Message) -> bool:
        ended = self._rules.ended(stored, outcome)
        return self._store.end(ended.id, ended.proto, ended.modified)

    # Callers ask

    def _found(self, operation_id: str, context: grpc.ServicerContext) -> StoredOperation:
        stored = self._store.get(operation_id) if operation_id else None
        if stored is None or not self._rules.visible(stored):
            context.abort(grpc.StatusCode.NOT_FOUND, outcomes.not_found(operation_id))
        return stored

    def _get(self, operation_id: str, context: grpc.ServicerContext) -> StoredOperation:
        stored = self._found(operation_id, context)
        kind = self._rules.unfollowed(stored, self._followed)
        if kind is not None and not self._closing.is_set():
            self._follow(kind, stored, self._models.attached(kind, stored))
        return stored

    def _cancel(self, operation_id: str, context: grpc.ServicerContext) -> StoredOperation:
        stored = self._found(operation_id, context)
        if not self._end(stored, self._rules.cancelled(stored)):
            return self._found(operation_id, context)
        self._running.leave(stored.id)
        stored = self._found(operation_id, context)  # it may have got the model's operation in this moment
        if (models := self._models.to_stop(stored)) is not None:
            self._stop(models)
        return stored

    def _stop(self, operation: Operation[Any, Any]) -> None:
        """Ask the model to stop an operation whose result nobody gets."""
        try:
            with detached():  # the caller of the Cancel may have left
                operation.cancel(timeout=outcomes.CANCEL_TIMEOUT)
        except YagrpcError as error:
            log.warning(outcomes.STILL_RUNS, operation.id, error, extra={"operation_id": operation.id})


class Handler:
    """A handler of an `OperationServicer`; `handler` there makes it.

    Args:
        servicer: The servicer.
        kind: How it works.
    """

    def __init__(self, servicer: OperationServicer, kind: Kind) -> None:
        self._servicer = servicer
        self._kind = kind

    def submit(self, request: Message, *, description: str = "", metadata: Message | None = None) -> Any:
        """Run the handler in the background; gives the operation at once, once it is stored.

        Args:
            request: What the handler gets.
            description: What the operation is, for its callers.
            metadata: The metadata of the operation.
        """
        return self._servicer._submit(self._kind, request, description, metadata)

    def attach(self, operation: Operation[Any, Any], *, description: str = "", metadata: Message | None = None) -> Any:
        """An operation that gets the result of the model's by the handler's `answer`, without running the handler.

        Args:
            operation: The model's operation, which was submitted before.
            description: What the operation is, for its callers.
            metadata: The metadata of the operation.

        Raises:
            RequestError: It is no operation of a `Client`.
        """
        return self._servicer._attach(self._kind, operation, description, metadata)

    def __repr__(self) -> str:
        return f"<Handler {self._kind.name}>"


class _Service(_pb.operation_service_pb2_grpc.OperationServiceServicer):
    def __init__(self, servicer: OperationServicer) -> None:
        self._servicer = servicer

    def Get(self, request: Any, context: Any) -> _pb.operation_pb2.Operation:
        stored = self._servicer._get(request.operation_id, context)
        return _pb.operation_pb2.Operation.FromString(stored.proto)

    def Cancel(self, request: Any, context: Any) -> _pb.operation_pb2.Operation:
        stored = self._servicer._cancel(request.operation_id, context)
        return _pb.operation_pb2.Operation.FromString(stored.proto)
