"""Starting, stopping, restarting and running until a signal; the clock; options out of range."""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from yagrpc import _pb
from yagrpc.emulator import (
    Clock,
    Emulator,
    EmulatorOptions,
    EmulatorServer,
    Exponential,
    Lognormal,
    Uniform,
    run,
    serve,
)
from yagrpc.emulator.emulator import _without_poller_noise

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Service


def test_a_with_block_is_its_life() -> None:
    before = set(threading.enumerate())
    emulator = Emulator()
    assert emulator.address == ""
    with emulator as entered:
        assert entered is emulator
        host, _, port = emulator.address.partition(":")
        assert host == "127.0.0.1"
        with socket.create_connection((host, int(port))):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    assert set(threading.enumerate()) <= before
    emulator.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_can_be_stopped_after_its_thread_has_ended() -> None:
    emulator = Emulator()
    emulator.start()
    emulator._end.cancel()  # as an exception that ends its event loop does
    emulator.stop()
    emulator.start()
    emulator.stop()


def test_it_cannot_be_started_twice(service: Service) -> None:
    with pytest.raises(RuntimeError, match="already"):
        service.emulator.start()


def test_a_restart_keeps_address_and_state(emulate: Emulate, ask: Ask) -> None:
    service = emulate(duration=5)
    address = service.emulator.address
    operation = service.text_async.Completion(ask("ping"))
    service.emulator.stop()
    service.emulator.advance(5)
    service.emulator.start()
    assert service.emulator.address == address
    assert service.get(operation.id, wait_for_ready=True).done
    assert service.emulator.calls.total() == 2


def test_two_emulators_do_not_share(emulate: Emulate, ask: Ask) -> None:
    one, other = emulate(), emulate()
    assert one.emulator.address != other.emulator.address
    one.complete(ask("ping"))
    assert other.emulator.calls == {}


def test_a_taken_port_is_an_error(service: Service) -> None:
    port = int(service.emulator.address.rpartition(":")[2])
    second = Emulator(port=port)
    with pytest.raises(RuntimeError, match=str(port)):
        second.start()
    second.stop()


def test_stopping_ends_running_calls(emulate: Emulate, ask: Ask) -> None:
    service = emulate(completion_duration=3600)
    call = service.text.Completion(ask("ping"))
    call.initial_metadata()
    service.emulator.stop()
    assert call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_it_serves_asyncio_clients_in_another_loop(service: Service, ask: Ask) -> None:
    async def talk() -> list[Any]:
        async with grpc.aio.insecure_channel(service.emulator.address) as channel:
            stub = _pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)
            return list(await asyncio.gather(*(stub.Completion(ask("ping")) for _ in range(50))))

    assert len({operation.id for operation in asyncio.run(talk())}) == 50


def test_only_the_noise_of_grpc_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    async def report(message: str, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_without_poller_noise)
        loop.call_exception_handler({"message": message, "exception": error})

    asyncio.run(report("Exception in callback PollerCompletionQueue._handle_events()", BlockingIOError()))
    assert not caplog.records
    asyncio.run(report("Exception in callback PollerCompletionQueue._handle_events()", ValueError()))
    asyncio.run(report("Exception in callback another()", BlockingIOError()))
    assert len(caplog.records) == 2


def test_a_server_lives_in_the_loop_of_its_user(ask: Ask) -> None:
    async def live() -> None:
        server = EmulatorServer(EmulatorOptions(duration=0))
        await server.stop()
        for _ in range(2):
            await server.start()
            with pytest.raises(RuntimeError, match="already"):
                await server.start()
            async with grpc.aio.insecure_channel(server.address) as channel:
                stub = _pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)
                assert (await stub.Completion(ask("ping"))).done
            await server.stop()
        assert server.state.received.calls.total() == 2

    asyncio.run(live())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_with_a_signal(number: signal.Signals) -> None:
    ready: list[str] = []

    def on_ready(server: EmulatorServer) -> None:
        with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2]))):
            ready.append(server.address)
        signal.raise_signal(number)

    before = signal.getsignal(number)
    run(on_ready=on_ready)
    assert len(ready) == 1
    assert signal.getsignal(number) == before


def test_a_failing_caller_ends_it() -> None:
    def on_ready(server: EmulatorServer) -> None:
        raise LookupError(server.address)

    with pytest.raises(LookupError, match=r"127\.0\.0\.1"):
        asyncio.run(serve(EmulatorOptions(), on_ready=on_ready))


def test_a_process_that_runs_it_ends_cleanly() -> None:
    program = (
        "from yagrpc.emulator import EmulatorOptions, run\n"
        "run(EmulatorOptions(seed=1), on_ready=lambda server: print(server.address, flush=True))\n"
        "print('ended', flush=True)\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with grpc.insecure_channel(address) as channel:
            stub = _pb.api_endpoint_service_pb2_grpc.ApiEndpointServiceStub(channel)
            assert stub.List(_pb.api_endpoint_service_pb2.ListApiEndpointsRequest()).endpoints
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)
    # asyncio's debug mode reports every step over 0.1 s, which a busy machine needs for any.
    errors = re.sub(r"(?m)^Executing <.*> took [0-9.]+ seconds\n", "", errors)
    assert (process.returncode, output, errors) == (0, "ended\n", "")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_is_allowed(host: str) -> None:
    assert EmulatorOptions(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com", ""])
def test_other_hosts_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"loopback only, .*--i-know"):
        EmulatorOptions(host=host)
    assert EmulatorOptions(host=host, i_know=True).host == host


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_ipv6_address_is_written_in_brackets() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with Emulator(host="::1") as emulator, grpc.insecure_channel(emulator.address) as channel:
        assert emulator.address.startswith("[::1]:")
        stub = _pb.api_endpoint_service_pb2_grpc.ApiEndpointServiceStub(channel)
        assert stub.List(_pb.api_endpoint_service_pb2.ListApiEndpointsRequest()).endpoints


@pytest.mark.parametrize(
    "options",
    [{"port": -1}, {"port": 65536}, {"duration": -1}, {"duration": math.nan}, {"completion_duration": -0.1}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"port|duration"):
        Emulator(**options)


@pytest.mark.parametrize("kind", [Lognormal(20, 1), Exponential(20), Uniform(10, 30)], ids=repr)
def test_durations_follow_their_distribution(kind: Any) -> None:
    rng = random.Random(1)
    drawn = sorted(kind(rng) for _ in range(4000))
    assert drawn[0] >= 0
    middle = {Lognormal: 20.0, Exponential: 20 * math.log(2), Uniform: 20.0}[type(kind)]
    assert drawn[2000] == pytest.approx(middle, rel=0.1)


def test_the_clock_runs_and_moves() -> None:
    clock = Clock()
    before = clock.now()
    clock.advance(100)
    clock.advance(0)
    assert 100 <= clock.now() - before < 110
    for seconds in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match="seconds is .*: it takes a number of seconds from 0 to "):
            clock.advance(seconds)


def test_waiting_ends_by_itself_or_by_an_advance() -> None:
    async def wait() -> None:
        clock = Clock()
        await clock.wait_until(clock.now())
        await clock.wait_until(clock.now() + 0.01)
        waiter = asyncio.ensure_future(clock.wait_until(clock.now() + 100))
        await asyncio.sleep(0)
        clock.advance(60)
        await asyncio.sleep(0)
        assert not waiter.done()
        clock.advance(60)
        await waiter
        cancelled = asyncio.ensure_future(clock.wait_until(clock.now() + 100))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        clock.advance(100)

    asyncio.run(wait())


def test_a_stop_that_is_cancelled_amid_a_crash_ends_as_cancelled(tmp_path: Path) -> None:
    async def stopped() -> EmulatorServer:
        server = EmulatorServer(EmulatorOptions(state=tmp_path / "state"))
        await server.start()
        server.state.crash(_pb.control_pb2.Crash(down=3600))
        while not server.state.clock._waiters:  # noqa: ASYNC110 - the crash tells nobody how far it is
            await asyncio.sleep(0)
        stop = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0)
        stop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stop
        return server

    assert asyncio.run(stopped()).state._file is None
