"""What follows a failed attempt: every cause with every kind of call, and every limit."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yagrpc._core.call.policy import Kind, Policy
from yagrpc._core.failure.final import ends_wait
from yagrpc._core.failure.pauses import LONGEST_HINT, attempt_timeout, backoff
from yagrpc._core.failure.retry import TABLE, Action, History, Verdict, decide
from yagrpc._core.failure.status import Cause, Failure
from yagrpc.errors import (
    CALL_ERRORS,
    ClientClosedError,
    Code,
    InternalError,
    MessageTooLargeError,
    OperationError,
    ResourceExhaustedError,
    ResultError,
    UnavailableError,
    YagrpcError,
)

READ, GENERATION, OTHER = Kind.READ, Kind.GENERATION, Kind.OTHER
FAIL, AMBIGUOUS, RETRY, REQUEUE, RENEW = Action.FAIL, Action.AMBIGUOUS, Action.RETRY, Action.REQUEUE, Action.RENEW
FAILURES = [code for code in Code if code is not Code.OK]

FOLLOWS = {
    (Cause.QUOTA, READ): RETRY,
    (Cause.QUOTA, GENERATION): RETRY,
    (Cause.QUOTA, OTHER): FAIL,
    (Cause.TOO_LARGE, READ): FAIL,
    (Cause.TOO_LARGE, GENERATION): FAIL,
    (Cause.TOO_LARGE, OTHER): FAIL,
    (Cause.UNAUTHENTICATED, READ): RENEW,
    (Cause.UNAUTHENTICATED, GENERATION): RENEW,
    (Cause.UNAUTHENTICATED, OTHER): RENEW,
    (Cause.NO_CONNECTION, READ): FAIL,
    (Cause.NO_CONNECTION, GENERATION): FAIL,
    (Cause.NO_CONNECTION, OTHER): FAIL,
    (Cause.HUNG, READ): RETRY,
    (Cause.HUNG, GENERATION): AMBIGUOUS,
    (Cause.HUNG, OTHER): FAIL,
    (Cause.REFUSED, READ): FAIL,
    (Cause.REFUSED, GENERATION): FAIL,
    (Cause.REFUSED, OTHER): FAIL,
    (Cause.MAY_HAVE_RUN, READ): RETRY,
    (Cause.MAY_HAVE_RUN, GENERATION): AMBIGUOUS,
    (Cause.MAY_HAVE_RUN, OTHER): FAIL,
    (Cause.UNREADABLE, READ): FAIL,
    (Cause.UNREADABLE, GENERATION): FAIL,
    (Cause.UNREADABLE, OTHER): FAIL,
    (Cause.CLOSED, READ): FAIL,
    (Cause.CLOSED, GENERATION): AMBIGUOUS,
    (Cause.CLOSED, OTHER): FAIL,
}
"""What follows the first failure of a call that has time left, said here once more."""

every_row = pytest.mark.parametrize(
    ("cause", "kind"), list(itertools.product(Cause, Kind)), ids=lambda value: value.name.lower()
)


def failure(cause: Cause, code: Code = Code.UNAVAILABLE, *, hint: float | None = None, quota: str = "") -> Failure:
    """A failed attempt."""
    return Failure(cause, CALL_ERRORS[code]("it failed", retry_after=hint), quota)


def history(*failures: Failure, kind: Kind = READ, repeats: int = 0, renewed: bool = False) -> History:
    """What has happened to a call: each attempt failed."""
    happened = History()
    for each in failures:
        happened.failed(each, kind)
    happened.repeats = repeats
    happened.renewed = renewed
    return happened


def follows(kind: Kind, *failures: Failure, attempts: int = 5, **settings: Any) -> Verdict:
    """What follows the last of some failures."""
    named = {name: settings.pop(name) for name in ("repeats", "renewed") if name in settings}
    return decide(Policy(kind, attempts=attempts), history(*failures, kind=kind, **named), **{"left": None, **settings})


# The table


def test_the_table_has_every_cause_and_every_kind() -> None:
    assert {(cause, kind): action for cause, row in TABLE.items() for kind, action in row.items()} == FOLLOWS
    assert FOLLOWS.keys() == set(itertools.product(Cause, Kind))


@every_row
def test_decide_gives_what_the_table_says(cause: Cause, kind: Kind) -> None:
    verdict = follows(kind, failure(cause))
    assert verdict.action is FOLLOWS[cause, kind]
    assert verdict.pause == (pytest.approx(0.2) if verdict.action is RETRY else 0.0)


@every_row
def test_resubmit_sends_a_generation_again_that_may_have_run_and_changes_nothing_else(cause: Cause, kind: Kind) -> None:
    verdict = follows(kind, failure(cause), resubmit=True)
    changed = kind is GENERATION and cause in (Cause.HUNG, Cause.MAY_HAVE_RUN)
    assert verdict.action is (RETRY if changed else FOLLOWS[cause, kind])


@every_row
@pytest.mark.parametrize("resubmit", [False, True])
def test_a_request_that_is_used_up_is_never_sent_again(cause: Cause, kind: Kind, resubmit: bool) -> None:
    verdict = follows(kind, failure(cause, quota="a.b"), replayable=False, resubmit=resubmit, queued=True)
    assert verdict == Verdict(AMBIGUOUS if FOLLOWS[cause, kind] is AMBIGUOUS else FAIL)


@every_row
@pytest.mark.parametrize("resubmit", [False, True])
@pytest.mark.parametrize("queued", [False, True])
def test_an_attempt_that_may_have_run_leaves_a_generation_ambiguous_for_good(
    cause: Cause, kind: Kind, resubmit: bool, queued: bool
) -> None:
    """However a later attempt ends; of other calls the last failure is the error."""
    for unsure in (Cause.HUNG, Cause.MAY_HAVE_RUN, Cause.CLOSED):
        verdict = follows(kind, failure(unsure), failure(cause), resubmit=resubmit, queued=queued, repeats=4)
        ends = FOLLOWS[cause, kind] is not RENEW
        assert (verdict.action is AMBIGUOUS) == (kind is GENERATION and ends)
        assert not ends or verdict.action in (FAIL, AMBIGUOUS)


@every_row
def test_nothing_is_sent_more_often_than_its_policy_allows(cause: Cause, kind: Kind) -> None:
    final = Verdict(AMBIGUOUS if FOLLOWS[cause, kind] is AMBIGUOUS else FAIL)
    if FOLLOWS[cause, kind] is RENEW:
        return
    for repeats, attempts in ((4, 5), (9, 5), (0, 1), (2, 3)):
        assert follows(kind, failure(cause), repeats=repeats, attempts=attempts, resubmit=True) == final
    if FOLLOWS[cause, kind] is RETRY:
        assert follows(kind, failure(cause), repeats=3).action is RETRY


@every_row
def test_nothing_is_sent_again_once_the_time_is_over(cause: Cause, kind: Kind) -> None:
    final = Verdict(AMBIGUOUS if FOLLOWS[cause, kind] is AMBIGUOUS else FAIL)
    if FOLLOWS[cause, kind] is RENEW:
        return
    for left in (0.0, 0.2):
        assert follows(kind, failure(cause), left=left, resubmit=True) == final
    if FOLLOWS[cause, kind] is RETRY:
        assert follows(kind, failure(cause), left=0.21).action is RETRY


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
def test_a_read_that_may_have_run_is_sent_again_on_what_may_pass(code: Code) -> None:
    expected = RETRY if code.name in {"UNAVAILABLE", "INTERNAL", "ABORTED"} else FAIL
    assert follows(READ, failure(Cause.MAY_HAVE_RUN, code)).action is expected


# Hints


@pytest.mark.parametrize(("hint", "pause"), [(1.5, 1.5), (0.0, 0.0), (1e6, LONGEST_HINT)])
@pytest.mark.parametrize("queued", [False, True])
def test_a_hint_wins_up_to_a_limit(hint: float, pause: float, queued: bool) -> None:
    """Over the queue of a quota as well, and without jitter."""
    for cause in (Cause.QUOTA, Cause.MAY_HAVE_RUN):
        verdict = follows(READ, failure(cause, hint=hint, quota="a.b"), queued=queued, jitter=1.2)
        assert verdict == Verdict(RETRY, pause)


@pytest.mark.parametrize(("cause", "kind"), [row for row, action in FOLLOWS.items() if action is RETRY])
@pytest.mark.parametrize("queued", [False, True])
def test_a_hint_below_zero_ends_it(cause: Cause, kind: Kind, queued: bool) -> None:
    assert follows(kind, failure(cause, hint=-1.0, quota="a.b"), queued=queued) == Verdict(FAIL)


def test_a_hint_below_zero_ends_what_may_have_run() -> None:
    assert follows(GENERATION, failure(Cause.HUNG, hint=-1.0), resubmit=True) == Verdict(AMBIGUOUS)


def test_a_hint_that_is_longer_than_the_time_ends_it() -> None:
    assert follows(READ, failure(Cause.QUOTA, hint=7.0), left=7.0) == Verdict(FAIL)
    assert follows(READ, failure(Cause.QUOTA, hint=7.0), left=7.1) == Verdict(RETRY, 7.0)
    assert follows(READ, failure(Cause.QUOTA, hint=0.0), left=0.0) == Verdict(FAIL)


# Queues


@pytest.mark.parametrize("kind", [READ, GENERATION])
def test_a_refusal_waits_in_the_queue_of_its_quota(kind: Kind) -> None:
    refused = failure(Cause.QUOTA, Code.RESOURCE_EXHAUSTED, quota="a.b")
    assert follows(kind, refused, queued=True) == Verdict(REQUEUE)
    assert follows(kind, refused, queued=True, repeats=99, left=0.0) == Verdict(REQUEUE)  # the queue has the deadline
    assert follows(kind, refused, queued=False).action is RETRY
    assert follows(kind, failure(Cause.QUOTA), queued=True).action is RETRY  # it names no quota
    assert follows(kind, refused, queued=True, attempts=1) == Verdict(FAIL)


def test_what_is_not_known_to_be_a_read_waits_in_no_queue() -> None:
    assert follows(OTHER, failure(Cause.QUOTA, quota="a.b"), queued=True) == Verdict(FAIL)


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.QUOTA])
@pytest.mark.parametrize("kind", list(Kind))
def test_only_a_refusal_by_a_quota_waits_in_a_queue(cause: Cause, kind: Kind) -> None:
    assert follows(kind, failure(cause), queued=True, resubmit=True).action is not REQUEUE


# Tokens


@pytest.mark.parametrize("kind", list(Kind))
def test_a_token_is_renewed_once(kind: Kind) -> None:
    refused = failure(Cause.UNAUTHENTICATED, Code.UNAUTHENTICATED)
    assert follows(kind, refused, repeats=4, left=0.0) == Verdict(RENEW)  # whether there is time, the token says
    assert follows(kind, refused, renewed=True) == Verdict(FAIL)
    assert follows(kind, refused, renewable=False) == Verdict(FAIL)
    final = Verdict(AMBIGUOUS if kind is GENERATION else FAIL)
    assert follows(kind, failure(Cause.HUNG), refused, renewed=True) == final


# Pauses


@given(attempt=st.integers(2, 500), jitter=st.floats(0.8, 1.2))
def test_pauses_double_up_to_a_limit_and_are_jittered(attempt: int, jitter: float) -> None:
    middle = min(5.0, 0.2 * 2 ** min(attempt - 2, 50))
    assert backoff(attempt) == pytest.approx(middle)
    verdict = follows(READ, failure(Cause.HUNG), repeats=attempt - 2, attempts=1000, jitter=jitter)
    assert 0.79 * middle <= verdict.pause <= 1.21 * middle


def test_without_a_hint_the_pause_grows() -> None:
    pauses = [follows(READ, failure(Cause.HUNG), repeats=repeats).pause for repeats in range(4)]
    assert pauses == [pytest.approx(pause) for pause in (0.2, 0.4, 0.8, 1.6)]
    assert backoff(50) <= 6.0


@pytest.mark.parametrize("kind", list(Kind))
def test_only_an_attempt_of_a_read_has_a_limit_of_its_own(kind: Kind) -> None:
    policy = Policy(kind)
    limits = [attempt_timeout(policy, attempt, None) for attempt in range(1, 6)]
    assert limits == ([15.0, 30.0, 60.0, 120.0, None] if kind is READ else [None] * 5)
    first = [attempt_timeout(policy, attempt, 7.0) for attempt in range(1, 6)]
    assert first == ([3.5] * 4 + [7.0] if kind is READ else [7.0] * 5)
    assert [attempt_timeout(policy, attempt, 7.0, hung=True) for attempt in range(1, 6)] == [7.0] * 5
    assert attempt_timeout(policy._replace(attempts=1), 1, 600.0) == 600.0


# History


def test_a_history_remembers_that_an_attempt_hung() -> None:
    assert not history(failure(Cause.MAY_HAVE_RUN)).hung
    assert history(failure(Cause.HUNG)).hung
    assert history(failure(Cause.HUNG), failure(Cause.MAY_HAVE_RUN)).hung
    assert history(failure(Cause.MAY_HAVE_RUN), failure(Cause.HUNG)).hung


def test_a_history_keeps_the_first_failure_that_left_it_open() -> None:
    refused, hung, gone = failure(Cause.QUOTA), failure(Cause.HUNG), failure(Cause.MAY_HAVE_RUN)
    happened = history(refused, hung, gone, kind=GENERATION)
    assert (happened.unsure, happened.last) == (hung, gone)
    for kind in (READ, OTHER):
        assert history(refused, hung, gone, kind=kind).unsure is None


# Waits for operations


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
def test_a_get_that_is_refused_ends_the_wait(code: Code) -> None:
    final = {"NOT_FOUND", "PERMISSION_DENIED", "INVALID_ARGUMENT", "UNIMPLEMENTED", "UNAUTHENTICATED"}
    assert ends_wait(CALL_ERRORS[code]("no")) == (code.name in final)


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (MessageTooLargeError(9, 5, "grpc.max_receive_message_length"), True),
        (ResultError("no"), True),
        (ClientClosedError(), True),
        (OperationError("op", "no"), True),
        (UnavailableError("no"), False),
        (InternalError("no"), False),
        (ResourceExhaustedError("no"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_answer_that_cannot_be_read_ends_the_wait(error: YagrpcError, ends: bool) -> None:
    assert ends_wait(error) == ends
