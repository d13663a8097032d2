"""Runs under the documented quotas take as long as these quotas make them, and never pass one: on virtual time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import yagrpc
from tests.bulk.virtual import Network, VirtualTime
from tests.bulk.virtual import virtual_time as virtual_time
from yagrpc import methods
from yagrpc.bulk.asynchronous import AsyncBulk
from yagrpc.emulator import Bimodal, EmulatorQuota, Lognormal
from yagrpc.emulator.cloud.operations import OperationRecord
from yagrpc.emulator.options import EmulatorOptions
from yagrpc.emulator.server import EmulatorServer

SUBMIT = methods.TextGenerationAsyncService.Completion.path
GET = methods.OperationService.Get.path

ROUND_TRIP = 0.02
"""Seconds."""

TYPICAL = Lognormal(median=60, sigma=1)
TWO_KINDS = Bimodal(short=15, long=600, share=0.2)


class Ran(NamedTuple):
    """A run, as the server saw it.

    Args:
        seconds: From its begin to its end.
        started: When it began, by the server's clock.
        operations: The operations, in the order of their submits.
        calls: How many calls of each path there were.
        busiest: The most calls of each path within a second.
        refused: How many calls were refused.
    """

    seconds: float
    started: float
    operations: Sequence[OperationRecord]
    calls: Any
    busiest: Any
    refused: int


def sent_at_best(rows: int, quota: EmulatorQuota) -> list[float]:
    """When each row is sent, in seconds, if all quotas are used up from the first moment on."""
    assert quota.submit_per_second is not None
    assert quota.submit_per_hour is not None
    found: list[float] = []
    for number in range(rows):
        second, hour = number - quota.submit_per_second, number - quota.submit_per_hour
        found.append(max(0.0, found[second] + 1 if second >= 0 else 0.0, found[hour] + 3600 if hour >= 0 else 0.0))
    return found


def run(clock: VirtualTime, folder: Path, rows: int, duration: Any, quota: EmulatorQuota, round_trip: float) -> Ran:
    """Run so many rows on virtual time."""
    hour = {} if quota.submit_per_hour is None else {"submit_per_hour": quota.submit_per_hour}

    async def main() -> Ran:
        server = EmulatorServer(EmulatorOptions(duration=duration, quota=quota, seed=1))
        await server.start()
        settings: Any = {"endpoint": server.address, "plaintext": True, "quota": yagrpc.Quota(**hour)}
        client = yagrpc.AsyncClient(
            folder_id="folder",
            credentials=yagrpc.NoCredentials(),
            interceptors=[Network(clock, round_trip)],
            **settings,
        )
        try:
            await client.tokenize("the channel is connected now")
            bulk = AsyncBulk(client, (f"row {n}" for n in range(rows)), {"journal": folder / "journal"})
            with clock.skipping():
                started, wall = time.monotonic(), server.state.clock.now()
                summary = await bulk.run()
                seconds = time.monotonic() - started
        finally:
            await client.close()
            await server.stop()
        assert summary.outcomes == {"done": rows}
        assert not summary.totals.doubtful
        received = server.state.received
        operations = server.state.operations.records(server.state.clock.now())
        return Ran(
            seconds, wall, operations, received.calls, received.most_in_a_second, sum(received.refusals.values())
        )

    return clock.run(main())


def check(ran: Ran, rows: int, quota: EmulatorQuota) -> None:
    """Check a run against its quotas, and print its figures."""
    assert quota.submit_per_hour is not None
    submitted = [each.created - ran.started for each in ran.operations]
    best = sent_at_best(rows, quota)
    bound = max(at + each.ends - each.created for at, each in zip(best, ran.operations, strict=True))
    print(
        f"{rows} rows: the last is sent after {submitted[-1]:.1f} s (at best {best[-1]:.1f}), all have ended after"
        f" {ran.seconds:.1f} s (at best {bound:.1f}); {ran.calls[GET]} Gets; in a second at most {ran.busiest[SUBMIT]}"
        f" submits and {ran.busiest[GET]} Gets"
    )
    assert len(submitted) == rows
    assert ran.busiest[SUBMIT] <= 10
    assert ran.busiest[GET] <= 50
    hour = quota.submit_per_hour
    assert all(later - first >= 3600 for first, later in zip(submitted, submitted[hour:], strict=False))
    assert not ran.refused
    assert submitted[-1] <= 1.05 * best[-1]
    assert ran.seconds <= 1.05 * bound


DOCUMENTED = EmulatorQuota()


@pytest.mark.parametrize(
    ("rows", "duration", "quota"),
    [
        pytest.param(300, Lognormal(median=20, sigma=0.7), DOCUMENTED, id="lognormal"),
        pytest.param(200, Bimodal(short=10, long=100, share=0.2), EmulatorQuota(submit_per_hour=100), id="hour"),
        pytest.param(5000, TYPICAL, DOCUMENTED, id="5000-lognormal", marks=pytest.mark.slow),
        pytest.param(5000, TWO_KINDS, DOCUMENTED, id="5000-bimodal", marks=pytest.mark.slow),
        pytest.param(6000, TYPICAL, DOCUMENTED, id="6000-hour", marks=pytest.mark.slow),
    ],
)
def test_a_run_takes_as_long_as_its_quotas_make_it(
    virtual_time: VirtualTime, tmp_path: Path, rows: int, duration: Any, quota: EmulatorQuota
) -> None:
    check(run(virtual_time, tmp_path, rows, duration, quota, ROUND_TRIP), rows, quota)
