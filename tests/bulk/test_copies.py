"""`dedupe=True`: equal requests are sent once, and each of their rows gets the answer."""

from __future__ import annotations

import contextlib
import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import methods
from yagrpc.bulk.recording import commits
from yagrpc.cli.bulk.journals import retry_rows
from yagrpc.emulator import Emulator, Failure, Fault, LostReply, paths
from yagrpc.errors import ConfigError
from yagrpc.journal.journal import Journal

SUBMIT = methods.TextGenerationAsyncService.Completion.path

Connect = Callable[..., yagrpc.Client]


def outcomes(results: Any) -> list[str]:
    return [result.outcome.value for result in results]


def same(count: int, text: str = "the same") -> list[dict[str, Any]]:
    """Rows of one text, each with an id and data of its own."""
    return [{"text": text, "id": f"r{n}", "shop": n} for n in range(count)]


def test_equal_rows_are_sent_once_and_each_gets_the_answer(connect: Connect, tmp_path: Path) -> None:
    shown: list[Any] = []
    with Emulator(duration=0.05) as emulator:
        rows = [row for n in range(10) for row in same(5, f"text {n}")]
        rows = [{**row, "id": n} for n, row in enumerate(rows)]
        given: Any = {"dedupe": True, "model": "yandexgpt-5.1", "progress": shown.append}
        bulk = connect(emulator).bulk(rows, journal=tmp_path / "journal", **given)
        results = bulk.results()
        assert emulator.generations == {SUBMIT: 10}
    assert [result.row for result in results] == rows
    assert all(result.text is not None and f'"{result.row["text"]}"' in result.text for result in results)
    sent = [result for result in results if result.attempts]
    assert len(sent) == 10
    used = sum(result.usage.total_tokens for result in sent)
    assert used > 0
    for result in results:
        if not result.attempts:
            assert (result.usage.total_tokens, result.cost, result.submitted_at) == (0, 0.0, None)
            assert result.operation_id in {each.operation_id for each in sent}
    summary = bulk.summary()
    assert (summary.rows, summary.outcomes, summary.copies) == (50, {"done": 50}, 40)
    assert "  50 done" in summary.lines()
    assert "40 of them are copies, which were not sent" in summary.lines()
    totals = summary.totals
    assert (totals.input_tokens + totals.output_tokens, totals.repeated, totals.doubtful) == (used, 0, 0)
    assert totals.cost == pytest.approx(sum(result.cost or 0.0 for result in sent))
    last = shown[-1]
    assert (last.ended, last.copies, last.cost, last.seconds_left) == (50, 40, pytest.approx(totals.cost), 0.0)
    assert "40 copies" in last.line()


def test_only_rows_that_are_sent_are_reported(connect: Connect, tmp_path: Path) -> None:
    ended: list[tuple[int, str]] = []

    class Rows(yagrpc.Events):
        def row_ended(self, row: Any, outcome: str, attempts: int, error: str) -> None:
            ended.append((row.number, outcome))

    with Emulator(duration=0.0) as emulator:
        client = connect(emulator, events=Rows())
        client.bulk(["a", "b", "a", "", "b"], journal=tmp_path / "journal", dedupe=True).run()
    assert sorted(ended) == [(0, "done"), (1, "done"), (3, "invalid")]


def test_rows_are_equal_by_their_requests_alone(connect: Connect) -> None:
    rows: list[Any] = [
        "a",
        {"text": "a", "id": "x", "stars": 5},
        {"messages": [{"role": "user", "content": "a"}]},
        [{"role": "user", "text": "a"}],
        {"text": "a", "max_tokens": 10},
        {"text": "a", "model": "yandexgpt-lite"},
        {"text": "a", "system": "s"},
        {"text": "a", "system": "s", "temperature": 0.5},
        {"text": "a "},
    ]
    with Emulator(duration=0) as emulator:
        results = connect(emulator).bulk(rows, dedupe=True).results()
        assert [bool(result.attempts) for result in results] == [True, *[False] * 3, *[True] * 5]
        assert emulator.generations[SUBMIT] == 6
        assert len(connect(emulator).bulk(rows).results()) == 9
        assert emulator.generations[SUBMIT] == 15


def test_templates_fill_rows_that_differ_into_equal_requests(connect: Connect) -> None:
    with Emulator(duration=0) as emulator:
        rows = [{"text": "a", "to": "en"}, {"text": "a", "to": "de"}, {"text": "a", "to": "en", "n": 1}]
        results = connect(emulator).bulk(rows, template="To {to}: {text}", dedupe=True).results()
        assert [bool(result.attempts) for result in results] == [True, True, False]


@pytest.mark.parametrize("task", ["embed", "tokenize"])
def test_other_tasks_have_copies_too(connect: Connect, task: Any) -> None:
    with Emulator() as emulator:
        bulk = connect(emulator).bulk(["a", "b", "a", "a"], task=task, dedupe=True)
        results = bulk.results()
        assert sum(emulator.calls.values()) == 2
    found = [result.embedding or result.tokens for result in results]
    assert found[0] == found[2] == found[3]
    assert all(found)
    assert bulk.summary().copies == 2
    assert [result.usage.total_tokens for result in results[2:]] == [0, 0]


def test_in_mode_sync_equal_rows_are_sent_once(connect: Connect) -> None:
    with Emulator(completion_duration=0.05) as emulator:
        results = connect(emulator).bulk(["a", "a", "b", "a"], mode="sync", dedupe=True).results()
        assert emulator.generations == {methods.TextGenerationService.Completion.path: 2}
    assert outcomes(results) == ["done"] * 4


REPLIES: Any = {
    "boom": Failure(grpc.StatusCode.INTERNAL, "broken"),
    "wrong": Failure(grpc.StatusCode.INVALID_ARGUMENT, "no such thing"),
}


def test_copies_end_as_their_row_does_whatever_the_outcome(connect: Connect) -> None:
    with Emulator(duration=0.05, replies=REPLIES) as emulator:
        rows: list[Any] = ["boom", "wrong", {"text": "long", "max_tokens": 2}, ""]
        bulk = connect(emulator).bulk([*rows, *rows], dedupe=True, retries=1)
        results = bulk.results()
        assert outcomes(results) == ["failed", "failed", "truncated", "invalid"] * 2
        assert emulator.generations[SUBMIT] == 4  # one of them is tried twice
    assert [result.attempts for result in results] == [2, 1, 1, 0, 0, 0, 0, 0]
    assert "INTERNAL: broken" in results[4].error
    assert bulk.summary().copies == 3  # an invalid row has no request


def test_what_the_service_refuses_is_refused_once(connect: Connect) -> None:
    refusal = Failure(grpc.StatusCode.INVALID_ARGUMENT, "too many tokens")
    with Emulator(duration=0, faults=[Fault(refusal, method=paths.COMPLETION_ASYNC, calls=1)]) as emulator:
        results = connect(emulator).bulk(same(5), dedupe=True).results()
        assert outcomes(results) == ["invalid"] * 5
        assert emulator.calls[SUBMIT] == 1


def test_the_first_is_tried_again_for_all(connect: Connect) -> None:
    answers = itertools.chain([Failure(grpc.StatusCode.INTERNAL, "once")], itertools.repeat(None))
    with Emulator(duration=0.05, replies=lambda request: next(answers)) as emulator:
        bulk = connect(emulator).bulk(same(5), dedupe=True)
        assert outcomes(bulk.results()) == ["done"] * 5
        assert emulator.generations[SUBMIT] == 2
    assert bulk.summary().totals.repeated == 1


@pytest.mark.parametrize(("policy", "outcome", "generations"), [("resubmit", "done", 2), ("fail", "ambiguous", 1)])
def test_a_row_that_may_be_billed_without_a_result_is_counted_once(
    connect: Connect, policy: Any, outcome: str, generations: int
) -> None:
    with Emulator(duration=0, faults=[Fault(LostReply(), method=paths.COMPLETION_ASYNC, calls=1)]) as emulator:
        bulk = connect(emulator).bulk(same(5), dedupe=True, on_ambiguous=policy)
        assert outcomes(bulk.results()) == [outcome] * 5
        assert emulator.generations[SUBMIT] == generations
    assert bulk.summary().totals.doubtful == generations - 1


def test_copies_that_come_after_the_end_of_their_row_end_at_once(connect: Connect, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        client.bulk(["a"], journal=journal, dedupe=True).results()
        bulk = client.bulk(["a", "b", "a", "a"], journal=journal, dedupe=True, concurrency=1)
        assert outcomes(bulk.results()) == ["done"] * 4
        assert emulator.generations[SUBMIT] == 2
    assert bulk.summary().copies == 2


def test_a_retried_row_is_sent_once_for_all_its_copies(connect: Connect, tmp_path: Path) -> None:
    journal, broken = tmp_path / "journal", iter([Failure(grpc.StatusCode.INVALID_ARGUMENT, "not yet")])
    with Emulator(duration=0, replies=lambda request: next(broken, None)) as emulator:
        client = connect(emulator)
        bulk = client.bulk(same(4), journal=journal, dedupe=True)
        assert outcomes(bulk.results()) == ["failed"] * 4
        retry_rows(journal, ["failed"])
        assert bulk.summary().unfinished == {"planned": 1, "waiting": 3}
        again = client.bulk(same(4), journal=journal, dedupe=True)
        assert outcomes(again.results()) == ["done"] * 4
        assert emulator.generations[SUBMIT] == 2
    assert again.summary().totals.repeated == 1


@pytest.mark.parametrize("dedupe", [True, False])
def test_a_run_that_was_left_is_resumed_with_its_copies(connect: Connect, tmp_path: Path, dedupe: bool) -> None:
    journal, rows = tmp_path / "journal", [*same(4), {"text": "short", "id": "last"}]
    durations = itertools.chain([3600.0], itertools.repeat(0.0))
    with Emulator(duration=lambda _: next(durations)) as emulator:
        client = connect(emulator)
        first = client.bulk(rows, journal=journal, dedupe=True, concurrency=1)
        left: Any = iter(first)
        assert next(left).id == "last"
        left.close()
        assert first.summary().unfinished == {"running": 1, "waiting": 3}
        emulator.advance(3600)
        second = client.bulk([*rows, "the same"], journal=journal, dedupe=dedupe)
        assert outcomes(second.results()) == ["done"] * 6
        assert emulator.generations[SUBMIT] == (2 if dedupe else 3)
    assert second.summary().copies == (4 if dedupe else 3)


def test_a_first_row_that_was_not_sent_can_not_be_exchanged(connect: Connect, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        rows = [{"text": "the first", "max_tokens": 1000}, {"text": "the first", "max_tokens": 1000}]
        given: Any = {"journal": journal, "dedupe": True, "model": "yandexgpt-5.1"}
        stopped = client.bulk(rows, max_cost=0.01, **given)
        assert stopped.results() == []
        changed = [{"text": "another", "max_tokens": 1000}, rows[1]]
        with pytest.raises(ConfigError, match="row 1 .* is not the one that the journal has"):
            client.bulk(changed, **given).results()
        results = client.bulk(rows, **given).results()
        assert outcomes(results) == ["done", "done"]
        assert emulator.generations[SUBMIT] == 1


def test_max_cost_reserves_nothing_for_copies(connect: Connect) -> None:
    with Emulator(duration=0) as emulator:
        given: Any = {"model": "yandexgpt-5.1", "max_tokens": 100, "max_cost": 0.1}
        client = connect(emulator)
        assert outcomes(client.bulk(same(50), dedupe=True, **given).results()) == ["done"] * 50
        assert len(client.bulk(same(50), **given).results()) < 50


def test_a_copy_is_not_reported_as_a_row_that_is_sent(connect: Connect) -> None:
    class Rows(yagrpc.Events):
        def __init__(self) -> None:
            self.started: list[int] = []
            self.ended: list[int] = []

        def row_started(self, row: Any) -> None:
            self.started.append(row.number)

        def row_ended(self, row: Any, outcome: str, attempts: int, error: str) -> None:
            self.ended.append(row.number)

    with Emulator(duration=0.05) as emulator:
        events = Rows()
        connect(emulator, events=events).bulk(["a", "a", "", "b", "a"], dedupe=True).results()
    assert sorted(events.started) == sorted(events.ended) == [0, 2, 3]


def test_a_limit_counts_copies(connect: Connect) -> None:
    with Emulator(duration=0) as emulator:
        results = connect(emulator).bulk([*same(4), "b"], dedupe=True, limit=4).results()
        assert (len(results), emulator.generations[SUBMIT]) == (4, 1)


def test_ids_of_copies_are_checked(connect: Connect) -> None:
    with Emulator(duration=0.05) as emulator:
        rows = [{"text": "a", "id": 1}, {"text": "a", "id": 2}, {"text": "a", "id": 2}, {"text": "b", "id": 1}]
        results = connect(emulator).bulk(rows, dedupe=True).results()
    assert outcomes(results) == ["done", "done", "invalid", "invalid"]


def test_dedupe_may_be_turned_on_later(connect: Connect, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        client.bulk(["a", "a"], journal=journal).results()
        bulk = client.bulk(["a", "a", "a", "a"], journal=journal, dedupe=True)
        assert outcomes(bulk.results()) == ["done"] * 4
        assert emulator.generations[SUBMIT] == 3  # those that were sent before are not compared
        with contextlib.closing(Journal(journal)) as read:
            assert read.copies() == 1


def test_dedupe_takes_a_flag(connect: Connect) -> None:
    with Emulator() as emulator, pytest.raises(ConfigError, match="dedupe is 1: it takes True or False"):
        connect(emulator).bulk(["a"], dedupe=1)  # type: ignore[arg-type]


def test_a_long_row_of_copies_takes_no_memory(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "MOST", 100)
    count, long = 5000, "a text of some length, which all rows have " * 20
    durations = itertools.chain([0.0, 3600.0], itertools.repeat(0.0))
    with Emulator(duration=lambda _: next(durations)) as emulator:
        client = connect(emulator)

        def started() -> Any:
            rows = itertools.chain(itertools.repeat(long, count), ["short"])
            return client.bulk(rows, journal=tmp_path / "journal", dedupe=True, concurrency=1)

        client.bulk(["first"]).run()  # everything is imported, and connected
        tracemalloc.start()
        try:
            left = iter(started())
            assert next(left).row == "short"
            left.close()
            while_it_waits = tracemalloc.get_traced_memory()[1]
            emulator.advance(3600)
            tracemalloc.reset_peak()
            assert started().run().copies == count - 1
            resumed = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert emulator.generations[SUBMIT] == 3
    assert max(while_it_waits, resumed) < count * len(long) / 2


def test_a_long_row_of_invalid_rows_takes_no_memory(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "MOST", 100)
    count, long = 5000, "a key that no row takes " * 40
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        client.bulk(["first"]).run()
        tracemalloc.start()
        try:
            summary = client.bulk(itertools.repeat({"texts": long}, count), concurrency=1).run()
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert summary.outcomes == {"invalid": count}
    assert most < count * len(long) / 2
