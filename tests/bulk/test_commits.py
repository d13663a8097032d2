"""Group commits: changes that come close to each other are one commit, and none waits for others without need."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from yagrpc.bulk.recording import commits as module
from yagrpc.bulk.recording.commits import Commits
from yagrpc.errors import JournalError
from yagrpc.journal.changes import Accepted, Change, Fixed, Intent, State
from yagrpc.journal.journal import JournalWriter

AT_ONCE = 8
MANY = 6
"""Changes of two rows, a quarter of those that are sent at once."""


class Counted(JournalWriter):
    """A journal that knows how many changes each of its commits had."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sizes: list[int] = []

    def commit(self, changes: Sequence[Change]) -> None:
        """Commit some changes."""
        super().commit(changes)
        self.sizes.append(len(changes))


def intent(number: int) -> Intent:
    return Intent(Fixed(number, None, number + 1, b"f", b'"row"'), 1, 0, "request", 100.0)


async def committed(commits: Commits, *changes: Change) -> None:
    """Add changes, and wait until the last one is on the disk."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for change in changes[:-1]:
        commits.add(change)
    commits.add(changes[-1], lambda error: done.set_result(None))
    await done


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Runs a test with commits that begin an hour apart; gives how many changes each commit had."""
    monkeypatch.setattr(module, "APART", 3600.0)

    def run(test: Callable[[Commits], Coroutine[Any, Any, None]], at_once: int = AT_ONCE) -> list[int]:
        async def main(journal: Counted) -> None:
            commits = Commits(journal, at_once, lambda ended: None, lambda error: None)
            try:
                await asyncio.wait_for(test(commits), 60)
            finally:
                commits.close()

        with contextlib.closing(Counted(tmp_path / "journal")) as journal:
            asyncio.run(main(journal))
            return journal.sizes

    return run


def test_rows_learn_that_no_thread_starts_for_their_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And what they have committed is there once a thread starts."""
    start, failures = threading.Thread.start, list[JournalError | None]()

    def refuse(thread: threading.Thread) -> None:
        if not failures:
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main(journal: JournalWriter) -> None:
        commits = Commits(journal, AT_ONCE, lambda ended: None, failures.append)
        learned: asyncio.Future[JournalError | None] = asyncio.get_running_loop().create_future()
        commits.add(Accepted(0, "operation"))
        commits.add(intent(1), learned.set_result)
        assert str(await asyncio.wait_for(learned, 60)) == "the journal can't be written: can't start new thread"
        await commits.settle()
        commits.close()

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    with contextlib.closing(JournalWriter(tmp_path / "journal")) as journal:
        journal.commit([intent(0)])
        asyncio.run(main(journal))
        assert journal.entry(0).operation_id == "operation"
        assert not list(journal.in_state(State.PLANNED)), "the intent was dropped: nothing is sent for it"
    assert len(failures) == 1
    assert not caplog.records


def test_the_first_changes_after_a_while_do_not_wait(run: Callable[..., list[int]]) -> None:
    async def test(commits: Commits) -> None:
        await committed(commits, intent(0))

    assert run(test) == [1]


def test_changes_soon_after_a_commit_wait_for_others_and_are_one_commit(run: Callable[..., list[int]]) -> None:
    async def test(commits: Commits) -> None:
        await committed(commits, intent(0))
        commits.add(Accepted(0, "operation"))
        for number in range(1, MANY - 1):
            commits.add(intent(number))
        for _ in range(10):  # it has the time to begin a commit
            await asyncio.sleep(0)
        await committed(commits, intent(MANY))

    assert run(test) == [1, MANY]


def test_changes_do_not_wait_where_few_requests_are_sent_at_once(run: Callable[..., list[int]]) -> None:
    async def test(commits: Commits) -> None:
        for number in range(3):
            await committed(commits, intent(number))

    assert run(test, at_once=1) == [1, 1, 1]


def test_changes_that_wait_are_committed_once_the_time_is_over(
    run: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "APART", 0.01)

    async def test(commits: Commits) -> None:
        await committed(commits, intent(0))
        commits.add(Accepted(0, "operation"))
        await commits.settle()

    assert run(test) == [1, 1]
