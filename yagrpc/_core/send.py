"""THE loop: one call, from its authorization to its answer or its error. Every rpc of a client goes through it.

    authorize -> find the endpoint -> wait for a slot -> connect -> (record) -> send -> classify -> decide -> (pause)
    -> again

Rules: a timeout is over everything. What may be billed waits for its connection in a separate step and is sent
without waiting after that: a failure of the first step proves that nothing was sent. What a failure means is decided by
`failure.status`, what follows by `failure.retry`; this module does what they say.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

from yagrpc._core.call.policy import GENERATION, READ
from yagrpc._core.call.requests import AsyncRequestStream, RequestStream, request_error
from yagrpc._core.deadline import Deadline
from yagrpc._core.events import Outcome
from yagrpc._core.failure.final import ambiguous, without_id
from yagrpc._core.failure.pauses import LEAST, attempt_timeout
from yagrpc._core.failure.retry import TABLE, UNTRIED, Action, History, Verdict, decide
from yagrpc._core.failure.sizes import Unreadable, unreadable_error
from yagrpc._core.failure.status import Cause, Failure, RpcStatus, classify, raised
from yagrpc._core.flow import END, Flow, Opened, connect, send, sleep, wait
from yagrpc._core.ports import NOWHERE
from yagrpc._core.quota.admission import Admission
from yagrpc.errors import (
    CallError,
    ClientClosedError,
    Code,
    DeadlineExceededError,
    UnavailableError,
    YagrpcError,
)
from yagrpc.method import OperationMethod

if TYPE_CHECKING:
    from yagrpc._core.call.call import Call, Metadata
    from yagrpc._core.failure.connection import Obstacle
    from yagrpc._core.ports import Ports
    from yagrpc._core.quota.gates import Gate


def send_call(call: Call[Any, Any], ports: Ports) -> Flow[Any]:
    """Send a call until it is answered, or its failure is final; gives the response, of a stream an `Opened`.

    Args:
        call: The call.
        ports: What the client provides.

    Raises:
        CallError: The service refused it, or could not be reached; or the caller of the handler has left.
        AmbiguousSubmitError: A generation failed after it may have reached the service.
        QuotaWaitError: There was no slot under a quota in time.
        ResultError: The answer cannot be read.
        ClientClosedError: The client, or the stream, was closed before it was sent.
        ConfigError: There is no credential, or no endpoint is known.
    """
    attempts = _Attempts(call, ports)
    try:
        call.check()
        if call.needs_token:
            yield from attempts.authorize()
        attempts.route = ports.routes.get(call.method) or (yield from ports.find_route(call, attempts.deadline))
        while True:
            if attempts.route.gate is not None:
                yield from attempts.admit(attempts.route.gate)
            if attempts.connects:
                yield from attempts.connect()
            if call.recorder is not None:
                yield from wait(call.recorder.begin(), None)
                call.recorder.check()
            timeout, metadata = attempts.leave(), attempts.metadata()
            response = yield from send(call, timeout, metadata, attempts if attempts.submits else None)
            failure = attempts.failure(response)
            if failure is None:
                attempts.answered(response)
                return response
            yield from attempts.recover(failure)
    except Exception as error:
        call.release()
        attempts.withdraw()
        # In no variable: an error that its own frame holds keeps gRPC's rpc until the garbage collector comes.
        raise attempts.final_error(error)  # noqa: B904 - it has its cause
    except BaseException:
        call.release()
        attempts.withdraw()
        raise


class _Attempts:
    """The attempts of one call: what `send_call` does, step by step.

    Args:
        call: The call.
        ports: What the client provides.
    """

    def __init__(self, call: Call[Any, Any], ports: Ports) -> None:
        self.call = call
        self.ports = ports
        self.deadline = call.deadline or Deadline(call.timeout, ports.clock)
        self.history = UNTRIED
        self.route = NOWHERE
        self.authorization: Metadata = ()
        self.admission: Admission | None = None
        self.sent_at = 0.0
        self.announced = False  # whether `submitting` was called
        self.unsettled = False  # whether an attempt was sent whose failure is not in the history
        kind = call.policy.kind
        self.generates = kind is GENERATION
        self.connects = kind is not READ
        self.submits = self.connects and isinstance(call.method, OperationMethod)

    def authorize(self) -> Flow[None]:
        """Get what authorizes the call."""
        if self.ports.authorizer is not None:
            self.authorization = yield from self.ports.authorizer.authorize(self.call, self.deadline)

    def admit(self, gate: Gate) -> Flow[None]:
        """Wait for a slot under the quotas of the call."""
        self.call.check(self.route.endpoint)
        if self.admission is None:
            self.admission = Admission(gate, self.ports.clock, self.ports.events)
            self.call.held = self.admission.release
        last = self.history.last
        failure = None if last is None else last.error
        self.deadline = yield from self.admission.enter(self.call, self.deadline, failure)

    def connect(self) -> Flow[None]:
        """Wait for the connection."""
        outcome = yield from connect(self.call, self.deadline.left())
        if outcome is True:
            return
        from yagrpc._core.failure.connection import no_connection

        found = no_connection(outcome.message if isinstance(outcome, RpcStatus) else None, self.route.proxy)
        within = f" within {self.deadline.seconds:g} s" if found.patience == math.inf else ""
        self._not_sent(UnavailableError, f"no connection{within}", found)

    def leave(self) -> float | None:
        """Count and report the attempt that is about to leave; gives the seconds that it may take."""
        call, history, left = self.call, self.history, self._left()
        if self.generates and call.attempts == 0:
            self.ports.events.submitting(call)
            self.announced = True
            left = self._left()  # a subscriber may take long, as a journal does whose database is locked
        call.attempts += 1
        self.unsettled = True
        timeout = attempt_timeout(call.policy, history.repeats + 1, left, history.hung)
        if call.watched:
            self.ports.events.sending(call, call.attempts, self.route.endpoint, timeout)
        if self.admission is not None:
            self.admission.sent()
        return timeout

    def _left(self) -> float | None:
        """The seconds that are left for an attempt that may be sent now."""
        self.call.check(self.route.endpoint)
        self.sent_at = now = self.ports.clock()
        left = self.deadline.left(now)
        if self.generates and left is not None and left < LEAST:
            self._not_sent(DeadlineExceededError, f"the timeout of {self.deadline.seconds:g} s is over")
        return left

    def metadata(self) -> Metadata:
        """What goes with an attempt: the service learns of a repetition as from its official clients."""
        attempts, metadata = self.call.attempts, self.call.metadata
        if self.authorization:
            metadata += self.authorization
        return metadata if attempts == 1 else (*metadata, ("x-retry-attempt", str(attempts - 1)))

    def failure(self, response: Any) -> Failure | None:
        """The failure that a response stands for; `None` for an answer."""
        kind = type(response)
        if kind is RpcStatus:
            route = self.route
            return classify(
                response, self.call, endpoint=route.endpoint, send_limit=route.send_limit, proxy=route.proxy
            )
        answer = response.first if kind is Opened else response
        if answer is None:
            answer = Unreadable(0, None, "there is no message")  # as gRPC gives it for a broken answer with status OK
        if type(answer) is not Unreadable:
            return None
        return Failure(Cause.UNREADABLE, unreadable_error(answer, self.call, self.route.endpoint))

    def answered(self, response: Any) -> None:
        """Report an answer; what the call holds is released, but for a stream, which runs on.

        Raises:
            ResultError: A submit was answered without an operation id.
        """
        if self.admission is not None:
            self.admission.answered()
        if not isinstance(response, Opened):
            self.call.release()
            if self.submits and (refusal := without_id(response, self.call, self.route.endpoint)) is not None:
                raise refusal
        if self.call.watched:
            self._report(response)

    def recover(self, failure: Failure) -> Flow[None]:
        """Do what has to be done before the next attempt; raises where there is to be none."""
        call, history = self.call, self._failed(failure)
        verdict = decide(
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
                self.admission.refused(failure.error.message)
            else:
                self.admission.release()
        self._report(None, failure, verdict)
        again = verdict.action not in (Action.FAIL, Action.AMBIGUOUS)
        if again and call.recorder is not None and history.unsure is None:
            call.recorder.refused(failure.code.name)
        if verdict.action is Action.RETRY:
            history.repeats += 1
            yield from sleep(verdict.pause)
        elif verdict.action is Action.RENEW:
            yield from self._renew(failure)
        elif verdict.action is not Action.REQUEUE:
            raise failure.error
        # What could not be reached is sent again once it is connected.
        self.connects = call.policy.kind is not READ or failure.code is Code.UNAVAILABLE

    def _renew(self, failure: Failure) -> Flow[None]:
        """Get another credential than the one that was refused."""
        authorizer = self.ports.authorizer
        assert authorizer is not None
        self.history.renewed = True
        try:
            renewed = yield from authorizer.renew(self.call, self.authorization, failure.error, self.deadline)
        except YagrpcError as error:
            error.attempts = self.call.attempts
            raise
        if renewed is None:
            raise failure.error
        self.authorization = renewed

    def final_error(self, error: Exception) -> Exception:
        """The error that the caller gets: a generation that may have run is never said not to have.

        Args:
            error: What the loop ended with; it becomes the cause of another.
        """
        unsure, last, final = self.history.unsure, self.history.last, error
        if (wrong := request_error(self.call)) is not None:
            return wrong  # gRPC only cancels the call
        if unsure is not None:
            final = ambiguous(unsure.error, self.call.attempts)
        elif self.call.caller is not None and self.call.caller.gone:  # it is why, whatever ended first
            final = self.call.caller.error(**self.call.context(self.route.endpoint))
        elif last is not None and last.cause is Cause.CLOSED:
            final = ClientClosedError(self.call.operation_id)
        if final is not error:
            final.__cause__ = error
        return final

    def withdraw(self) -> None:
        """Report, at the end of a call, that what `submitting` announced did not start."""
        if self.announced and not self.unsettled and self.history.nothing_started:
            self.ports.events.not_started(self.call)

    def _not_sent(self, kind: type[CallError], what: str, found: Obstacle | None = None) -> NoReturn:
        """Raise the error of a call that is not sent, or not again."""
        sent, last = "started" if self.call.attempts else "sent", self.history.last
        reason = f": {found.reason}" if found is not None and found.reason else ""
        remedy = "" if found is None else found.remedy
        error = kind(f"{what}, nothing was {sent}{reason}", hint=remedy, **self.call.context(self.route.endpoint))
        raise error from None if last is None else last.error

    # How a submit ended, whether its caller waits or has left: see `flow.Reporter`.

    def ended(self, outcome: Any) -> None:
        """Report the operation that the service accepted: from here on its id can be found again."""
        if isinstance(outcome, BaseException) or self.failure(outcome) is not None:
            return
        if without_id(outcome, self.call, self.route.endpoint) is None:
            if self.call.caller is not None:
                self.call.caller.operations[outcome.id] = None
            if self.call.recorder is not None:
                self.call.recorder.accepted(outcome.id)
            self.ports.events.accepted(self.call, outcome)

    def left(self, outcome: Any) -> None:
        """Report a failure that no caller gets: an operation may run whose id is not known."""
        outcome = raised(outcome) if isinstance(outcome, BaseException) else outcome
        failure = self.failure(outcome)
        if failure is None and (refusal := without_id(outcome, self.call, self.route.endpoint)) is not None:
            failure = Failure(Cause.UNREADABLE, refusal)
        if failure is not None:
            ran = failure.cause is Cause.UNREADABLE
            action = Action.AMBIGUOUS if ran else TABLE[failure.cause][self.call.policy.kind]
            self._report(None, failure, Verdict(action), late=True)
            self._failed(failure)
            self.withdraw()

    def _failed(self, failure: Failure) -> History:
        """Take note of a failed attempt; gives the history, which most calls do not need."""
        if self.history is UNTRIED:
            self.history = History()
        self.history.failed(failure, self.call.policy.kind)
        self.unsettled = False
        return self.history

    def _report(
        self, answer: Any, failure: Failure | None = None, verdict: Verdict | None = None, *, late: bool = False
    ) -> None:
        if type(answer) is Opened:
            answer = None if answer.first is END else answer.first
        error, cause = (None, None) if failure is None else (failure.error, failure.cause)
        seconds = self.ports.clock() - self.sent_at
        outcome = Outcome(self.call.attempts, self.route.endpoint, seconds, answer, error, late, cause)
        self.ports.events.attempt(self.call, outcome, verdict)
