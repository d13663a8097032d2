"""Gets of a run that the service refuses: counted by the second in its journal, and shown beside refused submits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

import yagrpc
from tests.bulk.conftest import settings
from yagrpc.bulk.recording.commits import Commits
from yagrpc.bulk.report.figures import figures_of
from yagrpc.bulk.report.page import page
from yagrpc.emulator import Emulator, Failure, Fault, paths
from yagrpc.journal.changes import GetsRefused, Noted
from yagrpc.journal.journal import Journal, JournalWriter

QUOTA = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "get quota exceeded")


def refusing(times: int) -> list[Fault]:
    """Some Gets are refused, with two codes."""
    gone = Failure(grpc.StatusCode.UNAVAILABLE, "not now")
    return [
        Fault(QUOTA, method=paths.OPERATION_GET, times=times),
        Fault(gone, method=paths.OPERATION_GET, calls=times + 1),
    ]


def refused(path: Path) -> dict[str, int]:
    """How many Gets a journal has as refused, by code."""
    found: dict[str, int] = {}
    with contextlib.closing(Journal(path)) as journal:
        for _, code, count in journal.refused_gets():
            found[code] = found.get(code, 0) + count
    return found


def test_the_refused_gets_of_a_run_are_in_its_journal_its_summary_and_its_report(
    connect: Callable[..., yagrpc.Client], tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    with Emulator(duration=0.2, faults=refusing(3)) as emulator:
        summary = connect(emulator).bulk(["a", "b"], journal=path).run()
        assert summary.outcomes == {"done": 2}
        assert (summary.refused_submits, summary.refused_gets) == (0, 4)
        assert refused(path) == {"RESOURCE_EXHAUSTED": 3, "UNAVAILABLE": 1}
        assert (
            "0 requests and 4 Gets failed, and were sent again (3 RESOURCE_EXHAUSTED, 1 UNAVAILABLE)" in summary.lines()
        )
    with contextlib.closing(Journal(path)) as journal:
        found = figures_of(journal)
    assert (found.refusals, found.refused_gets) == ({}, {"RESOURCE_EXHAUSTED": 3, "UNAVAILABLE": 1})
    assert ">RESOURCE_EXHAUSTED</td>" in page(found)


async def test_gets_of_other_operations_of_the_client_are_not_the_runs(tmp_path: Path) -> None:
    with Emulator(duration=0.3) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            own = await client.completion_async("not of the run")
            emulator.faults.add(Fault(QUOTA, operation=own.id, times=2))
            run = asyncio.create_task(client.bulk(["a"], journal=tmp_path / "journal").run())
            await own
            summary = await run
            assert len(client._core.events._subscribers) == 1, "the run has left the subscribers of its client"
        assert emulator.refusals
    assert summary.refused_gets == 0


async def test_what_is_refused_is_no_reason_for_a_commit_and_goes_with_the_next(tmp_path: Path) -> None:
    counted: list[Any] = [[GetsRefused(7, "RESOURCE_EXHAUSTED", 2)], [GetsRefused(7, "RESOURCE_EXHAUSTED", 3)], []]
    committed: list[int] = []
    with contextlib.closing(JournalWriter(tmp_path / "journal")) as writer:
        commit = writer.commit

        def counting(changes: Any) -> None:
            commit(changes)
            committed.append(len(changes))

        writer.commit = counting  # type: ignore[method-assign]
        commits = Commits(writer, 1, lambda ended: None, lambda error: None, lambda: counted.pop(0) if counted else [])
        await asyncio.sleep(0)
        assert committed == []
        commits.add(Noted("a", "1"))
        while not committed:  # noqa: ASYNC110 - it is what the thread has done
            await asyncio.sleep(0.001)
        assert committed == [2]
        await commits.settle()
        commits.close()
        assert committed == [2, 1]
        assert list(writer.refused_gets()) == [(7, "RESOURCE_EXHAUSTED", 5)]
        assert writer.refused() == (0, 5)
