"""THE loop: one call, from its authorization to its answer or its error. Every rpc of a client goes through it.

    authorize -> find the endpoint -> wait for a slot -> connect -> send -> classify -> decide -> (pause) -> again

Rules: a timeout is over everything. Whatever may be billed waits for its connection as a step of its own and is sent
without waiting after that: a failure of the first step proves that nothing was sent. What a failure means is decided by
`failure.status`, what follows by `failure.retry`; this module does what they say.
"""

from __future__ import annotations

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
        answer = yield from attempts.run()
    except BaseException:
        call.release()
        raise
    if type(answer) is not Opened:
        call.release()
    return answer


class _Attempts:
    """One call on its way through the loop.

    Args:
        call: Which.
        ports: What the client provides.
    """

    __slots__ = ("_route", "admission", "authorization", "call", "deadline", "history", "ports")

    def __init__(self, call: Call[Any, Any], ports: Ports) -> None:
        self.call = call
        self.ports = ports
        self.deadline = call.deadline or Deadline(call.timeout, ports.clock)
        self.history = History()
        self.authorization: Metadata = ()
        self.admission: Admission | None = None
        self._route = _NOWHERE

    def run(self) -> Flow[Any]:
        """The loop."""
        call, ports, history = self.call, self.ports, self.history
        if ports.authorizer is not None and call.needs_token:
            self.authorization = yield from ports.authorizer.authorize(call, self.deadline)
        self._route = ports.routes.get(call.method) or (yield from ports.find_route(call, self.deadline))
        if self._route.gate is not None:
            self.admission = call.held = Admission(self._route.gate, ports.clock, ports.events)
        connects = call.policy.kind is not Kind.READ
        while True:
            if self.admission is not None:
                yield from self._admit(self.admission)
            if connects:
                yield from self._connect()
            answer = yield from self._send()
            if not isinstance(answer, Failure):
                return answer
            verdict = self._decide(answer)
            if verdict.action is Action.RETRY:
                history.repeats += 1
                yield from sleep(verdict.pause)
            elif verdict.action is Action.RENEW:
                yield from self._renew(answer)
            elif verdict.action is not Action.REQUEUE:
                self._fail(answer.error, verdict)
            # What could not be reached is sent again once it is connected.
            connects = call.policy.kind is not Kind.READ or answer.code is Code.UNAVAILABLE

    def _renew(self, failure: Failure) -> Flow[None]:
        """Get another credential than the one that was refused."""
        authorizer = self.ports.authorizer
        assert authorizer is not None
        self.history.renewed = True
        try:
            renewed = yield from authorizer.renew(self.call, self.authorization, failure.error, self.deadline)
        except YagrpcError as error:
            error.attempts = self.history.attempts
            self._fail(error, self._final())
        if renewed is None:
            self._fail(failure.error, self._final())
        self.authorization = renewed

    def _admit(self, admission: Admission) -> Flow[None]:
        last = self.history.last
        refusal = last.error if last is not None and last.cause is Cause.QUOTA else None
        try:
            self.deadline = yield from admission.enter(self.call, self.deadline, refusal)
        except QuotaWaitError as late:
            late.attempts = self.history.attempts
            self._fail(late, self._final())

    def _connect(self) -> Flow[None]:
        connected = yield from connect(self.call, self.deadline.left())
        if connected:
            return
        sent = "started" if self.history.attempts else "sent"
        error = UnavailableError(
            f"no connection within {self.deadline.seconds:g} s, nothing was {sent}",
            method=self.call.method.path,
            endpoint=self._route.endpoint,
            client_request_id=self.call.client_request_id,
            attempts=self.history.attempts,
            operation_id=self.call.operation_id,
        )
        last = self.history.last
        error.__cause__ = None if last is None else last.error
        self._fail(error, self._final())

    def _send(self) -> Flow[Any]:
        """Send the request once; gives the response, or a `Failure`."""
        call, ports, history = self.call, self.ports, self.history
        if call.cancelled:
            raise ClientClosedError
        late = None
        if call.policy.kind is Kind.GENERATION:
            if history.attempts == 0:
                ports.events.submitting(call)
            if isinstance(call.method, OperationMethod):
                late = self._late
        history.attempts += 1
        watched = ports.events.wants_attempts
        started = ports.clock() if watched else 0.0
        timeout = retry.attempt_timeout(call.policy, history.repeats + 1, self.deadline.left())
        if watched:
            ports.events.sending(call, history.attempts, self._route.endpoint, timeout)
        if self.admission is not None:
            self.admission.sent()
        response = yield from send(call, timeout, self._metadata(), late)
        outcome = self._outcome(response)
        if not isinstance(outcome, Failure):
            if self.admission is not None:
                self.admission.answered()
            if watched:
                self._report(outcome.first if type(outcome) is Opened else outcome, ports.clock() - started)
            if late is not None:
                self._accepted(outcome)
        return outcome

    def _metadata(self) -> Metadata:
        """What goes with an attempt: the service learns of a repetition as from its official clients."""
        call, attempts = self.call, self.history.attempts
        metadata = call.metadata + self.authorization if self.authorization else call.metadata
        return metadata if attempts == 1 else (*metadata, ("x-retry-attempt", str(attempts - 1)))

    def _outcome(self, response: Any) -> Any:
        """The response, or the `Failure` that it stands for."""
        endpoint, attempts = self._route.endpoint, self.history.attempts
        if type(response) is RpcStatus:
            return classify(
                response, self.call, endpoint=endpoint, send_limit=self._route.send_limit, attempts=attempts
            )
        answer = response.first if type(response) is Opened else response
        if type(answer) is Unreadable:
            return unreadable(answer, self.call, endpoint=endpoint, attempts=attempts)
        return response

    def _decide(self, failure: Failure) -> Verdict:
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
            if verdict.action is Action.REQUEUE or (failure.cause is Cause.QUOTA and failure.quota):
                self.admission.refused()
            else:
                self.admission.release()
        self._report(None, 0.0, failure, verdict)
        return verdict

    def _final(self) -> Verdict:
        return Verdict(Action.FAIL if self.history.unsure is None else Action.AMBIGUOUS)

    def _fail(self, error: Exception, verdict: Verdict) -> NoReturn:
        """Raise the error of the call; a generation that may have run is never said not to have."""
        unsure, last = self.history.unsure, self.history.last
        if isinstance(self.call.request, (RequestStream, AsyncRequestStream)) and self.call.request.error is not None:
            raise self.call.request.error  # gRPC only cancels the call
        if verdict.action is Action.AMBIGUOUS and unsure is not None:
            raise ambiguous(unsure.error, self.history.attempts) from error
        if last is not None and last.cause is Cause.CLOSED:
            raise ClientClosedError(self.call.operation_id) from error
        raise error

    def _report(
        self, answer: Any, seconds: float, failure: Failure | None = None, verdict: Verdict | None = None
    ) -> None:
        error = None if failure is None else failure.error
        outcome = Outcome(self.history.attempts, self._route.endpoint, seconds, answer, error)
        self.ports.events.attempt(self.call, outcome, verdict)

    def _accepted(self, operation: Any) -> None:
        """Report an operation that the service accepted: from here on its id can be found again.

        Raises:
            ResultError: The service gave no id.
        """
        if not operation.id:
            raise no_result("the service accepted the request and gave no operation id", self.call)
        self.ports.events.accepted(self.call, operation)

    def _late(self, response: Any) -> None:
        """Take the outcome of a submit whose caller has left: its operation runs, and nobody else knows of it."""
        outcome = self._outcome(response)
        error = outcome.error if isinstance(outcome, Failure) else None
        if error is None and outcome.id:
            self.ports.events.accepted(self.call, outcome)
            return
        report = Outcome(self.history.attempts, self._route.endpoint, 0.0, None, error, late=True)
        self.ports.events.attempt(self.call, report, None)


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
