"""What both clients are made of: settings, and requests turned into calls and flows.

Rules: no I/O; the environment is read here, once, when a client is made. A shell adds channels, waiting and nothing
else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import grpc
import grpc.aio

from yagrpc import _pb, config, methods
from yagrpc._core import calls_log
from yagrpc._core import send as sending
from yagrpc._core.auth.authorization import Authorizer, asked, credential_pairs
from yagrpc._core.auth.exchange import audience, exchange
from yagrpc._core.auth.tokens import Tokens
from yagrpc._core.call.metadata import given_metadata, new_request_id
from yagrpc._core.call.parameters import CallParameters, CompletionParameters, ModelParameters
from yagrpc._core.call.requests import ASYNC_COMPLETION, AsyncRequestStream, RequestStream, checked_request
from yagrpc._core.endpoints import Directory
from yagrpc._core.flow import AnyMethod, Block, Call, Effect, Flow, Metadata
from yagrpc._core.outage import Outage
from yagrpc._core.quota.gates import Gates, Limit, Limits
from yagrpc._core.routes import Route, route_of
from yagrpc._grpc.deserializers import Unreadable, result_error, unreadable
from yagrpc._grpc.options import MessageLimits, merged_options
from yagrpc.config import Polling, Quota
from yagrpc.credentials import Credentials, NoCredentials, resolve_credentials
from yagrpc.errors import (
    ClientClosedError,
    ConfigError,
    OperationError,
    RequestError,
    ResultError,
    YagrpcError,
)
from yagrpc.ids import Answer

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc.messages import MessagesInput

RequestT = TypeVar("RequestT", bound="Message")
ResultT = TypeVar("ResultT")

MODEL: Final = "yandexgpt"
"""The model where none is given."""

LONGEST_TIMEOUT: Final = 10 * 365 * 24 * 3600.0
"""Seconds; what is longer overflows the clocks of gRPC and of threads, and is taken for this."""

_CALL_PARAMETERS: Final = frozenset(CallParameters.__annotations__)
_WITHOUT_CREDENTIALS: Final = frozenset(
    {
        "/yandex.cloud.iam.v1.IamTokenService/Create",
        "/yandex.cloud.endpoint.ApiEndpointService/Get",
        "/yandex.cloud.endpoint.ApiEndpointService/List",
    }
)
"""Calls that the service documents as unauthenticated."""

log = logging.getLogger("yagrpc")
log.addHandler(logging.NullHandler())
operations_log = logging.getLogger("yagrpc.operations")


class ClientCore:
    """One client's settings, and the flows of its calls. The arguments are those of `yagrpc.Client`."""

    def __init__(
        self,
        *,
        folder_id: str | None,
        credentials: Credentials | str | None,
        model: str,
        endpoint: str | None,
        operation_endpoint: str | None,
        plaintext: bool,
        root_certificates: bytes | None = None,
        endpoints: Mapping[str, str] | None,
        quota: Quota | None,
        polling: Polling,
        data_logging: bool | None,
        channel_options: Iterable[tuple[str, Any]] = (),
        host_channels: Iterable[str] = (),
    ) -> None:
        quota, polling = config.check_settings(quota, polling, endpoints, plaintext, model, data_logging)
        self.endpoints, emulator = config.resolve_endpoints(endpoint, operation_endpoint, plaintext=plaintext)
        config.check_root_certificates(root_certificates, plaintext=self.endpoints.plaintext)
        self.root_certificates = root_certificates
        self.directory = Directory(self.endpoints, endpoints or {})
        self.folder_id = config.resolve_folder(folder_id)
        if emulator:
            # A credential has no business on an emulator, and none need be set to use one.
            self.credentials: Credentials = NoCredentials()
            self.folder_id = self.folder_id or "emulator"
        else:
            self.credentials = resolve_credentials(credentials)
        self.model = model
        self.quota = quota
        self.gates = Gates(quota)
        self._routes: dict[AnyMethod, Route] = {}
        self.polling = polling
        self.data_logging = data_logging
        self.clock = time.monotonic
        self.options = merged_options(channel_options)
        self.message_limits = MessageLimits(self.options)
        self.host_channels = frozenset(host_channels)
        self.outage = Outage()
        self.wall = time.time
        self.authorizer: Authorizer | None = None
        self._fixed_pairs: tuple[tuple[str, str], ...] = ()
        if self.credentials.fixed:
            self._fixed_pairs = credential_pairs(self.credentials, asked(self.credentials), self.folder_id)
        else:
            tokens = Tokens(
                self.credentials,
                exchange=lambda identity: exchange(self, identity),
                audience=lambda: audience(self),
                clock=lambda: self.clock(),
                wall=lambda: self.wall(),
            )
            self.authorizer = Authorizer(tokens, self.folder_id, lambda: self.clock())

    def endpoint_of(self, method: AnyMethod) -> str:
        """Where a method is served, as `host:port`.

        Raises:
            ConfigError: Its endpoint is not known (yet: `flow` and `connection` look it up).
        """
        return self.directory.address(method.service)

    def completion_request(
        self, messages: MessagesInput, parameters: CompletionParameters, *, stream: bool = False
    ) -> tuple[_pb.text_generation_service_pb2.CompletionRequest, CallParameters]:
        """The request of a completion, and the parameters of its call."""
        from yagrpc.messages import completion_request  # with the protos, at the first use

        shaping, calling = _split(parameters)
        if "stream" in shaping:
            raise RequestError("stream", shaping["stream"], "leave it out: only completion_stream() streams")
        shaping.setdefault("model", self.model)
        return completion_request(messages, folder_id=self.folder_id, stream=stream, **shaping), calling

    def tokenize_request(
        self, text: str, parameters: ModelParameters
    ) -> tuple[_pb.text_generation_service_pb2.TokenizeRequest, CallParameters]:
        """The request to count a text's tokens, and the parameters of its call."""
        from yagrpc.messages import tokenize_request  # with the protos, at the first use

        shaping, calling = _split(parameters)
        shaping.setdefault("model", self.model)
        return tokenize_request(text, folder_id=self.folder_id, **shaping), calling

    def call(
        self,
        method: AnyMethod,
        request: Message | RequestStream | AsyncRequestStream,
        parameters: CallParameters,
        timeout: float | None = config.SUBMIT_TIMEOUT,
        operation_id: str = "",
        *,
        named: bool = True,
    ) -> Call[Any, Any]:
        """A call of a method, with its metadata.

        Args:
            method: Which rpc.
            request: Its request, or the stream of them; a message of another pool is taken by its full name.
            parameters: What the caller gave.
            timeout: Seconds, where the caller gave none.
            operation_id: The operation that it is about, for its errors.
            named: Whether the ids of its answer will be read.

        Raises:
            RequestError: The request is another message, or a parameter can't be sent.
        """
        # What every call of the usual kind does, without a function of its own: it is a twentieth of a call's cost.
        usual = type(request) is method.request_type and method.path != ASYNC_COMPLETION
        if not usual and not isinstance(request, (RequestStream, AsyncRequestStream)):
            request = checked_request(method, request)
        if parameters:
            if not parameters.keys() <= _CALL_PARAMETERS:
                unknown = min(parameters.keys() - _CALL_PARAMETERS)
                raise TypeError(f"{method.name}() got an unexpected keyword argument {unknown!r}")
            timeout = checked_timeout(parameters.get("timeout", timeout))
        client_request_id = parameters.get("request_id") or new_request_id()
        metadata = self._metadata(method, parameters, client_request_id)
        resubmit = bool(parameters.get("resubmit", False))
        named = named or calls_log.wanted()
        awaited = self.authorizer is not None and method.path not in _WITHOUT_CREDENTIALS
        given = awaited and any(key == "authorization" for key, _ in metadata)
        authorization = "" if awaited and not given else None
        return Call(method, request, timeout, metadata, client_request_id, operation_id, authorization, resubmit, named)

    def flow(self, call: Call[Any, Any]) -> Flow[Any]:
        """The flow that a call of its kind needs; of a method that streams responses it opens the stream."""
        if self.authorizer is not None and call.authorization is not None:
            return self.authorizer.authorized(call, lambda: self._flow(call))
        return self._flow(call)

    def look(self, call: Call[Any, Any]) -> Flow[_pb.operation_pb2.Operation]:
        """The flow of one Get of the scheduler's."""
        if self.authorizer is not None and call.authorization is not None:
            flow = self.authorizer.authorized(call, lambda: sending.look(self._attempts(call)))
        else:
            flow = sending.look(self._attempts(call))
        return self.outage.watched(flow)

    def _flow(self, call: Call[Any, Any]) -> Flow[Any]:
        route = self._routes.get(call.method) or self._route(call.method)
        if route is None:
            return self._found(call)
        return route.flow(call, self.clock)

    def _route(self, method: AnyMethod) -> Route | None:
        """How calls of a method go, kept for the next; `None` while its endpoint is not known."""
        if not self.directory.knows(method.service):
            return None
        route = self._routes[method] = route_of(method, self._way(method), self.gates)
        return route

    def forked(self) -> None:
        """In a forked child: the places in the queues, and the locks, are the parent's."""
        self.gates.forked()
        self.gates = Gates(self.quota)
        self._routes = {}

    def limits(self, gets: tuple[float | None, int, int | None, int]) -> Limits:
        """What is used of each quota, and what is left; that of Gets is the scheduler's."""
        return self.gates.used(self.clock(), Limit(*gets))

    def _attempts(self, call: Call[Any, Any]) -> sending.Attempts:
        return sending.Attempts(call, self._way(call.method), self.clock)

    def _way(self, method: AnyMethod) -> sending.Way:
        own = self.role_of(method) not in self.host_channels
        return sending.Way(self.endpoint_of(method), self.message_limits.send if own else -1, own)

    def _found(self, call: Call[Any, Any]) -> Flow[Any]:
        deadline = None if call.timeout is None else self.clock() + call.timeout
        yield from self._discover(call)
        if deadline is not None:
            call.timeout = max(0.0, deadline - self.clock())
        return (yield from self._flow(call))

    def _discover(self, call: Call[Any, Any]) -> Flow[None]:
        """Ask for the endpoints of all services, once, and find the call's among them.

        Raises:
            ConfigError: It is not there.
            CallError: The discovery itself failed.
        """
        if not self.directory.discovered:
            request = _pb.api_endpoint_service_pb2.ListApiEndpointsRequest()
            timeout: CallParameters = {"timeout": call.timeout, "request_id": call.client_request_id}
            listing = self.call(methods.ApiEndpointService.List, request, timeout)
            response = yield from sending.read(self._attempts(listing))
            self.directory.learn((endpoint.id, endpoint.address) for endpoint in response.endpoints)
        self.directory.address(call.method.service)

    def get_call(self, operation_id: str) -> Call[Any, _pb.operation_pb2.Operation]:
        """The call that looks at an operation; the scheduler decides when, and what its failure means."""
        request = _pb.operation_service_pb2.GetOperationRequest(operation_id=operation_id)
        return self.call(methods.OperationService.Get, request, {}, config.GET_TIMEOUT, operation_id, named=False)

    def get_failure(self, error: Exception, operation_id: str) -> YagrpcError:
        """A failure to look at an operation, as one of ours: whatever it was, those who wait are told."""
        failure = told(error)
        if isinstance(failure, ConfigError):
            text = f"the operation is still running, but its Get could not be sent: {failure.message}"
            unknown = ConfigError(text, operation_id=operation_id).with_context(**failure.context)
            unknown.__cause__ = failure.__cause__ or failure
            return unknown
        if isinstance(failure, YagrpcError):
            return failure
        unsent = OperationError(operation_id, f"its Get could not be sent: {error}")
        unsent.__cause__ = error
        return unsent

    def made(self, make: Callable[[Any], ResultT], answer: Any, call: Call[Any, Any]) -> ResultT:
        """What the caller gets for a message, with the ids of its call.

        Raises:
            MessageTooLargeError: It is over the client's limit.
            ResultError: It does not parse, or holds no result.
        """
        if isinstance(answer, Unreadable):
            raise unreadable(answer, call, self.endpoint_of(call.method), 1)
        try:
            result = make(answer)
        except ResultError as error:
            error.with_context(method=call.method.path, **call.ids._asdict())
            raise
        if isinstance(result, Answer):
            result.ids = call.ids
        return result

    def no_answer(self, call: Call[Any, Any]) -> ResultError:
        """The error of a call that ended well, without an answer."""
        return result_error("the service answered without a completion", call)

    def raise_broken(self, error: grpc.RpcError, call: Call[Any, Any]) -> NoReturn:
        """Raise the failure of a stream that had begun, or what went wrong in the caller's own stream of requests."""
        self.raise_request_error(call)
        sending.raise_broken(error, call, self._way(call.method))

    def raise_request_error(self, call: Call[Any, Any]) -> None:
        """Raise what went wrong in the caller's own stream of requests, if anything did: gRPC only cancels the call."""
        if isinstance(call.request, (RequestStream, AsyncRequestStream)) and call.request.error is not None:
            raise call.request.error

    def role_of(self, method: AnyMethod) -> str:
        """Which of the host's channels serves a method, `operation` or `model`; or `iam`, which none does."""
        if method.service.startswith("yandex.cloud.iam."):
            return "iam"
        return "operation" if method.service.startswith("yandex.cloud.operation.") else "model"

    def submitted(self, call: Call[Any, Any], operation: _pb.operation_pb2.Operation) -> None:
        """Record that an operation was accepted: from here on its id can be found again in the log.

        Raises:
            ResultError: The service gave no id.
        """
        if not operation.id:
            raise result_error("the service accepted the request and gave no operation id", call)
        operations_log.info(
            "operation %s accepted by %s (client request id %s)",
            operation.id,
            call.method.service,
            call.client_request_id,
            extra={"operation_id": operation.id, "client_request_id": call.client_request_id},
        )

    def _metadata(self, method: AnyMethod, parameters: CallParameters, client_request_id: str) -> Metadata:
        ours: Metadata = (("x-client-request-id", client_request_id),)
        if self._fixed_pairs and method.path not in _WITHOUT_CREDENTIALS:
            ours += self._fixed_pairs
        logging_wanted = parameters.get("data_logging", self.data_logging) if parameters else self.data_logging
        if logging_wanted is not None:
            ours += (("x-data-logging-enabled", "true" if logging_wanted else "false"),)
        given = given_metadata(parameters) if parameters else ()
        if not given:
            return ours
        taken = {key for key, _ in given}
        return (*(pair for pair in ours if pair[0] not in taken), *given)


def told(error: BaseException, effect: Effect | None = None) -> BaseException:
    """What a shell raises for an effect, with gRPC's two ways to say that a channel is closed made ours.

    They have no class of their own, and an interceptor or what a `Block` runs is anybody's code: so gRPC's word for it
    has to be there, and a `Block` is left alone.
    """
    if isinstance(effect, Block) or isinstance(error, YagrpcError):
        return error
    if isinstance(error, (ValueError, grpc.aio.UsageError)) and "closed" in str(error):
        closed = ClientClosedError()
        closed.__cause__ = error
        return closed
    return error


def check_operation_id(operation_id: str) -> str:
    """An operation's id, checked for what can be sent.

    Raises:
        RequestError: It is empty or no printable text; the shape of ids is not documented, so nothing else is checked.
    """
    text = isinstance(operation_id, str) and operation_id.isprintable() and operation_id == operation_id.strip()
    if not text or not operation_id:
        raise RequestError("operation_id", operation_id, "it takes the id that the submit gave, such as 'd7q...'")
    return operation_id


def _split(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], CallParameters]:
    """Parameters that shape the request, and those of the call."""
    shaping = {key: value for key, value in parameters.items() if key not in _CALL_PARAMETERS}
    calling: Any = {key: value for key, value in parameters.items() if key in _CALL_PARAMETERS}
    return shaping, calling


def checked_timeout(timeout: float | None) -> float | None:
    """A timeout, checked.

    Raises:
        RequestError: It is neither seconds nor `None`.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise RequestError("timeout", timeout, "it takes seconds, 0 or more, or None for no limit")
    return min(timeout, LONGEST_TIMEOUT)
