"""One poll of each of several operations, on a virtual clock."""

from __future__ import annotations

from yagrpc import _pb
from yagrpc._core.polling.scheduler import Scheduler
from yagrpc._core.polling.watch import Glance, Watch
from yagrpc._grpc.runtime import RUNTIME
from yagrpc.config import Polling, Quota


def joined(scheduler: Scheduler, name: str, glance: Glance) -> Watch:
    """Another operation of a glance."""
    watch = scheduler.watch(_pb.operation_pb2.Operation(id=name), 0.0)
    glance.add(watch)
    scheduler.hurry(watch, 0.0)
    return watch


def test_an_operation_whose_get_came_back_is_not_polled_again_while_others_are_waited_for() -> None:
    scheduler = Scheduler(Quota(get_per_second=1000), Polling(first=0.01, shortest=0.01, longest=0.1), RUNTIME)
    glance = Glance(scheduler.release)
    first, second = joined(scheduler, "first", glance), joined(scheduler, "second", glance)
    assert [scheduler.take(0.1), scheduler.take(0.2)] == [first, second]
    scheduler.answered(first, _pb.operation_pb2.Operation(id="first"), 0.3)
    assert not glance.over
    assert scheduler.take(100.0) is None, "the first would be due again"
    assert scheduler.watches() == [second]
    scheduler.answered(second, _pb.operation_pb2.Operation(id="second", done=True), 100.1)
    assert glance.over
    assert len(scheduler) == 0
    glance.close()


def test_what_did_not_come_back_is_released_at_the_end() -> None:
    scheduler = Scheduler(Quota(), Polling(), RUNTIME)
    glance = Glance(scheduler.release)
    joined(scheduler, "first", glance)
    assert not glance.over
    glance.close()
    assert len(scheduler) == 0


def test_another_waiter_keeps_an_operation_polled() -> None:
    scheduler = Scheduler(Quota(get_per_second=1000), Polling(first=0.01, shortest=0.01, longest=0.1), RUNTIME)
    glance = Glance(scheduler.release)
    watch = joined(scheduler, "first", glance)
    scheduler.watch(watch.latest, 0.0)
    assert scheduler.take(0.1) is watch
    scheduler.answered(watch, watch.latest, 0.2)
    assert glance.over
    assert scheduler.take(100.0) is watch
