"""Listening to many operations at once: each is reported once, whatever becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from yagrpc import _pb
from yagrpc._core.operation.listening import Listening, distinct
from yagrpc._core.operation.view import OperationView
from yagrpc._core.polling.watch import Listener, Watch
from yagrpc._services.text import completion_type
from yagrpc.errors import ClientClosedError, RequestError


class Poller:
    """Keeps who listens.

    Attributes:
        listeners: The listeners, by the watches that they listen to.
        failure: What listening raises.
    """

    def __init__(self) -> None:
        self.listeners: dict[Watch, Listener] = {}
        self.failure: Exception | None = None

    def listen(self, operation: Any, listener: Listener) -> Watch:
        """Keep a listener; one of an operation that has ended is called at once."""
        if self.failure is not None:
            raise self.failure
        watch = Watch(operation.proto, 0.0, 0.0, attached=False)
        self.listeners[watch] = listener
        if operation.proto.description == "over":
            watch.latest = _pb.operation_pb2.Operation(id=operation.id, done=True)
            self.end(watch)
        return watch

    def unlisten(self, watch: Watch, listener: Listener) -> None:
        """Forget a listener."""
        assert self.listeners.pop(watch) is listener

    def end(self, watch: Watch) -> None:
        """Call a listener."""
        self.listeners.pop(watch)(watch)

    def end_of(self, operation: Any) -> None:
        """End an operation."""
        [watch] = [watch for watch in self.listeners if watch.operation_id == operation.id]
        watch.latest = _pb.operation_pb2.Operation(id=operation.id, done=True)
        self.end(watch)


class Client:
    """Has a poller."""

    def __init__(self) -> None:
        self._poller = Poller()


@pytest.fixture
def client() -> Client:
    return Client()


def operation(client: Any, name: str, **known: Any) -> OperationView[Any, Any]:
    return OperationView(client, _pb.operation_pb2.Operation(id=name, **known), completion_type(), None)


def test_each_operation_is_reported_once_when_it_ends(client: Client) -> None:
    first, second = operation(client, "1"), operation(client, "2")
    reported: list[Any] = []
    Listening([first, second], reported.append)
    assert reported == []
    client._poller.end_of(second)
    assert reported == [second]
    assert second.proto.done
    client._poller.end_of(first)
    assert reported == [second, first]


def test_what_is_known_is_reported_at_once_and_not_listened_to(client: Client) -> None:
    over = operation(client, "1", done=True)
    reported: list[Any] = []
    Listening([over], reported.append)
    assert reported == [over]
    assert client._poller.listeners == {}


def test_an_end_that_comes_at_once_is_reported_once(client: Client) -> None:
    ending = operation(client, "1", description="over")
    reported: list[Any] = []
    Listening([ending], reported.append).close()
    assert reported == [ending]


def test_a_closed_client_is_the_failure_of_its_operations_alone(client: Client) -> None:
    other = Client()
    other._poller.failure = error = ClientClosedError("2")
    fine, closed = operation(client, "1"), operation(other, "2")
    reported: list[Any] = []
    Listening([closed, fine], reported.append)
    assert reported == [closed]
    assert closed._failure is error
    client._poller.end_of(fine)
    assert reported == [closed, fine]


def test_closing_forgets_those_that_run(client: Client) -> None:
    first, second = operation(client, "1"), operation(client, "2")
    reported: list[Any] = []
    listening = Listening([first, second], reported.append)
    client._poller.end_of(first)
    listening.close()
    assert client._poller.listeners == {}
    listening.close()
    assert reported == [first]


def test_another_failure_forgets_those_before_it(client: Client) -> None:
    other = Client()
    other._poller.failure = KeyError("no thread")
    with pytest.raises(KeyError):
        Listening([operation(client, "1"), operation(other, "2")], lambda reported: None)
    assert client._poller.listeners == {}


# What is listened to


def test_operations_are_taken_each_once(client: Client) -> None:
    first, second = operation(client, "1"), operation(client, "2")
    assert distinct(iter([second, first, second])) == [second, first]
    assert distinct([]) == []


def test_what_is_no_operation_is_refused(client: Client) -> None:
    one = operation(client, "1")
    for given, said in (
        (one, r"write \[operation, ...\]"),
        ("d7q", r"write \[operation, ...\]"),
        (7, r"write \[operation, ...\]"),
        ([one, "d7q"], r"write client.operation\(id\) for an id"),
        ([one, [one]], r"write gather\(\*operations\)"),
        ([one, 7], "it takes operations, as completion_async and operation give$"),
    ):
        with pytest.raises(RequestError, match=said):
            distinct(given)  # type: ignore[type-var,arg-type]
