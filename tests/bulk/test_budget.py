"""`max_cost` and `max_failures`, where an earlier run of the journal has spent, sent and failed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

import yagrpc
from tests.bulk.conftest import leave, settings
from yagrpc import methods
from yagrpc.bulk.decisions.rows import rows_of
from yagrpc.emulator import Emulator, Failure, Fault, paths
from yagrpc.journal.changes import Accepted, Again, Fixed, Intent, Result
from yagrpc.journal.journal import JournalWriter

SUBMIT: Final = methods.TextGenerationAsyncService.Completion.path

Connect = Callable[..., yagrpc.Client]

GIVEN: Final[Any] = {"model": "yandexgpt-5.1", "max_tokens": 20}


@pytest.fixture
def one(connect: Connect) -> float:
    """What a row costs, in roubles."""
    with Emulator(duration=0) as emulator:
        (result,) = connect(emulator).bulk(["row 10"], **GIVEN).results()
    assert result.cost is not None
    return result.cost


def test_max_cost_counts_the_operations_that_an_earlier_run_has_left(
    connect: Connect, tmp_path: Path, one: float
) -> None:
    given: Any = {"journal": tmp_path / "journal", **GIVEN}
    rows = [f"row {n}" for n in range(10, 20)]
    with Emulator(duration=60) as emulator:
        client = connect(emulator)
        leave(client, rows, **given)
        more = [*rows, *(f"row {n}" for n in range(20, 60))]
        bulk = client.bulk(more, max_cost=15 * one, progress=lambda _: emulator.advance(60), **given)
        bulk.run()
        assert emulator.generations[SUBMIT] == 15


def test_max_cost_counts_what_was_spent_beside_what_is_not_known(connect: Connect, tmp_path: Path, one: float) -> None:
    rows = [{"text": "x", "model": "dear-model"}, *(f"row {n}" for n in range(10, 40))]
    given: Any = {"journal": tmp_path / "journal", **GIVEN}
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        client.bulk(rows, limit=11, **given).run()
        client.bulk(rows, max_cost=12 * one, **given).run()
        assert emulator.generations[SUBMIT] == 13


def test_max_cost_counts_earlier_rows_by_the_prices_that_are_given_later(connect: Connect, tmp_path: Path) -> None:
    rows = [f"row {n}" for n in range(10, 40)]
    given: Any = {"journal": tmp_path / "journal", "max_tokens": 20}
    own: Any = {"yandexgpt": {"async": 1000}}
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        first = client.bulk(rows, limit=10, **given).results()
        spent = sum(result.usage.total_tokens for result in first)
        client.bulk(rows, max_cost=spent * 1.5, prices=own, **given).run()
        assert emulator.generations[SUBMIT] == 15


def test_max_cost_counts_attempts_that_may_have_been_billed(connect: Connect, tmp_path: Path, one: float) -> None:
    """One attempt of an earlier run has no result, and one request was on its way when its process ended."""
    journal, raws = tmp_path / "journal", list(rows_of(["row 10", "row 11"], None))
    fixed = [Fixed(number, None, raw.line, raw.fingerprint(), raw.source) for number, raw in enumerate(raws)]
    with contextlib.closing(JournalWriter(journal)) as writer:
        expired = Again(Result(0, 2.0, "expired"), True)
        writer.commit(
            [Intent(fixed[0], 1, 0, "r", 1.0), Accepted(0, "gone"), expired, Intent(fixed[1], 1, 0, "s", 2.0)]
        )
    with Emulator(duration=0) as emulator:
        bulk = connect(emulator).bulk(["row 10", "row 11"], journal=journal, max_cost=2.5 * one, **GIVEN)
        bulk.run()
        assert emulator.generations[SUBMIT] == 0
        assert bulk.summary().unfinished == {"planned": 2}


def test_a_tokenizer_that_is_out_of_reach_is_waited_for(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yagrpc.bulk.engine.outage.FIRST_PAUSE", 0.01)
    down = Fault(Failure(grpc.StatusCode.UNAVAILABLE, "down"), method=paths.TOKENIZE_COMPLETION, times=10)
    with Emulator(duration=0, faults=[down]) as emulator:
        bulk = connect(emulator).bulk(["a", "b"], concurrency=1, max_cost=100, **GIVEN)
        assert bulk.run().unfinished == {}
        assert emulator.generations[SUBMIT] == 2


def test_rows_that_wait_for_the_budget_learn_of_attempts_that_cost_nothing(connect: Connect, one: float) -> None:
    """All workers wait for what two rows have reserved; both fail, and are to be sent again by one of the workers."""
    answers: Iterator[Any] = iter([Failure(grpc.StatusCode.INTERNAL, "broken")] * 2)
    rows = [f"row {n}" for n in range(10, 16)]
    with Emulator(duration=0.3, replies=lambda request: next(answers, None)) as emulator:
        bulk = connect(emulator).bulk(rows, retries=1, concurrency=4, max_cost=2.5 * one, **GIVEN)
        assert bulk.run().totals.cost == pytest.approx(2 * one)
        assert emulator.generations[SUBMIT] == 4


class StoppedByNote:
    """Stops a run once it says that the service can't be reached."""

    run: yagrpc.AsyncBulk

    def __call__(self, progress: yagrpc.Progress) -> None:
        if "reached" in progress.note:
            self.run.stop()


async def test_a_run_that_can_count_no_tokens_is_stopped_without_waiting_for_its_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("yagrpc.bulk.engine.outage.FIRST_PAUSE", 3600.0)
    down = Fault(Failure(grpc.StatusCode.UNAVAILABLE, "down"), method=paths.TOKENIZE_COMPLETION)
    with Emulator(faults=[down]) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            seen = StoppedByNote()
            seen.run = client.bulk(["a", "b"], max_cost=100, progress=seen, **GIVEN)
            assert (await seen.run.run()).outcomes == {}
            assert not emulator.generations


async def test_a_run_that_can_send_no_row_is_stopped_without_waiting_for_its_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("yagrpc.bulk.engine.outage.FIRST_PAUSE", 3600.0)
    with Emulator() as emulator:
        given = settings(emulator)  # nothing listens there after this block
    async with yagrpc.AsyncClient(**given) as client:
        seen = StoppedByNote()
        seen.run = client.bulk(["a", "b"], timeout=0.2, progress=seen, **GIVEN)
        assert (await seen.run.run()).outcomes == {}


def test_a_row_whose_tokens_the_service_fails_to_count_fails_alone(connect: Connect) -> None:
    broken = Fault(Failure(grpc.StatusCode.DATA_LOSS, "broken"), method=paths.TOKENIZE_COMPLETION, calls=1)
    with Emulator(duration=0, faults=[broken]) as emulator:
        results = connect(emulator).bulk(["a", "b"], concurrency=1, max_cost=100, **GIVEN).results()
    assert (results[0].outcome.value, results[0].attempts) == ("failed", 0)
    assert "DATA_LOSS: broken" in results[0].error
    assert results[1].attempts == 1


class Stopping(yagrpc.Events):
    """Stops a run once the first tokens are counted."""

    run: yagrpc.AsyncBulk

    def attempt(self, call: Any, outcome: Any, verdict: Any) -> None:
        if call.method.path.endswith("/TokenizeCompletion"):
            self.run.stop()


async def test_a_run_that_is_stopped_while_tokens_are_counted_sends_no_row(tmp_path: Path) -> None:
    events, rows = Stopping(), ["row 10", "row 11"]
    with Emulator(duration=0) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator, events=events)) as client:
            events.run = client.bulk(rows, journal=tmp_path / "journal", max_cost=100, concurrency=2, **GIVEN)
            assert (await events.run.run()).outcomes == {}
            assert not emulator.generations
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            again = client.bulk(rows, journal=tmp_path / "journal", max_cost=100, **GIVEN)
            assert (await again.run()).totals.doubtful == 0
            assert emulator.generations[SUBMIT] == 2


async def test_a_run_that_is_stopped_before_its_first_row_leaves_sends_none() -> None:
    with Emulator(duration=0) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            run = client.bulk(["row 10"], progress=lambda _: run.stop())
            assert (await run.run()).outcomes == {}
        assert not emulator.generations


def test_max_failures_counts_those_of_earlier_runs_before_anything_is_sent(connect: Connect, tmp_path: Path) -> None:
    failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "no such thing")
    given: Any = {"journal": tmp_path / "journal", "max_failures": 3, "concurrency": 1}
    rows = [f"row {n}" for n in range(100)]
    with Emulator(duration=0, replies=lambda request: failure) as emulator:
        client = connect(emulator)
        assert client.bulk(rows, **given).run().outcomes == {"failed": 4}
        assert client.bulk(rows, **given).run().outcomes == {"failed": 4}
        assert emulator.generations[SUBMIT] == 4
        assert client.bulk(rows, **{**given, "max_failures": 5}).run().outcomes == {"failed": 6}
