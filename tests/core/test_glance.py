"""One poll of each of several operations, on a virtual clock."""

from __future__ import annotations

import pytest

from yagrpc import _pb
from yagrpc._core.polling.scheduler import Scheduler
from yagrpc._core.polling.watch import Glance, Watch
from yagrpc._grpc.runtime import RUNTIME
from yagrpc.config import Polling, Quota
from yagrpc.errors import UnavailableError


def joined(scheduler: Scheduler, name: str, glance: Glance) -> Watch:
    """Another operation of a glance."""
    watch = scheduler.watch(_pb.operation_pb2.Operation(id=name), 0.0)
    glance.add(watch)
    scheduler.hurry(watch, 0.0)
    return watch


def came_back(scheduler: Scheduler, watch: Watch, now: float, *, failed: bool = False, done: bool = False) -> None:
    """A Get came back; the shells call what is to be woken then."""
    if failed:
        scheduler.failed(watch, UnavailableError("no"), now)
    else:
        scheduler.answered(watch, _pb.operation_pb2.Operation(id=watch.operation_id, done=done), now)
    for wake in watch.wakers:
        wake()


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_an_operation_whose_get_came_back_is_not_polled_again_while_others_are_waited_for(
    which: int, failed: bool
) -> None:
    scheduler = Scheduler(Quota(get_per_second=1000), Polling(first=0.01, shortest=0.01, longest=0.1), RUNTIME)
    glance = Glance(scheduler.release)
    watches = [joined(scheduler, "first", glance), joined(scheduler, "second", glance)]
    assert [scheduler.take(0.1), scheduler.take(0.2)] == watches
    back, other = watches[which], watches[1 - which]
    came_back(scheduler, back, 0.3, failed=failed)
    assert not glance.over
    assert scheduler.take(100.0) is None, "it would be due again"
    assert scheduler.watches() == [other]
    came_back(scheduler, other, 100.1, done=True)
    assert glance.over
    assert len(scheduler) == 0
    glance.close()
    assert not any(watch.wakers for watch in watches)


def test_what_did_not_come_back_is_released_at_the_end() -> None:
    scheduler = Scheduler(Quota(), Polling(), RUNTIME)
    glance = Glance(scheduler.release)
    watch = joined(scheduler, "first", glance)
    assert not glance.over
    glance.close()
    assert len(scheduler) == 0
    assert not watch.wakers


def test_another_waiter_keeps_an_operation_polled() -> None:
    scheduler = Scheduler(Quota(get_per_second=1000), Polling(first=0.01, shortest=0.01, longest=0.1), RUNTIME)
    glance = Glance(scheduler.release)
    watch = joined(scheduler, "first", glance)
    scheduler.watch(watch.latest, 0.0)
    assert scheduler.take(0.1) is watch
    came_back(scheduler, watch, 0.2)
    assert glance.over
    assert scheduler.take(100.0) is watch
