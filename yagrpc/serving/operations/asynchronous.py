"""Long-running rpcs of a `grpc.aio.server`: handlers run as tasks of the event loop.

Rules: the store works in a thread of the servicer's, one call after the other, so that the event loop never waits for
it. What a store has to learn is a task of its own, which a caller that leaves does not end.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from yagrpc import _pb
from yagrpc._aio.client import AsyncClient
from yagrpc._aio.operation import AsyncOperation
from yagrpc.context import CURRENT, Caller, detached
from yagrpc.errors import ClientClosedError, ConfigError, YagrpcError
from yagrpc.hiding import shown
from yagrpc.quantities import Seconds
from yagrpc.serving.callers import log
from yagrpc.serving.operations import outcomes
from yagrpc.serving.operations.outcomes import MODELS_OWN, RETENTION, Kind, Models, Offers, Rules, system_clock
from yagrpc.serving.operations.records import OperationStore, StoredOperation
from yagrpc.serving.operations.sqlite import SqliteOperations
from yagrpc.serving.running import MOST_RUNNING, Running
from yagrpc.serving.table import Expose

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc.method import OperationMethod

ResultT = TypeVar("ResultT")


class AsyncOperationServicer:
    """Long-running rpcs of a `grpc.aio.server`, and the `OperationService` that serves their operations.

    It has the names of `OperationServicer`, of which `submit`, `attach`, `add_to` and `close` are awaited; handlers are
    coroutine functions, and their operations those of an `AsyncClient`.

    Args:
        store: Where the operations are kept: the path of a SQLite file, or an `OperationStore`, which may block.
        client: What waits for the model's operations; `None` where handlers give messages only.
        retention: Seconds for which an operation that has ended can be fetched.
        expose: Of which codes the text of an error of yagrpc is passed on, as for the interceptor.
        operation_type: The class of the operations that handlers give, where the host's package has its own.
        most_running: Handlers that may run at once; `submit` of one more raises a `ServerBusyError`.
        clock: Gives the seconds since the epoch.

    Raises:
        ConfigError: A setting can't work, or the file can't be used.
    """

    def __init__(
        self,
        store: str | PathLike[str] | OperationStore,
        client: AsyncClient | None = None,
        *,
        retention: Seconds = RETENTION,
        expose: Expose = False,
        operation_type: type[Message] = _pb.operation_pb2.Operation,
        most_running: int = MOST_RUNNING,
        clock: Callable[[], float] = system_clock,
    ) -> None:
        self._rules = Rules(retention, expose, clock, operation_type)
        self._models = Models(client, AsyncClient, AsyncOperation, "OperationServicer")
        self._running = Running(most_running)
        self._own = None if isinstance(store, OperationStore) else SqliteOperations(store)
        self._store: OperationStore = self._own or store  # type: ignore[assignment]
        self._handling: dict[str, asyncio.Task[None]] = {}
        self._followed: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._closing = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "yagrpc-operations")

    def handler(
        self,
        *,
        name: str | None = None,
        answer: Callable[[Any], Message] | None = None,
        result: type[Message] | OperationMethod[Any, Any, Any] | None = None,
        restart: type[Message] | None = None,
    ) -> Callable[[Callable[[Any], Coroutine[Any, Any, Any]]], AsyncHandler]:
        """Declare a coroutine function whose result an operation gets; `submit` of what this gives runs it.

        See `OperationServicer.handler`. The function is cancelled with its operation.

        Args:
            name: Its name, which the store keeps; by default the function's.
            answer: Makes a message of the result of the model's operation; without it, the operation gets the model's
                own response. It is a plain function.
            result: What the model's operation resolves to, as for `client.operation`; by default a completion.
            restart: The class of the requests, if the function may be run again from its start where a restart has
                ended it.

        Raises:
            ConfigError: A setting can't work, or there are two handlers of the name.
        """

        def declared(function: Callable[[Any], Coroutine[Any, Any, Any]]) -> AsyncHandler:
            if not inspect.iscoroutinefunction(function):
                raise ConfigError(f"handler got {shown(function)}: it takes a coroutine function (async def)")
            kind = Kind(str(name or getattr(function, "__name__", "")), function, answer, result, restart)
            return AsyncHandler(self, self._rules.declare(kind))

        return declared

    async def attach(
        self, operation: AsyncOperation[Any, Any], *, description: str = "", metadata: Message | None = None
    ) -> Any:
        """An operation that gets the result of an operation of the model's, as it is.

        Args:
            operation: The model's operation.
            description: What the operation is, for its callers.
            metadata: The metadata of the operation.

        Raises:
            RequestError: It is no operation of an `AsyncClient`.
        """
        return await self._attach(MODELS_OWN, operation, description, metadata)

    async def add_to(self, server: grpc.aio.Server) -> None:
        """Serve `OperationService` on a server, and continue the operations of an earlier process.

        Raises:
            ConfigError: There are such operations, and no client; or the server is of the other kind.
        """
        if not isinstance(server, grpc.aio.Server):
            raise ConfigError(f"server is {shown(server)}: it takes a grpc.aio.server; use OperationServicer")
        _pb.operation_service_pb2_grpc.add_OperationServiceServicer_to_server(_Service(self), server)
        for stored in await self._io(self._store.running):
            await self._resume(stored)

    async def close(self) -> None:
        """End what runs, and wait for it: the next start continues it. Call it before the client's `close`."""
        self._closed = True
        self._closing.set()
        self._running.leave()
        for task in list(self._handling.values()):
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._own is not None:
            await self._io(self._own.close)
        self._thread.shutdown()

    async def __aenter__(self) -> AsyncOperationServicer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Tasks, and the store's thread

    def _task(self, coroutine: Coroutine[Any, Any, ResultT]) -> asyncio.Task[ResultT]:
        """A task that `close` waits for."""
        task = asyncio.get_running_loop().create_task(coroutine, name="yagrpc-operations")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _io(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Call a method of the store, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    # Operations begin

    async def _submit(self, kind: Kind, request: Message, description: str, metadata: Message | None) -> Any:
        async def submit() -> Any:
            stored = self._rules.created(kind, request, description, metadata, "")
            caller = self._running.begin(stored.id)
            try:
                await self._add(stored)
            except BaseException:
                self._running.end(stored.id)
                raise
            self._start(kind, stored, request, caller)
            return self._rules.shown(stored)

        return await asyncio.shield(self._task(submit()))

    async def _attach(self, kind: Kind, operation: Any, description: str, metadata: Message | None) -> Any:
        self._models.check(operation)

        async def attach() -> Any:
            stored = await self._add(self._rules.created(kind, None, description, metadata, operation.id))
            outcomes.kept(operation.id)
            self._follow(kind, stored, operation)
            return self._rules.shown(stored)

        return await asyncio.shield(self._task(attach()))

    async def _add(self, stored: StoredOperation) -> StoredOperation:
        if self._closed:
            raise ClientClosedError(stored.model_operation_id)
        if (before := self._rules.purge_before()) is not None:
            await self._io(self._store.forget, before)
        await self._io(self._store.add, stored)
        return stored

    async def _resume(self, stored: StoredOperation) -> None:
        """Continue an operation of an earlier process, as far as that can be done."""
        found = self._rules.resumed(stored)
        if found is None:
            return
        if found.outcome is not None:
            await self._end(stored, found.outcome)
        elif found.request is not None:
            self._start(found.kind, stored, found.request, self._running.begin(stored.id, resumed=True))
        else:
            self._follow(found.kind, stored, self._models.attached(found.kind, stored))

    # Operations run

    def _start(self, kind: Kind, stored: StoredOperation, request: Message, caller: Caller) -> None:
        async def run() -> None:
            CURRENT.set(caller)  # of this task's context alone
            try:
                await self._perform(kind, stored, request, caller)
            except Exception:  # of the store, or of a client that was closed
                log.exception(outcomes.LEFT, stored.id, extra={"operation_id": stored.id})

        task = self._task(run())
        self._handling[stored.id] = task
        task.add_done_callback(functools.partial(self._handled, stored.id))  # also where it is cancelled at once

    def _handled(self, operation_id: str, task: asyncio.Task[None]) -> None:
        del self._handling[operation_id]
        self._running.end(operation_id)

    async def _perform(self, kind: Kind, stored: StoredOperation, request: Message, caller: Caller) -> None:
        assert kind.function is not None
        try:
            found: Any = await kind.function(request)
            self._models.check_found(kind, found)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and caller.gone:  # not by itself
                raise
            if self._closed:
                return
            found = self._rules.failure(stored, error)
        # Its result is there: a cancellation that comes now does not keep the store from learning it.
        await asyncio.shield(self._task(self._performed(kind, stored, found)))

    async def _performed(self, kind: Kind, stored: StoredOperation, found: Any) -> None:
        if not self._models.give(found):
            await self._keep(stored, found)
        elif await self._noted(stored, found.id):
            self._follow(kind, stored._replace(model_operation_id=found.id), found)
        else:  # it was cancelled meanwhile
            await self._stop(found)

    async def _keep(self, stored: StoredOperation, outcome: Message) -> None:
        """End an operation with its handler's own result, however often the store fails, within some time."""
        offers = Offers(stored)
        while True:
            try:
                await self._end(stored, outcome)
                return
            except Exception as error:
                pause = offers.pause(error, closed=self._closed)
            if pause is None:
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)

    async def _noted(self, stored: StoredOperation, model_operation_id: str) -> bool:
        """Store which operation of the model's another waits for; gives whether it still waits for one."""
        try:
            return await self._io(self._store.follow, stored.id, model_operation_id)
        except Exception:
            return outcomes.not_noted(stored, model_operation_id)

    def _follow(self, kind: Kind, stored: StoredOperation, operation: AsyncOperation[Any, Any]) -> None:
        """Have an operation ended with the model's."""
        self._followed.add(stored.id)
        with detached():
            operation.add_done_callback(lambda ended: self._settled(kind, stored, ended))

    def _settled(self, kind: Kind, stored: StoredOperation, operation: AsyncOperation[Any, Any]) -> None:
        """The model's operation has ended, or could not be waited for."""
        self._followed.discard(stored.id)
        if not self._closed:
            self._task(self._settle(kind, stored, operation))

    async def _settle(self, kind: Kind, stored: StoredOperation, operation: AsyncOperation[Any, Any]) -> None:
        try:
            found: Any = await operation.result(0)
        except Exception as error:
            found = error
        outcome = self._rules.settled(kind, stored, operation, functools.partial(_given, found))
        if outcome is not None:
            await self._end(stored, outcome)

    async def _end(self, stored: StoredOperation, outcome: Message) -> bool:
        ended = self._rules.ended(stored, outcome)
        return await self._io(self._store.end, ended.id, ended.proto, ended.modified)

    # Callers ask

    async def _found(self, operation_id: str, context: Any) -> StoredOperation:
        stored = await self._io(self._store.get, operation_id) if operation_id else None
        if stored is None or not self._rules.visible(stored):
            await context.abort(grpc.StatusCode.NOT_FOUND, outcomes.not_found(operation_id))
        assert stored is not None
        return stored

    async def _get(self, operation_id: str, context: Any) -> StoredOperation:
        stored = await self._found(operation_id, context)
        kind = self._rules.unfollowed(stored, self._followed)
        if kind is not None and not self._closed:
            self._follow(kind, stored, self._models.attached(kind, stored))
        return stored

    async def _cancel(self, operation_id: str, context: Any) -> StoredOperation:
        stored = await self._found(operation_id, context)
        ended = await asyncio.shield(self._task(self._cancelled(stored)))
        return ended if ended is not None else await self._found(operation_id, context)

    async def _cancelled(self, stored: StoredOperation) -> StoredOperation | None:
        """End an operation as cancelled, and what works for it; `None` where it had ended before."""
        if not await self._end(stored, self._rules.cancelled(stored)):
            return None
        self._running.leave(stored.id)
        if (task := self._handling.get(stored.id)) is not None:
            task.cancel()
        found = await self._io(self._store.get, stored.id)  # it may have got the model's operation in this moment
        if (models := self._models.to_stop(found)) is not None:
            await self._stop(models)
        return found

    async def _stop(self, operation: AsyncOperation[Any, Any]) -> None:
        """Ask the model to stop an operation whose result nobody gets."""
        try:
            with detached():  # the caller of the Cancel may have left
                await operation.cancel(timeout=outcomes.CANCEL_TIMEOUT)
        except YagrpcError as error:
            log.warning(outcomes.STILL_RUNS, operation.id, error, extra={"operation_id": operation.id})


class AsyncHandler:
    """A handler of an `AsyncOperationServicer`; `handler` there makes it.

    Args:
        servicer: The servicer.
        kind: How it works.
    """

    def __init__(self, servicer: AsyncOperationServicer, kind: Kind) -> None:
        self._servicer = servicer
        self._kind = kind

    async def submit(self, request: Message, *, description: str = "", metadata: Message | None = None) -> Any:
        """Run the handler in the background; gives the operation at once, once it is stored.

        Args:
            request: What the handler gets.
            description: What the operation is, for its callers.
            metadata: The metadata of the operation.
        """
        return await self._servicer._submit(self._kind, request, description, metadata)

    async def attach(
        self, operation: AsyncOperation[Any, Any], *, description: str = "", metadata: Message | None = None
    ) -> Any:
        """An operation that gets the result of the model's by the handler's `answer`, without running the handler.

        Args:
            operation: The model's operation, which was submitted before.
            description: What the operation is, for its callers.
            metadata: The metadata of the operation.

        Raises:
            RequestError: It is no operation of an `AsyncClient`.
        """
        return await self._servicer._attach(self._kind, operation, description, metadata)

    def __repr__(self) -> str:
        return f"<AsyncHandler {self._kind.name}>"


class _Service(_pb.operation_service_pb2_grpc.OperationServiceServicer):
    def __init__(self, servicer: AsyncOperationServicer) -> None:
        self._servicer = servicer

    async def Get(self, request: Any, context: Any) -> _pb.operation_pb2.Operation:
        stored = await self._servicer._get(request.operation_id, context)
        return _pb.operation_pb2.Operation.FromString(stored.proto)

    async def Cancel(self, request: Any, context: Any) -> _pb.operation_pb2.Operation:
        stored = await self._servicer._cancel(request.operation_id, context)
        return _pb.operation_pb2.Operation.FromString(stored.proto)


def _given(found: Any) -> Any:
    """A result, or the exception that was raised in place of one."""
    if isinstance(found, Exception):
        raise found
    return found
