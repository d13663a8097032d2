"""THE loop: one call, from its authorization to its answer or its error. Every rpc of a client goes through it.

    authorize -> find the endpoint -> wait for a slot -> connect -> send -> classify -> decide -> (pause) -> again

Rules: a timeout is over everything. Whatever may be billed waits for its connection as a step of its own and is sent
without waiting after that: a failure of the first step proves that nothing was sent. What a failure means is decided by
`failure.status`, what follows by `failure.retry`; this module does what they say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol

from yagrpc._core.call.policy import Kind
from yagrpc._core.call.requests import AsyncRequestStream, RequestStream
from yagrpc._core.deadline import Clock, Deadline
from yagrpc._core.events import Hub, Outcome
from yagrpc._core.failure import retry
from yagrpc._core.failure.retry import Action, History, Verdict
from yagrpc._core.failure.status import Cause, Failure, RpcStatus, Unreadable, classify, unreadable
from yagrpc._core.flow import Flow, Opened, connect, send, sleep
from yagrpc._core.quota.admission import Admission
from yagrpc.errors import (
    AmbiguousSubmitError,
    CallError,
    ClientClosedError,
    Code,
    QuotaWaitError,
    ResultError,
    SubmitTimeoutError,
    UnavailableError,
    YagrpcError,
)
from yagrpc.method import OperationMethod

if TYPE_CHECKING:
    from yagrpc._core.auth.authorization import Authorizer
    from yagrpc._core.call.call import AnyMethod, Call, Metadata
    from yagrpc._core.quota.gates import Gate


class Route(NamedTuple):
    """Where the calls of one method go; the same for all of them.

    Args:
        endpoint: `host:port`.
        send_limit: The largest request that its channel sends, in bytes; -1 for any.
        gate: The queue for its quotas; `None` where nothing limits it.
    """

    endpoint: str
    send_limit: int = -1
    gate: Gate | None = None


class Ports(Protocol):
    """What the loop needs of the client that it runs for."""

    clock: Clock
    authorizer: Authorizer | None
    events: Hub
    routes: dict[AnyMethod, Route]

    def jitter(self) -> float:
        """What a pause is multiplied by, about 1."""
        ...

    def find_route(self, call: Call[Any, Any], deadline: Deadline) -> Flow[Route]:
        """Where a call goes that is not in `routes` yet; asks endpoint discovery where that has to be found."""
        ...


def send_call(call: Call[Any, Any], ports: Ports) -> Flow[Any]:
    """Send a call until it is answered, or its failure is final; gives the response, of a stream an `Opened`.

    Args:
        call: Which.
        ports: What the client provides.

    Raises:
        CallError: The service refused it, or could not be reached.
        AmbiguousSubmitError: A generation failed after it may have reached the service.
        QuotaWaitError: There was no slot under a quota in time.
        ResultError: The answer cannot be read.
        ClientClosedError: The client, or the stream, was closed before it was sent.
        ConfigError: There is no credential, or no endpoint is known.
    """
    attempts = _Attempts(call, ports)
    try:
        if call.needs_token:
            yield from attempts.authorize()
        attempts.route = ports.routes.get(call.method) or (yield from ports.find_route(call, attempts.deadline))
        while True:
            if attempts.route.gate is not None:
                yield from attempts.admit(attempts.route.gate)
            if attempts.connects:
                yield from attempts.connect()
            timeout = attempts.leave()
            response = yield from send(call, timeout, attempts.metadata(), attempts.late)
            failure = attempts.failure(response)
            if failure is None:
                attempts.answered(response)
                return response
            yield from attempts.recover(failure)
    except BaseException:
        call.release()
        raise


class _Attempts:
    """The attempts of one call: what `send_call` does, step by step.

    Args:
        call: Which.
        ports: What the client provides.

    Attributes:
        deadline: Until when all attempts may take.
        history: What has happened to the call so far.
        route: Where the call goes; known once it is authorized.
        connects: Whether it waits for its connection before the next attempt.
        late: What takes the outcome of a submit whose caller has left.
    """

    # What most calls leave as it is costs them nothing.
    authorization: Metadata = ()
    admission: Admission | None = None
    late: Callable[[Any], None] | None = None
    started = 0.0

    def __init__(self, call: Call[Any, Any], ports: Ports) -> None:
        self.call = call
        self.ports = ports
        self.deadline = Deadline(call.timeout, ports.clock)
        self.history = History()
        self.route = _NOWHERE
        self.connects = call.policy.kind is not Kind.READ

    def authorize(self) -> Flow[None]:
        """Get what authorizes the call."""
        if self.ports.authorizer is not None:
            self.authorization = yield from self.ports.authorizer.authorize(self.call, self.deadline)

    def admit(self, gate: Gate) -> Flow[None]:
        """Wait for a slot under the quotas of the call."""
        if self.admission is None:
            self.admission = self.call.held = Admission(gate, self.ports.clock, self.ports.events)
        last = self.history.last
        refusal = last.error if last is not None and last.cause is Cause.QUOTA else None
        try:
            yield from self.admission.enter(self.call, self.deadline, refusal)
        except QuotaWaitError as error:
            error.attempts = self.history.attempts
            self._fail(error)

    def connect(self) -> Flow[None]:
        """Wait for the connection."""
        connected = yield from connect(self.call, self.deadline.left())
        if connected:
            return
        sent = "started" if self.history.attempts else "sent"
        error = UnavailableError(
            f"no connection within {self.deadline.seconds:g} s, nothing was {sent}",
            method=self.call.method.path,
            endpoint=self.route.endpoint,
            client_request_id=self.call.client_request_id,
            attempts=self.history.attempts,
            operation_id=self.call.operation_id,
        )
        last = self.history.last
        error.__cause__ = None if last is None else last.error
        self._fail(error)

    def leave(self) -> float | None:
        """Count and report the attempt that is about to leave; gives the seconds that it may take."""
        call, history = self.call, self.history
        if call.cancelled:
            raise ClientClosedError
        if call.policy.kind is Kind.GENERATION:
            if history.attempts == 0:
                self.ports.events.submitting(call)
            if isinstance(call.method, OperationMethod):
                self.late = self._left_behind
        history.attempts += 1
        timeout = retry.attempt_timeout(call.policy, history.repeats + 1, self.deadline.left())
        if call.watched:
            self.started = self.ports.clock()
            self.ports.events.sending(call, history.attempts, self.route.endpoint, timeout)
        if self.admission is not None:
            self.admission.sent()
        return timeout

    def metadata(self) -> Metadata:
        """What goes with an attempt: the service learns of a repetition as from its official clients."""
        attempts, metadata = self.history.attempts, self.call.metadata
        if self.authorization:
            metadata += self.authorization
        return metadata if attempts == 1 else (*metadata, ("x-retry-attempt", str(attempts - 1)))

    def failure(self, response: Any) -> Failure | None:
        """The failure that a response stands for; `None` for an answer."""
        kind = type(response)
        if kind is RpcStatus:
            return classify(
                response,
                self.call,
                endpoint=self.route.endpoint,
                send_limit=self.route.send_limit,
                attempts=self.history.attempts,
            )
        answer = response.first if kind is Opened else response
        if type(answer) is Unreadable:
            return unreadable(answer, self.call, endpoint=self.route.endpoint, attempts=self.history.attempts)
        return None

    def answered(self, response: Any) -> None:
        """Report an answer; what the call holds is released, but for a stream, which runs on.

        Raises:
            ResultError: A submit was answered without an operation id.
        """
        if self.admission is not None:
            self.admission.answered()
        answer, opened = response, type(response) is Opened
        if opened:
            answer = response.first
        else:
            self.call.release()
        if self.call.watched:
            self._report(Outcome(self.history.attempts, self.route.endpoint, self._seconds(), answer))
        if self.late is not None:
            if not answer.id:
                raise no_result("the service accepted the request and gave no operation id", self.call)
            # From here on its id can be found again.
            self.ports.events.accepted(self.call, answer)

    def recover(self, failure: Failure) -> Flow[None]:
        """Do what has to be done before the next attempt; raises where there is to be none."""
        call, history = self.call, self.history
        history.failed(failure, call.policy.kind)
        verdict = retry.decide(
            call.policy,
            history,
            left=self.deadline.left(),
            jitter=self.ports.jitter(),
            resubmit=call.resubmit,
            replayable=not isinstance(call.request, (RequestStream, AsyncRequestStream)),
            queued=self.admission is not None,
            renewable=self.ports.authorizer is not None and call.needs_token,
        )
        if self.admission is not None:
            if failure.cause is Cause.QUOTA and failure.quota:
                self.admission.refused()
            else:
                self.admission.release()
        outcome = Outcome(history.attempts, self.route.endpoint, self._seconds(), error=failure.error)
        self._report(outcome, verdict)
        if verdict.action is Action.RETRY:
            history.repeats += 1
            yield from sleep(verdict.pause)
        elif verdict.action is Action.RENEW:
            yield from self._renew(failure)
        elif verdict.action is not Action.REQUEUE:
            self._fail(failure.error)
        # What could not be reached is sent again once it is connected.
        self.connects = call.policy.kind is not Kind.READ or failure.code is Code.UNAVAILABLE

    def _renew(self, failure: Failure) -> Flow[None]:
        """Get another credential than the one that was refused."""
        authorizer = self.ports.authorizer
        assert authorizer is not None
        self.history.renewed = True
        try:
            renewed = yield from authorizer.renew(self.call, self.authorization, failure.error, self.deadline)
        except YagrpcError as error:
            error.attempts = self.history.attempts
            self._fail(error)
        if renewed is None:
            self._fail(failure.error)
        self.authorization = renewed

    def _fail(self, error: Exception) -> NoReturn:
        """Raise the error of the call; a generation that may have run is never said not to have."""
        unsure, last = self.history.unsure, self.history.last
        if (wrong := request_error(self.call)) is not None:
            raise wrong  # gRPC only cancels the call
        if unsure is not None:
            raise ambiguous(unsure.error, self.history.attempts) from error
        if last is not None and last.cause is Cause.CLOSED:
            raise ClientClosedError(self.call.operation_id) from error
        raise error

    def _left_behind(self, response: Any) -> None:
        """Take the outcome of a submit whose caller has left: its operation runs, and nobody else knows of it."""
        failure = self.failure(response)
        if failure is None and response.id:
            self.ports.events.accepted(self.call, response)
            return
        error = None if failure is None else failure.error
        self._report(Outcome(self.history.attempts, self.route.endpoint, self._seconds(), error=error, late=True))

    def _report(self, outcome: Outcome, verdict: Verdict | None = None) -> None:
        self.ports.events.attempt(self.call, outcome, verdict)

    def _seconds(self) -> float:
        return self.ports.clock() - self.started if self.call.watched else 0.0


_NOWHERE: Final = Route("")


def broken_stream(status: RpcStatus, call: Call[Any, Any], route: Route) -> Exception:
    """The error of a stream that fails after its first message.

    A completion that was not asked for as a stream leaves its caller without any text, so that it may have run in vain;
    of another stream the caller has the messages so far, and gets the call's own error.
    """
    failure = classify(status, call, endpoint=route.endpoint, send_limit=route.send_limit, attempts=1)
    whole = call.policy.kind is Kind.GENERATION and not call.request.completion_options.stream
    if not whole or retry.TABLE[failure.cause][call.policy.kind] is not Action.AMBIGUOUS:
        return failure.error
    error = ambiguous(failure.error, 1)
    error.__cause__ = failure.error
    return error


def request_error(call: Call[Any, Any]) -> Exception | None:
    """What went wrong in the caller's own stream of requests, if anything did: gRPC only cancels the call."""
    return call.request.error if isinstance(call.request, (RequestStream, AsyncRequestStream)) else None


def ambiguous(failure: Exception, attempts: int) -> AmbiguousSubmitError:
    """The error of a generation that may have run, from the failure that left it open."""
    assert isinstance(failure, CallError)
    kind = SubmitTimeoutError if failure.code is Code.DEADLINE_EXCEEDED else AmbiguousSubmitError
    context = failure.context
    context["attempts"] = attempts
    return kind(failure.message, **context)


def no_result(text: str, call: Call[Any, Any]) -> ResultError:
    """The error of an answer without a result, with the ids of its call."""
    return ResultError(text, method=call.method.path, **call.ids._asdict())
