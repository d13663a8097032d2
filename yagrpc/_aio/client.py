"""`AsyncClient`: the asyncio client."""

from __future__ import annotations

import sys
import warnings
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from yagrpc import _pb
from yagrpc._aio.methods import Methods
from yagrpc._aio.primitives import Pollers
from yagrpc._aio.transport import AsyncTransport
from yagrpc._core.call.parameters import check_parameters, checked_timeout
from yagrpc._core.call.requests import AsyncRequestStream, check_operation_id, checked_ids
from yagrpc._core.client import MODEL, ClientCore
from yagrpc._core.operation.result import attached_type, itself
from yagrpc._grpc.environment import warn_of_trace
from yagrpc._grpc.fork import renew_after_fork
from yagrpc._grpc.options import ChannelOptions, host_channels
from yagrpc._grpc.runtime import RUNTIME
from yagrpc._services.text import completion_type
from yagrpc.config import Polling, Quota, refuse_unknown
from yagrpc.hiding import SecretMapping, hidden
from yagrpc.limiter import hidden_share, limiter_of
from yagrpc.method import BidiStreamMethod, ClientStreamMethod, OperationMethod, StreamMethod, UnaryMethod
from yagrpc.named import checked_method
from yagrpc.pickling import Unpicklable
from yagrpc.signatures import explicit_parameters, shown_settings

if TYPE_CHECKING:
    import grpc.aio
    from google.protobuf.message import Message
    from typing_extensions import Never, Self, Unpack

    from yagrpc._aio.operation import AsyncOperation
    from yagrpc._aio.stream import AsyncStream
    from yagrpc._core.call.parameters import CallParameters
    from yagrpc._core.events import Events
    from yagrpc._core.quota.grants import OnFailure
    from yagrpc.credentials import Credentials
    from yagrpc.limiter import ShareInput
    from yagrpc.quantities import Seconds
    from yagrpc.quotas import QuotaUse
    from yagrpc.results import Completion

RequestT = TypeVar("RequestT", bound="Message")
ResponseT = TypeVar("ResponseT", bound="Message")
MetadataT = TypeVar("MetadataT")


class AsyncClient(Unpicklable, Methods):
    """A client of Yandex Cloud Foundation Models for asyncio; one event loop, any number of its tasks.

    Args:
        folder_id: The folder that short model names belong to; by default `YC_FOLDER_ID`.
        credentials: `ApiKey`, `IamToken`, `ServiceAccountKey`, `MetadataService`, ..., or a string whose kind is plain;
            by default the first of `YC_API_KEY`, `YC_IAM_TOKEN`, `YC_OAUTH_TOKEN`, `YC_SERVICE_ACCOUNT_KEY_FILE`, the
            metadata service, `YC_TOKEN` and the `yc` command. The first call checks the last three.
        model: The model where a call names none.
        endpoint: The model service, `host:port`.
        operation_endpoint: The operation service, `host:port`; with `plaintext`, by default the same as `endpoint`.
        plaintext: Without TLS, to loopback only.
        root_certificates: What to trust in place of gRPC's own list of authorities, as PEM.
        endpoints: Further services' endpoints, by a service's full name or the beginning of it. The public cloud's are
            known; `yandex.cloud.endpoint` names the discovery of another installation, which is then asked for them.
        channel: A channel of the host's own to the model service; it is not closed.
        operation_channel: The same to the operation service.
        interceptors: `grpc.aio` client interceptors for every channel that the client opens.
        channel_options: Options of the channels that the client opens; one replaces yagrpc's own of the same key. None
            makes a plaintext channel use a proxy.
        quota: How much of the service's quotas to use: calls wait for their turn; `None` for no limit.
        polling: How often one operation is polled.
        data_logging: `False` asks the service not to store requests and answers, which it does by default.
        events: Objects derived from `yagrpc.Events`, which learn what happens to calls and operations: one, or several.
        strict: Whether a completion that the model did not finish is an `IncompleteCompletionError`: the content filter
            stopped it, or it was cut off. By default it is a result, with `filtered` or `truncated`.
        share: Where the quotas are counted for all processes that use the folder: `auto` (a file below the user's
            cache), the path of a file, or `redis://host:6379/0`; by default what `YAGRPC_SHARE` says, and else this
            client counts for itself.
        on_limiter_failure: What happens while the place that `share` names can't be reached: `local` counts here, with
            an equal part of each quota for each process that was there last; `error` fails the calls.

    Raises:
        ConfigError: Settings are missing or cannot work, or gRPC cannot work in this process (gevent); nothing is sent
            before the first call.

    Where the environment has `YAGRPC_EMULATOR_HOST`, and no endpoint is given, everything goes there, in plaintext
    and without credentials.
    """

    @shown_settings
    def __init__(
        self,
        *,
        folder_id: str | None = None,
        credentials: Credentials | str | None = None,
        model: str = MODEL,
        endpoint: str | None = None,
        operation_endpoint: str | None = None,
        plaintext: bool = False,
        root_certificates: bytes | None = None,
        endpoints: Mapping[str, str] | None = None,
        channel: grpc.aio.Channel | None = None,
        operation_channel: grpc.aio.Channel | None = None,
        interceptors: Sequence[Any] = (),
        channel_options: Iterable[tuple[str, Any]] = (),
        quota: Quota | None = Quota(),
        polling: Polling = Polling(),
        data_logging: bool | None = None,
        events: Events | Iterable[Events] | None = None,
        strict: bool = False,
        share: ShareInput = None,
        on_limiter_failure: OnFailure = "local",
        **unknown: Never,
    ) -> None:
        credentials, share = hidden(credentials), hidden_share(share)
        refuse_unknown(self, unknown)
        options = ChannelOptions(channel_options)
        warn_of_trace()
        own = {"channel": channel, "operation_channel": operation_channel, "interceptors": interceptors}
        self._own = tuple(name for name, value in own.items() if value)
        shared: dict[str, Any] = {
            "folder_id": folder_id,
            "credentials": credentials,
            "model": model,
            "endpoint": endpoint,
            "operation_endpoint": operation_endpoint,
            "plaintext": plaintext,
            "root_certificates": root_certificates,
            "endpoints": endpoints,
            "quota": quota,
            "polling": polling,
            "data_logging": data_logging,
            "strict": strict,
        }
        self._core = ClientCore(
            RUNTIME,
            **shared,
            events=events,
            send_limit=options.send_limit,
            host_channels=host_channels(channel, operation_channel),
            proxy_of=options.proxy_of,
            limiter_of=limiter_of(share, on_limiter_failure),
        )
        others = {"channel_options": options.given, "events": self._core.events.given}  # what iterables gave
        limiting = {"share": share, "on_limiter_failure": on_limiter_failure}
        self._settings = SecretMapping({**shared, **others, **limiting})
        self._transport = AsyncTransport(self._core, options, channel, operation_channel, interceptors)
        self._pollers = Pollers(self._core, self._transport)
        renew_after_fork(self)
        self._core.events.client_opened(self)

    def forked(self) -> None:
        """Called in a forked child: calls there open connections of their own."""
        self._core.forked()
        self._transport.forked()
        self._pollers.forked()

    @overload
    def operation(self, operation_id: str) -> AsyncOperation[Completion]: ...
    @overload
    def operation(self, operation_id: str, result: type[ResponseT]) -> AsyncOperation[ResponseT, Message]: ...
    @overload
    def operation(
        self, operation_id: str, result: OperationMethod[Any, ResponseT, MetadataT]
    ) -> AsyncOperation[ResponseT, MetadataT]: ...
    def operation(
        self, operation_id: str, result: type[Message] | OperationMethod[Any, Any, Any] | None = None
    ) -> AsyncOperation[Any, Any]:
        """An operation that was submitted before, perhaps by another process. Asks nothing yet.

        Args:
            operation_id: Its id.
            result: What it resolves to: a message class, or the method that created it; by default a completion.

        Raises:
            RequestError: The id is empty, or the type is none.
        """
        from yagrpc._aio.operation import AsyncOperation

        declared = completion_type(None, self._core) if result is None else attached_type(result)
        return AsyncOperation(self, _pb.operation_pb2.Operation(id=check_operation_id(operation_id)), declared)

    async def poll(
        self, operation_ids: Iterable[str], *, timeout: Seconds | None = None
    ) -> list[AsyncOperation[Completion]]:
        """Poll each of several operations once, under the quota of Gets, and give those that have ended.

        It waits for no operation: for a scheduler, or a job that runs every minute, with ids from a database.

        Args:
            operation_ids: Their ids; an id that comes twice is polled once.
            timeout: Seconds, or a `timedelta`, for all of them; `None` for as long as the quota takes. Those that were
                not polled within it are not given.

        Returns:
            The operations that have ended, in the order of their ids. `result(0)` of each gives the outcome without
            another Get, or raises why there is none, such as `OperationNotFoundError`. One whose Get was refused is
            given too, and may still run: `result(0)` raises the `CallError`, such as a `PermissionDeniedError`.

        Raises:
            RequestError: An id can't be sent, or what is given is a single one.
            YagrpcError: Every Get failed.
        """
        operations = [self.operation(each) for each in checked_ids(operation_ids)]
        await self._poller.poll_each(operations, checked_timeout(timeout))
        return [operation for operation in operations if operation.caught_up()]

    @overload
    def call(
        self,
        method: UnaryMethod[RequestT, ResponseT],
        request: RequestT | Mapping[str, Any],
        **parameters: Unpack[CallParameters],
    ) -> Coroutine[Any, Any, ResponseT]: ...
    @overload
    def call(
        self,
        method: StreamMethod[RequestT, ResponseT],
        request: RequestT | Mapping[str, Any],
        **parameters: Unpack[CallParameters],
    ) -> AsyncStream[ResponseT]: ...
    @overload
    def call(
        self,
        method: OperationMethod[RequestT, ResponseT, MetadataT],
        request: RequestT | Mapping[str, Any],
        **parameters: Unpack[CallParameters],
    ) -> Coroutine[Any, Any, AsyncOperation[ResponseT, MetadataT]]: ...
    @overload
    def call(
        self,
        method: ClientStreamMethod[RequestT, ResponseT],
        request: Iterable[RequestT] | AsyncIterable[RequestT],
        **parameters: Unpack[CallParameters],
    ) -> Coroutine[Any, Any, ResponseT]: ...
    @overload
    def call(
        self,
        method: BidiStreamMethod[RequestT, ResponseT],
        request: Iterable[RequestT] | AsyncIterable[RequestT],
        **parameters: Unpack[CallParameters],
    ) -> AsyncStream[ResponseT]: ...
    @overload
    def call(self, method: str, request: Message | Mapping[str, Any], **parameters: Unpack[CallParameters]) -> Any: ...
    @explicit_parameters
    def call(self, method: Any, request: Any, **parameters: Unpack[CallParameters]) -> Any:
        """Call any method of `yagrpc.methods`, or by its name; await what it gives, or iterate it.

        Args:
            method: The method, or the name of one of `yagrpc.methods`, such as `"TokenizerService/Tokenize"`; type
                checkers know no result of a name. A long-running method gives an `AsyncOperation` of its response
                message, one that streams its answer an `AsyncStream`, which is not awaited.
            request: Its request, or an iterable of them where the method streams them, which may be asynchronous.
                A message of the same full name from another package is taken too, and a dict as the API's JSON.
            **parameters: See `CallParameters`.

        Raises:
            RequestError: There is no such method, or the request is another message.
            CallError: The service refused, or could not be reached.
            AmbiguousSubmitError: A long-running call failed after it may have reached the service.
        """
        if parameters:
            check_parameters("call", parameters)
        method = checked_method(method)
        if not isinstance(method, UnaryMethod):
            if isinstance(method, (ClientStreamMethod, BidiStreamMethod)):
                request = AsyncRequestStream(method, request)
            if isinstance(method, (StreamMethod, BidiStreamMethod)):
                return self._stream(method, request, parameters, itself)
        return self._call(method, request, parameters)

    @property
    def limits(self) -> QuotaUse:
        """What this client has used of each quota by now, and what is left: `client.limits.submit_per_hour.left`."""
        return self._core.limits(self._pollers.gets())

    async def close(self) -> None:
        """End everything that is under way and close the channels that the client opened. Closing twice does nothing.

        Operations continue to run; a wait for one of them ends with a `ClientClosedError` that has the operation's id.
        """
        try:
            await self._poller.close()
        finally:
            await self._transport.close()

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:  # at the end, modules have lost `sys`
        # As an open file does; nothing can be awaited here, so the channels stay open.
        if hasattr(self, "_pollers") and not ending() and self._transport.leaked():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
