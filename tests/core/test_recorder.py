"""A generation that is recorded: after its slot and its connection, before it leaves, and again for each attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from yagrpc import methods
from yagrpc._core.failure.status import RpcStatus
from yagrpc.errors import AmbiguousSubmitError, Code, InvalidArgumentError, JournalError

SUBMIT = methods.TextGenerationAsyncService.Completion

EXHAUSTED = RpcStatus(Code.RESOURCE_EXHAUSTED, "quota", from_peer=True)
LOST = RpcStatus(Code.UNAVAILABLE, "gone", from_peer=False)


class Recorder:
    """Notes what it is called for, among what the flow asks for."""

    def __init__(self, asked: list[Any], fails: bool = False) -> None:
        self.woken = True
        self.wake: Callable[[], object] | None = None
        self._asked = asked
        self._fails = fails

    def begin(self) -> Recorder:
        self._asked.append(("begin", None))
        return self

    def check(self) -> None:
        if self._fails:
            raise JournalError("the disk is full")

    def refused(self, code: str) -> None:
        self._asked.append((f"refused {code}", None))

    def accepted(self, operation_id: str) -> None:
        self._asked.append((f"accepted {operation_id}", None))


@pytest.fixture
def recorded(a_call: Any, drive: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes a submit that is recorded; its waits are over at once."""
    monkeypatch.setattr(drive, "waiting", lambda effect: None)

    def make(fails: bool = False) -> Any:
        call = a_call(SUBMIT)
        call.recorder = Recorder(drive.asked, fails)
        return call

    return make


def test_it_is_recorded_between_the_connection_and_the_send(
    recorded: Any, run: Any, drive: Any, operation: Any
) -> None:
    run(recorded(), [operation("d7q")])
    assert drive.kinds() == ["connect", "begin", "wait", "send", "accepted d7q"]


def test_nothing_is_sent_that_could_not_be_recorded(recorded: Any, run: Any, drive: Any) -> None:
    with pytest.raises(JournalError, match="the disk is full"):
        run(recorded(fails=True), [])
    assert drive.kinds() == ["connect", "begin", "wait"]


def test_a_refused_attempt_is_taken_back_before_the_pause(recorded: Any, run: Any, drive: Any, operation: Any) -> None:
    run(recorded(), [EXHAUSTED, operation("d7q")])
    assert drive.kinds() == [
        *("connect", "begin", "wait", "send", "refused RESOURCE_EXHAUSTED", "sleep"),
        *("connect", "begin", "wait", "send", "accepted d7q"),
    ]


@pytest.mark.parametrize(
    ("status", "error"),
    [(LOST, AmbiguousSubmitError), (RpcStatus(Code.INVALID_ARGUMENT, "no", from_peer=True), InvalidArgumentError)],
)
def test_a_failure_that_is_final_is_left_to_the_caller(
    recorded: Any, run: Any, drive: Any, status: RpcStatus, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run(recorded(), [status])
    assert drive.kinds() == ["connect", "begin", "wait", "send"]


def test_an_attempt_that_may_have_run_is_never_taken_back(recorded: Any, run: Any, drive: Any, operation: Any) -> None:
    call = recorded()
    call.resubmit = True
    run(call, [LOST, EXHAUSTED, operation("d7q")])
    assert not [kind for kind in drive.kinds() if kind.startswith("refused")]
