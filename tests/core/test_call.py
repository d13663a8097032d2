"""One logical call: what it promises by itself, and how it is ended and released."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from yagrpc import methods
from yagrpc._core.call.call import Call
from yagrpc._core.call.policy import policy_of

SUBMIT = methods.TextGenerationAsyncService.Completion


@pytest.fixture
def call() -> Call[Any, Any]:
    return Call(SUBMIT, policy_of(SUBMIT), object(), 60.0, (), "client-id")


def test_a_call_promises_nothing_by_itself(call: Call[Any, Any]) -> None:
    flags = (call.needs_token, call.resubmit, call.watched, call.cancelled, call.queues)
    assert flags == (False,) * 5
    assert call.wants_ids
    assert call.deadline is None
    assert call.context("model:443") == {
        "method": SUBMIT.path,
        "endpoint": "model:443",
        "attempts": 0,
        "operation_id": "",
        "client_request_id": "client-id",
        "request_id": "",
        "server_trace_id": "",
    }


def noting(notes: list[str], what: str) -> Callable[[], None]:
    return lambda: notes.append(what)


def test_cancelling_ends_the_attempt_and_releases_what_is_held(call: Call[Any, Any]) -> None:
    notes: list[str] = []
    call.started(noting(notes, "ended"))
    call.held = noting(notes, "released")
    assert notes == []
    call.cancel()
    assert notes == ["ended", "released"]
    assert call.cancelled


def test_an_attempt_that_starts_after_the_cancellation_is_ended_at_once(call: Call[Any, Any]) -> None:
    """By another thread: it may also have taken a slot again."""
    notes: list[str] = []
    call.cancel()
    call.held = noting(notes, "released")
    call.started(noting(notes, "ended"))
    assert notes == ["ended", "released"]


def test_nothing_ends_where_nothing_was_started(call: Call[Any, Any]) -> None:
    call.started(None)
    call.release()
    call.cancel()
    assert call.cancelled
