"""The composition root of both clients: settings become the parts that a call needs, and arguments become calls.

Rules: no I/O, no clock, no threads and no random numbers: `Runtime` hands them in. The environment is read here, once,
when a client is created. What happens to a call is in `send`; what a shell adds is channels and waiting.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from yagrpc import _pb, config, methods
from yagrpc._core.auth.authorization import Authorizer, asked, credential_pairs
from yagrpc._core.call.call import Call, Metadata
from yagrpc._core.call.metadata import given_metadata, given_request_id
from yagrpc._core.call.parameters import CallParameters, checked_timeout
from yagrpc._core.call.policy import POLL, Policy, policy_of
from yagrpc._core.call.requests import (
    ASYNC_COMPLETION,
    AsyncRequestStream,
    RequestStream,
    checked_request,
    request_error,
)
from yagrpc._core.deadline import Deadline
from yagrpc._core.endpoints.directory import Directory
from yagrpc._core.events import Events
from yagrpc._core.failure.final import another_operation, broken_stream, no_result
from yagrpc._core.failure.sizes import Unreadable, unreadable_error
from yagrpc._core.failure.status import RpcStatus
from yagrpc._core.polling.reading import poll_failure
from yagrpc._core.ports import Route
from yagrpc._core.quota.gates import Gates
from yagrpc._core.reporting.calls import OpenCall, reported
from yagrpc._core.reporting.logs import hub_of
from yagrpc._core.send import send_call
from yagrpc.config import Polling, Quota
from yagrpc.context import CURRENT
from yagrpc.credentials import Credentials, NoCredentials, check_credentials, resolve_credentials
from yagrpc.credentials.base import FETCH_TIMEOUT
from yagrpc.errors import ClientClosedError, ResultError, YagrpcError
from yagrpc.errors.base import own_copy
from yagrpc.hiding import hidden
from yagrpc.ids import Answer, new_request_id

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from yagrpc._core.flow import Flow, Jobs
    from yagrpc._core.quota.grants import Grants, Limiter
    from yagrpc._core.runtime import Runtime
    from yagrpc.context import Caller
    from yagrpc.method import AnyMethod
    from yagrpc.quotas import QuotaUse

ErrorT = TypeVar("ErrorT", bound=YagrpcError)
ResultT = TypeVar("ResultT")

MODEL: Final = "yandexgpt"
"""The model where none is given."""


class ClientCore:
    """One client's parts, and the calls and flows that it makes of them.

    Args:
        runtime: Clocks, random numbers and locks.
        send_limit: The largest request that the client's own channels send, in bytes; -1 for any.
        host_channels: The endpoints, of `Policy.endpoint`, that have a channel of the host's.
        proxy_of: The proxy of a channel with TLS to an endpoint; empty where there is none.
        limiter_of: Makes what shares the quotas of a folder with other processes; `None` where nothing does.
        **settings: The arguments of `yagrpc.Client` of the same names.

    Attributes:
        emulated: Whether all calls go to the emulator that `YAGRPC_EMULATOR_HOST` names.
        given: The settings that were given as arguments, of those that the environment or a default may give too.
    """

    def __init__(
        self,
        runtime: Runtime,
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
        events: Events | Iterable[Events] | None = None,
        strict: bool = False,
        send_limit: int = config.MESSAGE_LIMIT,
        host_channels: Iterable[str] = (),
        proxy_of: Callable[[str], str] = lambda endpoint: "",
        limiter_of: Callable[[str | None, Quota | None], Limiter | None] = lambda folder, quota: None,
    ) -> None:
        credentials = hidden(credentials)
        quota, polling = config.check_settings(quota, polling, endpoints, plaintext, model, data_logging, strict)
        self.endpoints, emulator = config.resolve_endpoints(endpoint, operation_endpoint, plaintext=plaintext)
        self.emulated = emulator
        self._forbidding = config.forbids_service(emulator=emulator)
        self._host_channels = frozenset(host_channels)
        if "model" not in self._host_channels:
            self._forbidding.check(self.endpoints.model)
        given = {"folder_id": folder_id, "credentials": credentials, "endpoint": endpoint}
        given["operation_endpoint"] = operation_endpoint
        self.given = frozenset(name for name, value in given.items() if value is not None)
        plaintext = self.endpoints.plaintext
        self.root_certificates = config.check_root_certificates(root_certificates, plaintext=plaintext)
        self.directory = Directory(self.endpoints, endpoints or {}, hosted="model" in self._host_channels)
        self.folder_id = config.resolve_folder(folder_id)
        if emulator:
            # No credential is sent to an emulator, and an emulator needs none.
            self.credentials: Credentials = NoCredentials()
            self.folder_id = self.folder_id or "emulator"
        else:
            self.credentials = resolve_credentials(credentials)
            check_credentials(self.credentials)
        self.runtime = runtime
        self.clock = runtime.clock
        self.wall = runtime.wall
        self.model = model
        self.quota = quota
        self.polling = polling
        self.data_logging = data_logging
        self.strict = strict
        self.events = hub_of(events, texts=config.logs_texts)
        self._limiter = limiter_of(self.folder_id, quota)
        self._user = object()  # as which it uses its gates
        self.gates = Gates(quota, runtime.make_lock, self.grants, self._user)
        self.routes: dict[AnyMethod, Route] = {}
        self._rpcs: dict[AnyMethod, tuple[Policy, type[Message], Metadata]] = {}
        self._send_limit = send_limit
        self._proxy_of = proxy_of
        self._fixed_pairs: Metadata = ()
        self.authorizer: Authorizer | None = None
        if self.credentials.fixed:
            self._fixed_pairs = credential_pairs(self.credentials, asked(self.credentials), self.folder_id)
        else:
            from yagrpc._core.auth.exchange import audience, exchange  # an API key is sent as it is
            from yagrpc._core.auth.tokens import Tokens

            tokens = Tokens(
                self.credentials,
                exchange=lambda identity: exchange(identity, self._send_identity, lambda: self.wall()),
                audience=lambda: audience(self.endpoint_of(methods.IamTokenService.Create)),
                clock=lambda: self.clock(),
                wall=lambda: self.wall(),
                jitter=self.jitter,
            )
            self.authorizer = Authorizer(tokens, self.folder_id)

    def call(
        self,
        method: AnyMethod,
        request: Message | RequestStream | AsyncRequestStream,
        parameters: CallParameters,
        operation_id: str = "",
        *,
        wants_ids: bool = True,
    ) -> Call[Any, Any]:
        """A call of a method, with its metadata.

        Args:
            method: Which rpc.
            request: Its request, or the stream of them; a message of another pool is taken by its full name.
            parameters: What the caller gave.
            operation_id: The operation that it is about, for its errors.
            wants_ids: Whether the ids of its answer will be read.

        Raises:
            RequestError: The request is another message, or a parameter can't be sent.
        """
        # What most calls need is written out here: each function that it would be in adds to the cost of every call.
        policy, request_type, pairs = self._rpcs.get(method) or self._rpc(method)
        usual = type(request) is request_type and method.path != ASYNC_COMPLETION
        if not usual and not isinstance(request, (RequestStream, AsyncRequestStream)):
            request = checked_request(method, request)
        timeout = policy.timeout
        client_request_id, resubmit, caller, deadline = "", False, CURRENT.get(), None
        if parameters:
            timeout = checked_timeout(parameters.get("timeout", timeout))
            client_request_id, resubmit = given_request_id(parameters), bool(parameters.get("resubmit", False))
        if caller is not None:
            client_request_id = client_request_id or caller.request_id
            if "timeout" not in parameters and (left := caller.left()) is not None:
                timeout, deadline = left, Deadline(left, self.clock)
        client_request_id = client_request_id or new_request_id()
        metadata: Metadata = (("x-client-request-id", client_request_id), *pairs)
        if parameters or caller is not None or self.data_logging is not None:
            metadata = self._metadata(metadata, parameters, caller)
        needs_token = self.authorizer is not None and policy.credential
        needs_token = needs_token and all(key != "authorization" for key, _ in metadata)
        watched = self.events.wants_attempts()
        call: Call[Any, Any] = Call(
            method,
            policy,
            request,
            timeout,
            metadata,
            client_request_id,
            operation_id,
            needs_token,
            resubmit,
            wants_ids or watched,
            watched,
        )
        call.queues = "timeout" not in parameters and deadline is None
        call.caller, call.deadline = caller, deadline
        return call

    def send(self, call: Call[Any, Any]) -> Flow[Any]:
        """The flow of a call; of a method that streams responses it opens the stream."""
        flow = send_call(call, self)
        return reported(call, flow, self.events) if self.events.calls else flow

    def each(
        self,
        make: Callable[[Any], ResultT],
        method: AnyMethod,
        requests: Iterable[Message],
        parameters: CallParameters,
        name: str | None,
    ) -> Jobs[ResultT]:
        """One unary call for each request, created when it is asked for, with the flow that gives its result.

        A timeout that the caller gave is over all of them. The default one is each call's own, and starts when the
        call has its slot under the quota, as that of every call.

        Args:
            make: Makes the result of an answer.
            method: Which rpc.
            requests: Its requests.
            parameters: What the caller gave.
            name: What the caller calls the requests, for errors: `texts` gives `texts[3]`; `None` where there is one.

        Raises:
            RequestError: A request or a parameter can't be sent.
        """
        given = "timeout" in parameters
        deadline = Deadline(checked_timeout(parameters["timeout"]), self.clock) if given else None

        def job(index: int, request: Message) -> tuple[Call[Any, Any], Flow[ResultT]]:
            call = self.call(method, request, parameters)
            call.deadline = deadline or call.deadline
            return call, self._one_of_several(make, call, "" if name is None else f"{name}[{index}]")

        return itertools.starmap(job, enumerate(requests))

    def get_call(self, operation_id: str) -> Call[Any, _pb.operation_pb2.Operation]:
        """The call that polls an operation."""
        request = _pb.operation_service_pb2.GetOperationRequest(operation_id=operation_id)
        call = self.call(methods.OperationService.Get, request, {}, operation_id, wants_ids=False)
        call.policy = POLL
        return call

    def send_about(self, call: Call[Any, _pb.operation_pb2.Operation]) -> Flow[_pb.operation_pb2.Operation]:
        """The flow of a call about one operation, which the answer has to be about too.

        Raises:
            OperationResultError: It is about another one.
        """
        operation: _pb.operation_pb2.Operation = yield from self.send(call)
        if (refusal := another_operation(operation, call, self.endpoint_of(call.method))) is not None:
            raise refusal
        return operation

    def poll(self, call: Call[Any, _pb.operation_pb2.Operation]) -> Flow[_pb.operation_pb2.Operation]:
        """The flow of one Get of the scheduler.

        Raises:
            YagrpcError: It failed; the waiters of the operation get the failure, of whatever kind.
        """
        try:
            operation = yield from self.send_about(call)
        except Exception as error:
            failure = poll_failure(error, call.operation_id)
            if not isinstance(failure, ClientClosedError):
                self.events.polled(call.operation_id, failure)
            raise failure from failure.__cause__
        self.events.polled(call.operation_id, operation)
        return operation

    def result(self, make: Callable[[Any], ResultT], answer: Any, call: Call[Any, Any]) -> ResultT:
        """What the caller gets for a message, with the ids of its call.

        Raises:
            MessageTooLargeError: It is over the client's limit.
            ResultError: It does not parse, or holds no result.
        """
        if isinstance(answer, Unreadable):
            raise unreadable_error(answer, call, self.endpoint_of(call.method))
        try:
            result = make(answer)
        except ResultError as error:
            error.with_context(**call.context(self.endpoint_of(call.method)))
            raise
        if isinstance(result, Answer):
            result.ids = call.ids
        return result

    def finish(self, make: Callable[[Any], ResultT], last: ResultT | None, call: Call[Any, Any]) -> None:
        """Check the last result of a stream that has ended well, where what makes the results can.

        Raises:
            ResultError: It is refused, or there is none; the error says of which call it is.
        """
        finish = getattr(make, "finish", None)
        if finish is None:
            return
        if last is None:
            raise self.no_answer(call)
        try:
            finish(last)
        except ResultError as error:
            error.with_context(**call.context(self.endpoint_of(call.method)))
            raise

    def opened(self, call: Call[Any, Any]) -> OpenCall | None:
        """What reports the end of a call whose stream is open now; `None` where no subscriber asks for it."""
        return OpenCall(call, self.events) if self.events.calls else None

    def no_answer(self, call: Call[Any, Any]) -> ResultError:
        """The error of a call that ended well, without an answer."""
        return no_result("the service answered without a completion", call, self.endpoint_of(call.method))

    def broken(self, status: RpcStatus, call: Call[Any, Any]) -> Exception:
        """The error of a stream that fails after its first message: the caller's own stream of requests comes first."""
        error = request_error(call)
        if error is not None:
            return error
        route = self.routes[call.method]
        return broken_stream(status, call, endpoint=route.endpoint, send_limit=route.send_limit)

    def find_route(self, call: Call[Any, Any], deadline: Deadline) -> Flow[Route]:
        """Where the calls of a method go, kept for the next; endpoint discovery is asked where that is not known.

        Raises:
            ConfigError: No endpoint is known, or `YAGRPC_FORBID_SERVICE` forbids it.
            CallError: The discovery itself failed.
        """
        method = call.method
        if not self.directory.knows(method.service) and not self.directory.discovered:
            request = _pb.api_endpoint_service_pb2.ListApiEndpointsRequest()
            listing = self.call(methods.ApiEndpointService.List, request, {"request_id": call.client_request_id})
            listing.timeout, listing.deadline = deadline.seconds, deadline  # errors name what the caller gave
            response = yield from self.send(listing)
            self.directory.learn((endpoint.id, endpoint.address) for endpoint in response.endpoints)
        own = self.channel_of(method) not in self._host_channels
        limit = self._send_limit if own else -1
        endpoint = self.endpoint_of(method)
        if own:
            self._forbidding.check(endpoint)
        proxy = self._proxy_of(endpoint) if own and not self.endpoints.plaintext else ""
        route = Route(endpoint, limit, self.gates.of(call.policy.quotas), proxy)
        self.routes[method] = route
        return route

    def endpoint_of(self, method: AnyMethod) -> str:
        """Where a method is served, as `host:port`.

        Raises:
            ConfigError: Its endpoint is not known (yet: a call asks endpoint discovery).
        """
        return self.directory.address(method.service)

    def channel_of(self, method: AnyMethod) -> str:
        """Which of the host's channels serves a method: `operation` or `model`; or `iam`, which none does."""
        endpoint = policy_of(method).endpoint
        return endpoint if endpoint in ("operation", "iam") else "model"

    def jitter(self) -> float:
        """What a pause is multiplied by: a fifth more or less."""
        return self.runtime.uniform(0.8, 1.2)

    @property
    def grants(self) -> Grants | None:
        """What a limiter grants that other processes share; `None` for quotas of this client alone."""
        return None if self._limiter is None else self._limiter.grants

    def limits(self, gets: tuple[float | None, int, int | None, int]) -> QuotaUse:
        """What is used of each quota, and what is left; the quota of Gets is the scheduler's."""
        from yagrpc.quotas import Limit  # few ask

        own = self.gates.used(self.clock(), Limit(*gets))
        if self._limiter is None:
            return own
        from yagrpc._core.quota.grants import of_all  # it is loaded with the limiter

        return of_all(own, self._limiter.used())

    def count_with(self, other: ClientCore) -> None:
        """Count its calls together with those of another client of the same settings, which may be of another thread.

        Called before its first call. Where a limiter counts those of all processes, that counts both.

        Args:
            other: The settings of that client; where it is closed, nothing changes.
        """
        if self._limiter is None and other.gates.join(self._user):
            self.gates = other.gates

    def end_waits(self) -> None:
        """End the waits for slots; doing that twice does nothing."""
        self.gates.close(self._user)

    def release(self) -> None:
        """Give back what the client holds of shared quotas; called once all of its calls have ended."""
        if self._limiter is not None:
            self._limiter.close()

    def forked(self) -> None:
        """In a forked child: the places in the queues, and the locks, are the parent's."""
        self.gates.forked()
        if self._limiter is not None:
            self._limiter.forked()
        self.gates = Gates(self.quota, self.runtime.make_lock, self.grants, self._user)
        self.routes = {}

    def _one_of_several(self, make: Callable[[Any], ResultT], call: Call[Any, Any], place: str) -> Flow[ResultT]:
        try:
            return self.result(make, (yield from self.send(call)), call)
        except YagrpcError as error:
            if not place:
                raise
            raise located(error, place) from error.__cause__

    def _send_identity(self, request: Any) -> Flow[Any]:
        parameters: CallParameters = {"timeout": FETCH_TIMEOUT}
        return self.send(self.call(methods.IamTokenService.Create, request, parameters))

    def _rpc(self, method: AnyMethod) -> tuple[Policy, type[Message], Metadata]:
        """The facts about an rpc, the class of its requests, and the metadata of all calls of it, for the next call."""
        policy = policy_of(method)
        pairs = self._fixed_pairs if policy.credential else ()
        return self._rpcs.setdefault(method, (policy, method.request_type, pairs))

    def _metadata(self, ours: Metadata, parameters: CallParameters, caller: Caller | None) -> Metadata:
        """Metadata with those that come from the caller of the handler, and from the caller of this client."""
        if caller is not None:
            ours += caller.metadata
        logging_wanted = parameters.get("data_logging", self.data_logging)
        if logging_wanted is not None:
            ours += (("x-data-logging-enabled", "true" if logging_wanted else "false"),)
        given = given_metadata(parameters)
        if not given:
            return ours
        taken = {key for key, _ in given}
        return (*(pair for pair in ours if pair[0] not in taken), *given)


def located(error: ErrorT, place: str) -> ErrorT:
    """A copy of an error that says which of several requests failed; the error itself may be other callers', too."""
    copied = own_copy(error)
    copied.message = f"{place}: {error.message}"
    return copied.with_traceback(error.__traceback__)
