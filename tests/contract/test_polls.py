"""`client.poll`: one Get of each of many operations, for schedulers, on both clients."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc.emulator import Emulator, EmulatorQuota, Failure, Fault, paths

GET = paths.OPERATION_GET
OUTAGE = Fault(Failure(grpc.StatusCode.UNAVAILABLE, "no"), method=GET)


def submitted(subject: Any, client: Any, count: int) -> list[str]:
    """The ids of operations, as a database has them."""
    return [subject(client.completion_async(f"row {number}")).id for number in range(count)]


def test_those_that_ended_are_given_in_order_after_one_get_each(subject: Any, emulator: Emulator) -> None:
    ids = submitted(subject, subject.client(emulator), 20)
    client = subject.client(emulator)
    assert subject(client.poll(ids)) == []
    assert emulator.calls[GET] == 20
    emulator.advance(3600)
    ended = subject(client.poll([*ids[::-1], ids[0]]))
    assert [operation.id for operation in ended] == ids[::-1]
    assert emulator.calls[GET] == 40
    assert all(subject(operation.result(0)).text for operation in ended)
    assert emulator.calls[GET] == 40


def test_nothing_to_poll_sends_nothing(subject: Any, emulator: Emulator) -> None:
    assert subject(subject.client(emulator).poll([])) == []
    assert not emulator.calls


@pytest.mark.parametrize("wrong", [None, 5, "d7qabcdefghijklmnopq"])
def test_what_is_no_list_of_ids_is_refused(subject: Any, emulator: Emulator, wrong: Any) -> None:
    with pytest.raises(yagrpc.RequestError, match="operation_ids is .*it takes an iterable of ids: write"):
        subject(subject.client(emulator).poll(wrong))
    assert not emulator.calls, "a text is one id, not an id for each of its letters"


@pytest.mark.parametrize("wrong", [[None], [["id"]], [""], ["AQVN-a-key-that-was-pasted"]])
def test_an_id_that_cannot_be_sent_is_refused(subject: Any, emulator: Emulator, wrong: Any) -> None:
    with pytest.raises(yagrpc.RequestError, match="operation_id is .*the id that the submit gave"):
        subject(subject.client(emulator).poll(["known", *wrong]))
    assert not emulator.calls


def test_an_operation_that_is_not_known_has_ended(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator)
    (known,) = submitted(subject, client, 1)
    (ended,) = subject(client.poll([known, "nobody"]))
    assert ended.id == "nobody"
    with pytest.raises(yagrpc.OperationNotFoundError):
        subject(ended.result(0))


def test_a_get_that_fails_leaves_the_others(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator)
    ids = submitted(subject, client, 3)
    emulator.advance(3600)
    emulator.faults.add(Fault(Failure(grpc.StatusCode.UNAVAILABLE, "once"), method=GET, calls=1))
    ended = subject(client.poll(ids))
    assert [operation.id for operation in ended] in ([*ids[:1], *ids[2:]], ids[1:], ids[:2])


def test_where_every_get_fails_that_is_the_error(subject: Any, emulator: Emulator) -> None:
    ids = submitted(subject, subject.client(emulator), 2)
    emulator.faults.add(OUTAGE)
    with pytest.raises(yagrpc.UnavailableError) as caught:
        subject(subject.client(emulator).poll(ids))
    assert caught.value.operation_id in ids
    assert emulator.calls[GET] == 2


def test_an_operation_whose_get_is_refused_has_ended(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator)
    ids = submitted(subject, client, 2)
    emulator.faults.add(Fault(Failure(grpc.StatusCode.PERMISSION_DENIED, "not yours"), method=GET))
    ended = subject(client.poll(ids))
    assert [operation.id for operation in ended] == ids
    for operation in ended:
        with pytest.raises(yagrpc.PermissionDeniedError, match="not yours"):
            subject(operation.result(0))


def test_the_gets_are_paced(subject: Any) -> None:
    with Emulator(quota=EmulatorQuota(get_per_second=10), duration=0.01) as emulator:
        client = subject.client(emulator, quota=yagrpc.Quota(get_per_second=10))
        ids = submitted(subject, client, 10)
        while len(subject(client.poll(ids))) < len(ids):
            pass
        assert not emulator.refusals


def test_a_timeout_ends_the_polls_and_not_the_operations(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, quota=yagrpc.Quota(get_per_second=0.1))
    ids = submitted(subject, client, 2)
    emulator.advance(3600)
    ended = subject(client.poll(ids, timeout=0.5))
    assert len(ended) == 1
    assert emulator.calls[GET] == 1


def test_a_closed_client_polls_nothing(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator)
    subject(client.close())
    with pytest.raises(yagrpc.ClientClosedError):
        subject(client.poll(["d7q"]))


@pytest.mark.parametrize("wrong", [[""], [5]])
def test_an_id_that_is_none_is_named(subject: Any, emulator: Emulator, wrong: list[Any]) -> None:
    with pytest.raises(yagrpc.RequestError):
        subject(subject.client(emulator).poll(wrong))
