"""Time under control: a clock that is set, advanced and frozen; durations that are fixed, drawn or asked for."""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc import _pb
from yagrpc.emulator import Bimodal, Clock, Emulator, Exponential, Lognormal, Uniform, parse_duration
from yagrpc.emulator.clock import END
from yagrpc.emulator.durations import DURATION_KEY

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused, Service


def test_a_frozen_clock_moves_only_when_it_is_moved() -> None:
    clock = Clock(frozen=True)
    start = clock.now()
    assert clock.frozen
    assert clock.now() == start
    clock.advance(5)
    assert clock.now() == start + 5
    clock.set(start + 7)
    assert clock.now() == start + 7


def test_a_clock_is_set_forward_only() -> None:
    for frozen in (True, False):
        clock = Clock(frozen=frozen)
        clock.set(clock.now() + 100)
        now = clock.now()
        with pytest.raises(ValueError, match="moment is .*: a clock never goes back, and it is "):
            clock.set(now - 1)
        assert now <= clock.now() < now + 10


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (-1, ValueError, "-1"),
        (math.nan, ValueError, "nan"),
        (math.inf, ValueError, "inf"),
        (1e300, ValueError, "1e+300"),
        (END + 1, ValueError, "253402300800.0"),
        (10**400, ValueError, "an int beyond all floats"),
        (-(10**5000), ValueError, "an int beyond all floats"),
        ("x", TypeError, "'x'"),
        (None, TypeError, "None"),
        (1j, TypeError, "1j"),
    ],
    ids=lambda value: str(value)[:9] if not isinstance(value, int) else f"{value.bit_length()} bits",
)
def test_a_clock_takes_seconds_up_to_the_year_9999(
    value: Any, error: type[Exception], shown: str, frozen: bool
) -> None:
    emulator = Emulator(frozen=frozen)
    before = emulator.now()
    for name, move in (("seconds", emulator.advance), ("moment", emulator.set_time)):
        with pytest.raises(error) as caught:
            move(value)
        allowed = "a number of seconds from 0 to the end of the year 9999 (253402300799 s since the epoch)"
        assert str(caught.value) == f"{name} is {shown}: it takes {allowed}"
    with pytest.raises(ValueError, match=r"seconds is .*: a clock at .* can't move beyond the end of the year 9999"):
        emulator.advance(END - 1)
    assert before <= emulator.now() < before + 10


def test_calls_are_served_at_the_end_of_the_clock(emulate: Emulate, ask: Ask) -> None:
    service = emulate()
    service.emulator.set_time(END)
    assert service.emulator.now() == END
    operation = service.text_async.Completion(ask("ping"))
    assert not service.get(operation.id).done
    assert operation.created_at.ToJsonString() == "9999-12-31T23:59:59Z"
    assert service.emulator.now() == END, "though the clock is not frozen"
    service.emulator.freeze()
    service.emulator.unfreeze()
    service.emulator.advance(0)
    assert service.emulator.now() == END
    token = _pb.iam_token_service_pb2_grpc.IamTokenServiceStub(service.channel).CreateForServiceAccount(
        _pb.iam_token_service_pb2.CreateIamTokenForServiceAccountRequest(service_account_id="x")
    )
    assert token.expires_at.ToJsonString() == "9999-12-31T23:59:59Z"
    with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
        list(service.text.Completion(ask("ping"), metadata=((DURATION_KEY, "0.001"),), timeout=0.1))


def test_a_clock_freezes_and_runs_again() -> None:
    clock = Clock()
    clock.freeze()
    clock.freeze()
    stood = clock.now()
    assert clock.now() == stood
    clock.advance(10)
    clock.unfreeze()
    clock.unfreeze()
    assert not clock.frozen
    assert stood + 10 <= clock.now() < stood + 20


def test_who_waits_notices_freezing_and_setting() -> None:
    async def wait() -> None:
        clock = Clock(frozen=True)
        start = clock.now()
        frozen, endless = (asyncio.ensure_future(clock.wait_until(start + wanted)) for wanted in (0.01, math.inf))
        await asyncio.sleep(0.03)
        assert not frozen.done()
        clock.unfreeze()
        await frozen
        clock.freeze()
        later = asyncio.ensure_future(clock.wait_until(clock.now() + 100))
        await asyncio.sleep(0)
        clock.set(clock.now() + 100)
        await later
        assert not endless.done()
        endless.cancel()

    asyncio.run(wait())


def test_an_emulator_s_time_is_set_and_frozen(emulate: Emulate, ask: Ask) -> None:
    service = emulate(frozen=True, duration=60)
    start = service.emulator.now()
    operation = service.text_async.Completion(ask("ping"))
    service.emulator.set_time(start + 59)
    assert not service.get(operation.id).done
    service.emulator.set_time(start + 600)
    done = service.get(operation.id)
    assert done.done
    assert done.modified_at.seconds == int(start + 60), "its real end, not the time of the Get"
    service.emulator.unfreeze()
    service.emulator.freeze()
    assert service.emulator.now() >= start + 600


@pytest.mark.parametrize("seconds", ["30", "0", "0.5", "inf"])
def test_a_request_sets_how_long_it_takes(emulate: Emulate, ask: Ask, seconds: str) -> None:
    service = emulate(frozen=True, duration=60, completion_duration=60)
    metadata = ((DURATION_KEY, seconds),)
    operation = service.text_async.Completion(ask("ping"), metadata=metadata)
    (record,) = service.emulator.operations
    assert record.ends - record.created == pytest.approx(float(seconds), abs=1e-6)
    assert operation.done == (seconds == "0")
    call = service.text.Completion(ask("ping"), metadata=metadata)
    call.initial_metadata()
    if seconds != "inf":
        service.emulator.advance(float(seconds))
        assert len(list(call)) == 1


@pytest.mark.parametrize("seconds", ["-1", "nan", "soon", ""])
def test_a_request_that_asks_for_nonsense_is_refused(
    service: Service, ask: Ask, refused: Refused, seconds: str
) -> None:
    for method in (service.text.Completion, service.text_async.Completion):
        refusal = refused(method, ask("ping"), metadata=[(DURATION_KEY, seconds)])
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert DURATION_KEY in refusal.message
    assert service.emulator.generations == {}


def test_some_are_long() -> None:
    rng = random.Random(1)
    drawn = [Bimodal(1, 100, 0.25)(rng) for _ in range(4000)]
    assert set(drawn) == {1, 100}
    assert drawn.count(100) == pytest.approx(1000, rel=0.1)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("10", 10.0),
        ("0", 0.0),
        ("inf", math.inf),
        ("lognormal:20,1", Lognormal(20, 1)),
        ("exponential:5", Exponential(5)),
        ("uniform:1,2.5", Uniform(1, 2.5)),
        ("bimodal:1,60,0.1", Bimodal(1, 60, 0.1)),
    ],
)
def test_a_duration_is_read(text: str, duration: Any) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-1", "nan", "1,2", "lognormal", "lognormal:", "lognormal:20", "lognormal:20,1,1", "normal:1,2"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration is a number of seconds"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        "lognormal:0,1",
        "lognormal:1,-1",
        "exponential:0",
        "uniform:-1,1",
        "uniform:2,1",
        "bimodal:1,2,3",
        "bimodal:-1,2,1",
    ],
)
def test_a_distribution_out_of_its_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is out of its range"):
        parse_duration(text)
