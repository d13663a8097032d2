"""The control service: all that it offers, through its typed helper and bare, and that it is off unless asked."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc import _pb
from yagrpc.emulator import (
    Control,
    Crash,
    Delay,
    DropConnection,
    EarlyError,
    EmulatorOptions,
    ExpireToken,
    Failure,
    Fault,
    Garbage,
    Hang,
    LostReply,
    NoResult,
    Oversize,
    Take,
    WrongType,
    paths,
)
from yagrpc.emulator.clock import END
from yagrpc.emulator.faults.fault import ACTIONS
from yagrpc.emulator.faults.schema import CONDITIONS

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused, Response, Service

TextOf = Callable[["Response"], str]
pb = _pb.control_pb2
DETAIL = _pb.error_details_pb2.ErrorInfo(reason="TRIED")

EVERY_ACTION = [
    Failure(grpc.StatusCode.ABORTED, "again", (DETAIL,)),
    Delay(0),
    Delay(2.5),
    Take(math.inf),
    Hang(),
    ExpireToken(3600),
    LostReply(),
    LostReply(True),
    DropConnection(),
    DropConnection(3),
    Crash(),
    Crash(keep=False, down=5),
    WrongType(),
    WrongType("yandex.cloud.operation.Operation"),
    NoResult(),
    EarlyError(),
    EarlyError(8, "early"),
    Oversize(),
    Oversize(0),
    Garbage(),
    Garbage(b""),
]
EVERY_CONDITION: list[dict[str, Any]] = [
    {},
    {"method": "OperationService/Get"},
    {"calls": (2, 3)},
    {"operation": 4},
    {"operation": "d7q"},
    {"probability": 0.0},
    {"probability": 0.25, "seed": 0},
    {"times": 3},
]


@pytest.fixture
def service(emulate: Emulate) -> Service:
    return emulate(control=True, duration=60, frozen=True)


@pytest.fixture
def control(service: Service) -> Iterator[Control]:
    with Control(service.emulator.address) as control:
        yield control


@pytest.mark.parametrize("action", EVERY_ACTION, ids=repr)
def test_every_action_comes_through(action: Any) -> None:
    assert Fault.from_message(Fault(action).message) == Fault(action)


def test_no_action_is_left_out() -> None:
    assert {type(action) for action in EVERY_ACTION} == set(ACTIONS.values())
    assert set(ACTIONS) == {field.name for field in pb.Fault.DESCRIPTOR.oneofs_by_name["action"].fields}


@pytest.mark.parametrize("name", [name for name in ACTIONS if name not in ("fail", "early_error")])
def test_an_action_in_python_takes_the_fields_of_its_message(name: str) -> None:
    message = pb.Fault.DESCRIPTOR.fields_by_name[name].message_type
    assert message is not None
    assert list(inspect.signature(ACTIONS[name]).parameters) == [field.name for field in message.fields]


def test_a_fault_in_python_takes_the_conditions_of_its_message() -> None:
    assert set(inspect.signature(Fault).parameters) == {"action", *CONDITIONS}


def test_a_default_that_is_written_out_is_the_same_fault() -> None:
    written = (Crash(True, 0), WrongType("google.protobuf.Empty"), Oversize(6 * 1024 * 1024), Garbage(b"\xff" * 4))
    assert written == (Crash(), WrongType(), Oversize(), Garbage())
    assert len({*written, Crash(), WrongType(), Oversize(), Garbage()}) == 4
    assert repr(Fault(Crash(keep=False), calls=2)) == "Fault(calls: 2 crash { keep: false })"
    assert Crash() != Hang()
    assert Crash() != Fault(Crash())


@pytest.mark.parametrize("conditions", EVERY_CONDITION, ids=repr)
def test_every_condition_comes_through(conditions: dict[str, Any]) -> None:
    fault = Fault(Hang(), **conditions)
    assert Fault.from_message(fault.message) == fault


def test_a_single_call_is_a_list_of_one() -> None:
    assert Fault.from_message(Fault(Hang(), calls=2).message) == Fault(Hang(), calls=(2,))


def test_faults_are_added_and_cleared(service: Service, control: Control, ask: Ask, refused: Refused) -> None:
    control.add_faults(Fault(LostReply(), method=paths.COMPLETION_ASYNC), Fault(Hang(), method=paths.OPERATION_GET))
    assert refused(service.text_async.Completion, ask("ping")).code is grpc.StatusCode.UNAVAILABLE
    assert refused(service.get, "d7q", timeout=0.1).code is grpc.StatusCode.DEADLINE_EXCEEDED
    control.clear_faults()
    assert service.text_async.Completion(ask("ping")).id


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([pb.Fault(hang=pb.Nothing()), pb.Fault()], r"faults\[1\]: a fault has no action: one of fail, delay"),
        ([pb.Fault(hang=pb.Nothing(), method="No/Method")], r"faults\[0\]: unknown method 'No/Method'"),
        ([pb.Fault(fail=_pb.status_pb2.Status(code=99))], r"faults\[0\]: unknown status code 99"),
        ([pb.Fault(fail=_pb.status_pb2.Status())], r"faults\[0\]: a failure has a code other than OK"),
        ([pb.Fault(early_error=_pb.status_pb2.Status())], r"faults\[0\]: code of an error is not 0"),
        ([pb.Fault(delay=pb.Seconds(seconds=-1))], r"faults\[0\]: seconds is a finite number"),
        ([pb.Fault(take=pb.Seconds())], r"faults\[0\]: seconds is required"),
        ([pb.Fault(hang=pb.Nothing(), method="")], r"faults\[0\]: unknown method ''"),
        ([pb.Fault(hang=pb.Nothing(), operation_number=0)], r"faults\[0\]: an operation is an id, or a number from 1"),
    ],
    ids=str,
)
def test_a_wrong_fault_is_refused_with_all_others(
    service: Service, faults: list[_pb.control_pb2.Fault], expected: str
) -> None:
    stub = _pb.control_pb2_grpc.ControlServiceStub(service.channel)
    with pytest.raises(grpc.RpcError, match=expected) as caught:
        stub.AddFaults(pb.AddFaultsRequest(faults=faults))
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(service.emulator.faults) == 0


def test_a_detail_of_an_unknown_type_is_refused() -> None:
    status = _pb.status_pb2.Status(code=13)
    status.details.add(type_url="type.googleapis.com/no.such.Message")
    with pytest.raises(ValueError, match=r"unknown message type 'no\.such\.Message'"):
        Fault.from_message(pb.Fault(fail=status))


def test_replies_are_replaced(service: Service, control: Control, ask: Ask, text_of: TextOf, refused: Refused) -> None:
    before = service.text_async.Completion(ask("ping")).id
    control.set_replies({"ping": "pong", "fail": Failure(grpc.StatusCode.INTERNAL, "broken", (DETAIL,))})
    assert text_of(service.complete(ask("ping"))) == "pong"
    assert refused(service.text.Completion, ask("fail")).message == "broken"
    control.advance(60)
    assert "You wrote" in text_of(service.result(service.get(before)))
    control.set_replies({})
    assert "You wrote" in text_of(service.complete(ask("ping")))
    with pytest.raises(ValueError, match="replies: "):
        control.set_replies({"(": "x"})
    stub = _pb.control_pb2_grpc.ControlServiceStub(service.channel)
    with pytest.raises(grpc.RpcError, match="no reply to 'x': text or error is required"):
        stub.SetReplies(pb.SetRepliesRequest(replies=[pb.Reply(pattern="x")]))


def test_time_is_moved(service: Service, control: Control, ask: Ask) -> None:
    operation = service.text_async.Completion(ask("ping"))
    start = control.now()
    assert control.now() == start == pytest.approx(service.emulator.now(), abs=1e-6)
    assert control.advance(59) == pytest.approx(start + 59, abs=1e-5)
    assert not service.get(operation.id).done
    assert control.set_time(start + 60.5) == pytest.approx(start + 60.5, abs=1e-5)
    assert service.get(operation.id).done
    with pytest.raises(ValueError, match="to: moment is .*: a clock never goes back"):
        control.set_time(start)
    with pytest.raises(ValueError, match="seconds is -1: it takes a number of seconds from 0 to "):
        control.advance(-1)
    assert control.freeze(False) <= control.now()
    while control.now() == start + 60.5:  # until it is seen to run
        pass
    assert control.freeze() == control.now()


@pytest.mark.parametrize("value", [1e300, math.nan, math.inf, 10**400, -1e300, "x", None])
def test_time_that_is_none_is_refused_and_changes_nothing(service: Service, control: Control, value: Any) -> None:
    start = service.emulator.now()
    error = ValueError if isinstance(value, (float, int)) else TypeError
    for name, move in (("seconds", control.advance), ("moment", control.set_time)):
        with pytest.raises(
            error, match=f"^{name} is .*: it takes a number of seconds from 0 to the end of the year 9999"
        ):
            move(value)
    stub = _pb.control_pb2_grpc.ControlServiceStub(service.channel)
    bare = [pb.AdvanceTimeRequest(to=_pb.timestamp_pb2.Timestamp(seconds=int(END) + 1), frozen=False)]
    if isinstance(value, float):
        bare.append(pb.AdvanceTimeRequest(seconds=value, frozen=False))
    for request in bare:
        with pytest.raises(grpc.RpcError, match="it takes a number of seconds from 0 to ") as caught:
            stub.AdvanceTime(request)
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ValueError, match="can't move beyond the end of the year 9999"):
        control.advance(END)
    assert service.emulator.now() == start
    assert service.emulator._state.clock.frozen


@pytest.mark.parametrize("duration", [1e19, 1e300])
def test_an_end_beyond_the_clock_s_is_never(emulate: Emulate, ask: Ask, duration: float) -> None:
    service = emulate(control=True, duration=duration)
    service.text_async.Completion(ask("slow"))
    with Control(service.emulator.address) as control:
        (one,) = control.operations()
    assert math.isinf(one.ends)


def test_operations_are_listed(emulate: Emulate, ask: Ask) -> None:
    service = emulate(control=True, frozen=True, duration=60)
    with Control(service.emulator.address) as control:
        first = service.text_async.Completion(ask("one"), metadata=(("x-emulator-duration", "10"),))
        second = service.text_async.Completion(ask("two"), metadata=(("x-emulator-duration", "inf"),))
        control.advance(10)
        for _ in range(3):
            service.get(first.id)
        service.get(second.id)
        one, two = control.operations()
        assert [one.id, two.id] == [first.id, second.id]
        assert [one.number, two.number] == [1, 2]
        assert one.ends - one.created == pytest.approx(10, abs=1e-5)
        assert math.isinf(two.ends)
        assert [one.done, two.done] == [True, False]
        assert control.deliveries() == {first.id: 3} == service.emulator.deliveries


def test_counters_are_read_and_reset(service: Service, control: Control, ask: Ask, refused: Refused) -> None:
    operation = service.text_async.Completion(ask("ping"))
    refused(service.text_async.Completion, ask())
    for _ in range(3):
        service.get(operation.id)
    control.advance(1)
    service.get(operation.id)
    counters = control.counters()
    submits, gets = counters[paths.COMPLETION_ASYNC], counters[paths.OPERATION_GET]
    assert (submits.calls, submits.generations, dict(submits.refusals)) == (2, 1, {3: 1})
    assert (gets.calls, gets.generations, dict(gets.refusals), gets.most_in_a_second) == (4, 0, {}, 3)
    assert not any("Control" in path for path in counters), "its own calls are not counted"
    assert service.emulator.generations == {paths.COMPLETION_ASYNC: 1}
    assert service.emulator.most_in_a_second == {paths.COMPLETION_ASYNC: 2, paths.OPERATION_GET: 3}
    control.add_faults(Fault(Hang()))
    control.set_replies({"": "x"})
    control.reset()
    assert control.counters() == {}
    assert control.operations() == []
    assert "You wrote" in str(service.complete(ask("ping"), timeout=60))


def test_it_meets_no_credentials_and_no_faults(emulate: Emulate) -> None:
    service = emulate(control=True, auth="present", faults=[Fault(Hang())])
    with Control(service.emulator.address) as control:
        assert control.counters() == {}


def test_it_is_off_unless_asked_for(emulate: Emulate) -> None:
    with (
        Control(emulate().emulator.address) as control,
        pytest.raises(RuntimeError, match="started without its control service"),
    ):
        control.reset()


def test_it_is_never_served_to_others() -> None:
    with pytest.raises(ValueError, match="the control service is served on loopback only"):
        EmulatorOptions(host="0.0.0.0", i_know=True, control=True)


def test_other_failures_of_it_are_grpc_s(service: Service, control: Control) -> None:
    service.emulator.stop()
    control.close()
    with Control("127.0.0.1:1") as nobody, pytest.raises((grpc.RpcError, ValueError)):
        nobody._stub.Reset(pb.ResetRequest(), timeout=0.1)
