"""How long an attempt may take, and how long the pause before the next one is: in seconds, as they are documented."""

from __future__ import annotations

import pytest

from yagrpc import methods
from yagrpc._core.call.policy import policy_of
from yagrpc._core.failure.pauses import LEAST, LONGEST_HINT, attempt_timeout, backoff

READ = policy_of(methods.TokenizerService.Tokenize)
GENERATION = policy_of(methods.TextGenerationAsyncService.Completion)


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(2, 0.2), (3, 0.4), (4, 0.8), (5, 1.6), (6, 3.2), (7, 5.0), (8, 5.0), (10_000, 5.0)]
)
def test_a_pause_doubles_up_to_five_seconds(attempt: int, seconds: float) -> None:
    assert backoff(attempt) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("attempt", "left", "hung", "seconds"),
    [
        (1, None, False, 15.0),
        (2, None, False, 30.0),
        (1, 60.0, False, 15.0),
        (1, 10.0, False, 5.0),
        (1, 10.0, True, 10.0),
        (2, 40.0, False, 20.0),
        (2, 40.0, True, 30.0),
    ],
)
def test_an_attempt_of_a_read_leaves_time_for_another(
    attempt: int, left: float | None, hung: bool, seconds: float
) -> None:
    assert READ.attempts > 2
    assert attempt_timeout(READ, attempt, left, hung=hung) == seconds


@pytest.mark.parametrize("left", [None, 10.0, 1000.0])
def test_the_last_attempt_and_a_generation_have_all_that_is_left(left: float | None) -> None:
    assert attempt_timeout(READ, READ.attempts, left) == left
    assert attempt_timeout(READ, READ.attempts + 1, left) == left
    assert attempt_timeout(READ, READ.attempts - 1, left) != left
    assert attempt_timeout(GENERATION, 1, left) == left


def test_five_milliseconds_are_enough_to_send_a_generation() -> None:
    assert LEAST == 0.005


def test_a_pause_that_the_service_asks_for_is_kept_to_half_a_minute() -> None:
    assert LONGEST_HINT == 30.0
