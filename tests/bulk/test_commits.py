"""Group commits: changes that come close to each other are one commit, and none waits for others without need."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from yagrpc.bulk.recording import commits as module
from yagrpc.bulk.recording.commits import Commits
from yagrpc.journal.changes import Accepted, Change, Fixed, Intent
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
