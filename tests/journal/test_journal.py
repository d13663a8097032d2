"""The journal: what is committed is there, one process writes it, and what it is not is refused."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import yagrpc
from yagrpc.journal.changes import (
    Accepted,
    Again,
    Change,
    Copied,
    Ended,
    First,
    Fixed,
    GetsRefused,
    Intent,
    Kept,
    Noted,
    Refused,
    Result,
    Retracted,
    State,
)
from yagrpc.journal.file import APPLICATION, VERSION
from yagrpc.journal.journal import Journal, JournalWriter


def fixed(number: int, row_id: str | None = None) -> Fixed:
    return Fixed(number, row_id, number + 1, b"f%d" % number, b'"row %d"' % number)


def intent(number: int, attempt: int = 1, row_id: str | None = None) -> Intent:
    return Intent(fixed(number, row_id), attempt, 0, f"request-{number}", 100.0)


def result(number: int, outcome: str = "done", cost: float | None = 0.5) -> Result:
    return Result(number, 200.0, outcome, b"answer", "", 10, 20, cost)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def writer(path: Path) -> Iterator[JournalWriter]:
    with contextlib.closing(JournalWriter(path)) as journal:
        yield journal


def test_a_row_goes_from_its_intent_to_its_end(writer: JournalWriter) -> None:
    writer.commit([intent(0, row_id="a")])
    assert writer.entry(0).state is State.SUBMITTING
    writer.commit([Accepted(0, "op")])
    assert (writer.entry(0).state, writer.entry(0).operation_id) == (State.SUBMITTED, "op")
    writer.commit([Ended(result(0))])
    entry = writer.entry(0)
    assert (entry.state, entry.seq, entry.result) == (State.ENDED, 1, result(0))
    assert entry.fixed == fixed(0, "a")
    assert writer.counts() == {(State.ENDED, "done"): 1}


def test_a_refused_intent_is_planned_again_and_an_accepted_one_is_not(writer: JournalWriter) -> None:
    writer.commit([intent(0), intent(1), Accepted(1, "op")])
    writer.commit([Retracted(0), Retracted(1)])
    assert [writer.entry(number).state for number in (0, 1)] == [State.PLANNED, State.SUBMITTED]


def test_changes_of_one_row_keep_their_order_among_those_of_others(writer: JournalWriter) -> None:
    writer.commit([intent(0), intent(1), Accepted(0, "op"), intent(2), Retracted(1), intent(1, 2), Ended(result(0))])
    assert [writer.entry(number).state for number in range(3)] == [State.ENDED, State.SUBMITTING, State.SUBMITTING]
    assert writer.entry(1).attempt == 2


def test_a_refusal_is_kept_and_its_row_is_planned_again(writer: JournalWriter) -> None:
    refused = Refused(0, 101.0, "RESOURCE_EXHAUSTED")
    writer.commit([intent(0), intent(1), refused, Refused(1, 102.0, "UNAVAILABLE"), intent(0), Accepted(0, "op")])
    assert [writer.entry(number).state for number in (0, 1)] == [State.SUBMITTED, State.PLANNED]
    assert [writer.entry(number).attempt for number in (0, 1)] == [1, 0]  # the next run counts on from these
    assert list(writer.refusals()) == [(101.0, "RESOURCE_EXHAUSTED"), (102.0, "UNAVAILABLE")]
    assert list(writer.submits()) == [100.0]
    writer.commit([Refused(0, 103.0, "UNAVAILABLE")])  # it says nothing of an operation that was accepted
    assert writer.entry(0).state is State.SUBMITTED


def test_an_attempt_is_kept_and_counted(writer: JournalWriter) -> None:
    writer.commit([intent(0), Accepted(0, "first"), Again(result(0, "truncated"), doubtful=False)])
    writer.commit([intent(0, 2), Again(result(0, "ambiguous", None)._replace(input_tokens=0, output_tokens=0), True)])
    writer.commit([intent(0, 3), Ended(result(0))])
    assert writer.attempts(0) == ["truncated", "ambiguous"]
    totals = writer.totals()
    assert (totals.cost, totals.input_tokens, totals.doubtful, totals.repeated) == (1.0, 20, 0, 2)


def failed(number: int, outcome: str = "failed") -> Result:
    return Result(number, 300.0, outcome, None, "INTERNAL: broken")


def test_a_better_earlier_answer_is_the_result_and_all_attempts_are_counted_once(writer: JournalWriter) -> None:
    writer.commit([intent(0), Accepted(0, "first"), Again(result(0, "truncated"), doubtful=False)])
    writer.commit([intent(0, 2), Accepted(0, "second"), Kept(failed(0), "truncated", doubtful=False, sent=True)])
    entry = writer.entry(0)
    error = "; a later attempt ended as failed: INTERNAL: broken"
    assert entry.result == result(0, "truncated")._replace(ended=300.0, error=error)
    assert (entry.state, entry.attempt, entry.operation_id) == (State.ENDED, 2, "first")
    assert writer.attempts(0) == ["failed"]
    assert writer.totals() == (10, 20, 0.5, 0, 1)


@pytest.mark.parametrize(("outcome", "sent", "doubtful"), [("ambiguous", True, 1), ("invalid", False, 0)])
def test_an_attempt_after_a_better_answer_may_be_doubtful_or_not_sent(
    writer: JournalWriter, outcome: str, sent: bool, doubtful: int
) -> None:
    changes: list[Change] = [intent(0), Accepted(0, "first"), Again(result(0, "truncated"), doubtful=False)]
    changes += [intent(0, 2)] if sent else []
    writer.commit([*changes, Kept(failed(0, outcome), "truncated", doubtful=bool(doubtful), sent=sent)])
    assert writer.counts() == {(State.ENDED, "truncated"): 1}
    assert writer.attempts(0) == ([outcome] if sent else [])
    assert writer.totals().doubtful == doubtful


def test_without_the_earlier_answer_a_row_ends_as_its_last_attempt(writer: JournalWriter) -> None:
    writer.commit([intent(0), Again(result(0, "truncated")._replace(response=None), doubtful=False)])
    writer.commit([intent(0, 2), Kept(failed(0), "truncated", doubtful=False, sent=True)])
    assert writer.entry(0).result == failed(0)
    assert writer.attempts(0) == ["truncated"]


def test_a_row_may_end_in_the_commit_of_its_attempt_before(writer: JournalWriter) -> None:
    writer.commit([intent(0), Again(result(0, "failed"), doubtful=False), Ended(failed(0, "invalid"), fixed(0))])
    assert writer.entry(0).state is State.ENDED


def test_reopened_rows_keep_their_answers(writer: JournalWriter) -> None:
    writer.commit([intent(0), Accepted(0, "first"), Ended(result(0, "truncated"))])
    writer.reopen([0], ["ambiguous"])
    writer.commit([intent(0, 2), Kept(failed(0), "truncated", doubtful=False, sent=True)])
    assert writer.outcome(0) == "truncated"


def test_a_doubtful_attempt_stays_counted_although_its_row_is_done(writer: JournalWriter) -> None:
    writer.commit([intent(0), Again(result(0, "ambiguous", None), doubtful=True)])
    assert writer.entry(0).doubtful == 1


def test_a_cost_of_which_a_part_is_not_known_is_not_known(writer: JournalWriter) -> None:
    writer.commit([Ended(result(0), fixed(0)), Ended(result(1, cost=None), fixed(1))])
    assert writer.totals().cost is None


def test_rows_come_in_the_order_of_their_ends_or_of_the_input(writer: JournalWriter) -> None:
    writer.commit([Ended(result(number), fixed(number)) for number in (2, 0, 1)])
    assert [entry.fixed.number for entry in writer.ended(0, 10)] == [2, 0, 1]
    assert [entry.fixed.number for entry in writer.ended(1, 1)] == [0]
    assert [entry.fixed.number for entry in writer.ended_in_order(1, 10)] == [1, 2]


def test_reopened_rows_are_planned_and_their_results_are_attempts(writer: JournalWriter) -> None:
    writer.commit([intent(0), Ended(result(0, "failed")), Ended(result(1), fixed(1))])
    assert writer.numbers_of(["failed"]) == [0]
    writer.reopen([0], ["ambiguous"])
    assert writer.entry(0).state is State.PLANNED
    assert writer.attempts(0) == ["failed"]
    writer.commit([Ended(result(0), fixed(0))])
    assert [entry.seq for entry in writer.ended(0, 10)] == [2, 3]


def test_a_row_that_may_be_billed_twice_is_counted_when_it_is_reopened(writer: JournalWriter) -> None:
    writer.commit([Ended(result(number, name), fixed(number)) for number, name in enumerate(["ambiguous", "failed"])])
    writer.reopen([0, 1], ["ambiguous"])
    assert [writer.entry(number).doubtful for number in (0, 1)] == [1, 0]
    assert writer.totals().doubtful == 1


def test_a_reader_sees_what_is_committed_while_it_is_written(writer: JournalWriter, path: Path) -> None:
    with contextlib.closing(Journal(path)) as reader:
        writer.commit([intent(0)])
        assert [number for number, _ in reader.fingerprints()] == [0]
        with pytest.raises(sqlite3.OperationalError):
            reader._connection.execute("DELETE FROM row")


def test_a_commit_that_fails_leaves_nothing_of_it(writer: JournalWriter) -> None:
    writer.commit([Ended(result(0), fixed(0))])
    with pytest.raises(yagrpc.JournalError, match="can't be written: UNIQUE"):
        writer.commit([intent(5), Ended(result(0))])
    assert [number for number, _ in writer.fingerprints()] == [0]
    writer.commit([Ended(result(1), fixed(1))])
    assert [entry.seq for entry in writer.ended(0, 10)] == [1, 2]


def test_a_full_disk_is_a_journal_error_and_what_was_there_stays(writer: JournalWriter) -> None:
    writer.commit([Ended(result(0), fixed(0))])
    (pages,) = writer._connection.execute("PRAGMA page_count").fetchone()
    writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(yagrpc.JournalError, match="full"):
        writer.commit([Ended(result(number)._replace(response=bytes(9000)), fixed(number)) for number in (1, 2)])
    assert writer.counts() == {(State.ENDED, "done"): 1}


@pytest.mark.skipif(sys.platform == "win32", reason="modes")
def test_the_files_are_the_users_alone(writer: JournalWriter, path: Path) -> None:
    writer.commit([intent(0)])
    files = list(path.parent.iterdir())
    assert len(files) == 4  # SQLite's two, and the lock
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_nothing_but_the_journal_stays_beside_it(path: Path) -> None:
    with contextlib.closing(JournalWriter(path)) as journal, contextlib.closing(Journal(path)):
        journal.commit([intent(0)])
    with contextlib.closing(Journal(path)) as reader:
        assert reader.entry(0).state is State.SUBMITTING
    assert list(path.parent.iterdir()) == [path]


HOLD = """
import sys, time, pathlib
from yagrpc.journal.journal import JournalWriter
journal = JournalWriter(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_writer_is_refused_with_the_process_that_writes(path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(yagrpc.ConfigError, match=f"in use by process {holder.pid}: wait"):
            JournalWriter(path)
    finally:
        holder.kill()
        holder.communicate()
    JournalWriter(path).close()  # the lock has ended with its process, and its file is no hindrance


def test_a_writer_that_is_released_leaves_the_lock_to_the_next(path: Path) -> None:
    first = JournalWriter(path)
    with pytest.raises(yagrpc.ConfigError, match=f"process {os.getpid()}"):
        JournalWriter(path)
    first.close()
    JournalWriter(path).close()


def test_refused_gets_are_added_up_by_the_second_and_the_code(writer: JournalWriter) -> None:
    for _ in range(2):
        writer.commit([GetsRefused(7, "RESOURCE_EXHAUSTED", 2), GetsRefused(7, "UNAVAILABLE", 1)])
    writer.commit([GetsRefused(8, "UNAVAILABLE", 1)])
    assert list(writer.refused_gets()) == [(7, "RESOURCE_EXHAUSTED", 4), (7, "UNAVAILABLE", 2), (8, "UNAVAILABLE", 1)]
    assert writer.refused() == (0, 7)


def test_a_journal_of_the_first_version_is_read_as_it_is_and_written_as_the_next(path: Path) -> None:
    with contextlib.closing(JournalWriter(path)) as journal:
        journal.commit([intent(0), Refused(0, 100.0, "UNAVAILABLE")])
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE get_refusal")
        database.execute("ALTER TABLE attempt DROP COLUMN response")
        database.execute("PRAGMA user_version = 1")
    before = path.read_bytes()
    with contextlib.closing(Journal(path)) as reader:
        assert (list(reader.refused_gets()), reader.refused()) == ([], (1, 0))
    assert path.read_bytes() == before
    with contextlib.closing(JournalWriter(path)) as journal:
        assert journal.entry(0).fixed == fixed(0)
        journal.commit([intent(0), Again(result(0, "truncated"), doubtful=False)])
        journal.commit([GetsRefused(7, "UNAVAILABLE", 1)])
    with contextlib.closing(Journal(path)) as reader:
        assert list(reader.refused_gets()) == [(7, "UNAVAILABLE", 1)]
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_newer_version_is_refused_and_not_changed(path: Path) -> None:
    JournalWriter(path).close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    for kind in (Journal, JournalWriter):
        with pytest.raises(yagrpc.ConfigError, match="written by another version of yagrpc"):
            kind(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [b"not a database at all, but a long text " * 200, b"SQLite format 3\0" + bytes(5000)]
)
def test_what_is_no_journal_is_refused_and_not_changed(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for kind in (Journal, JournalWriter):
        with pytest.raises(yagrpc.ConfigError, match="is broken, or no journal"):
            kind(path)
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE notes (text)")
    with pytest.raises(yagrpc.ConfigError, match="is no journal: name another"):
        JournalWriter(path)
    assert APPLICATION


def test_a_page_that_is_overwritten_is_an_error_that_says_so(path: Path) -> None:
    with contextlib.closing(JournalWriter(path)) as journal:
        journal.commit([Ended(result(number)._replace(response=bytes(500)), fixed(number)) for number in range(200)])
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 8192))
    with contextlib.closing(Journal(path)) as reader:
        with pytest.raises(yagrpc.ConfigError, match="is broken, or no journal"):
            list(reader.ended(0, 1000))
        with pytest.raises(yagrpc.ConfigError, match="is broken, or no journal"), reader.snapshot():
            list(reader.errors())
    with pytest.raises(yagrpc.ConfigError, match="is broken, or no journal"):
        JournalWriter(path)
    assert not path.with_name("journal.lock").exists()


def test_a_link_and_a_folder_are_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"")
    path.symlink_to(tmp_path / "target")
    with pytest.raises(yagrpc.ConfigError, match="never followed"):
        JournalWriter(path)
    assert (tmp_path / "target").read_bytes() == b""
    with pytest.raises(yagrpc.ConfigError, match="can't be used"):
        Journal(tmp_path)
    with pytest.raises(yagrpc.ConfigError, match="can't be locked: its folder is not there"):
        JournalWriter(tmp_path / "nowhere" / "journal")


READ = "import sys, pathlib; from yagrpc.journal.journal import Journal; Journal(pathlib.Path(sys.argv[1])).close()"


def test_readers_of_any_process_leave_the_writer_its_file(writer: JournalWriter, path: Path) -> None:
    """A reader that is closed must not release the writer's locks, nor take the journal for closed."""
    writer.commit([intent(0)])
    Journal(path).close()  # in this process
    subprocess.run([sys.executable, "-c", READ, str(path)], check=True)
    assert path.with_name("journal-wal").exists()
    writer.commit([intent(1)])
    with contextlib.closing(Journal(path)) as reader:
        assert [number for number, _ in reader.fingerprints()] == [0, 1]


COMMIT = """
import os, pathlib, sys
from yagrpc.journal.changes import Fixed, Intent
from yagrpc.journal.journal import JournalWriter
journal = JournalWriter(pathlib.Path(sys.argv[1]))
journal.commit([Intent(Fixed(3, None, 4, b"f3", b'"row 3"'), 1, 0, "request-3", 100.0)])
os._exit(9)
"""


def test_what_was_committed_outlives_its_process(path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", COMMIT, str(path)], check=False).returncode == 9
    with contextlib.closing(JournalWriter(path)) as journal:
        assert journal.entry(3).state is State.SUBMITTING


def test_notes_are_json(writer: JournalWriter) -> None:
    writer.commit([Noted("options", json.dumps({"a": 1})), Noted("total", "3")])
    assert writer.noted() == {"options": {"a": 1}, "total": 3}


def first(number: int) -> First:
    return First(fixed(number), b"digest of a request")


def copied(number: int, of: int = 0, at: float = 150.0) -> Copied:
    return Copied(fixed(number), of, at)


@pytest.fixture
def copies(writer: JournalWriter) -> JournalWriter:
    """A journal that keeps copies, with one row that was submitted, and two copies of it."""
    writer.keep_copies()
    writer.commit([first(0), copied(1), copied(2), Intent(fixed(0), 1, 0, "request", 100.0), Accepted(0, "op")])
    return writer


def test_copies_wait_for_their_row_and_end_as_it_does(copies: JournalWriter) -> None:
    assert copies.first_with(b"digest of a request") == 0
    assert copies.first_with(b"digest of another") is None
    assert copies.counts() == {(State.SUBMITTED, ""): 1, (State.WAITING, ""): 2}
    assert copies.waiting() == {0: 2}
    assert copies.outcome(0) is None
    copies.commit([intent(3), Ended(result(0)), Ended(result(3))])
    assert copies.waiting() == {}
    assert copies.outcome(2) == "done"
    assert copies.counts() == {(State.ENDED, "done"): 4}
    assert [(entry.fixed.number, entry.seq) for entry in copies.ended(0, 10)] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    found = copies.entry(2)
    assert (found.operation_id, found.attempt, found.submitted) == ("op", 0, None)
    assert found.result == Result(2, 200.0, "done", b"answer", "", 0, 0, 0.0)
    assert copies.copies() == 2


def test_a_copy_of_a_row_that_has_ended_ends_at_once(copies: JournalWriter) -> None:
    copies.commit([Ended(result(0))])
    copies.commit([copied(3, at=300.0), copied(4, of=5), Intent(fixed(6), 1, 0, "request", 100.0)])
    assert copies.entry(3).state is State.ENDED
    assert copies.entry(4).state is State.WAITING
    assert [(entry.fixed.number, entry.seq) for entry in copies.ended(3, 10)] == [(3, 4)]
    late = copies.entry(3).result
    assert late is not None
    assert late.ended == 300.0
    copies.commit([Accepted(6, "op 6"), Ended(result(6))])
    assert copies.entry(6).seq == 5


def test_totals_count_a_copy_as_free(copies: JournalWriter) -> None:
    copies.commit([Ended(result(0))])
    assert copies.totals() == (10, 20, 0.5, 0, 0)
    assert list(copies.submits()) == [100.0]


def test_a_first_row_that_was_not_sent_is_planned_with_its_source(writer: JournalWriter) -> None:
    writer.keep_copies()
    writer.commit([first(0), Retracted(0)])
    assert (writer.entry(0).state, writer.entry(0).attempt) == (State.PLANNED, 0)
    assert dict(writer.fingerprints()) == {0: fixed(0).fingerprint}


def test_reopened_copies_wait_for_their_row_again(copies: JournalWriter) -> None:
    copies.commit([Ended(result(0, "failed"))])
    copies.reopen(copies.numbers_of(["failed"]), ["ambiguous"])
    assert [copies.entry(number).state for number in range(3)] == [State.PLANNED, State.WAITING, State.WAITING]
    assert copies.totals().repeated == 1  # the copies have had no attempt
    copies.commit([intent(0, 2), Accepted(0, "op 2"), Ended(result(0))])
    assert [(entry.operation_id, entry.result and entry.result.outcome) for entry in copies.ended(0, 10)] == [
        ("op 2", "done")
    ] * 3


def test_copies_outlive_the_process_and_cost_a_journal_without_them_nothing(path: Path, copies: JournalWriter) -> None:
    copies.close()
    with contextlib.closing(JournalWriter(path)) as again:
        again.commit([Ended(result(0))])
        assert again.counts() == {(State.ENDED, "done"): 3}
        assert again.copies() == 2
    plain = path.with_name("plain")
    with contextlib.closing(JournalWriter(plain)) as without:
        assert (without.copies(), without.waiting()) == (0, {})
    with contextlib.closing(sqlite3.connect(plain)) as opened:
        tables = {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"run", "row", "result", "attempt", "refusal", "get_refusal"}


def test_no_statement_of_a_copy_reads_a_whole_table(copies: JournalWriter) -> None:
    statements: list[str] = []
    copies._connection.set_trace_callback(statements.append)
    copies.commit([First(fixed(7), b"another"), copied(3), Ended(result(0))])
    copies.commit([copied(4)])
    copies.first_with(b"another")
    copies.outcome(0)
    copies._connection.set_trace_callback(None)
    kinds = ("INSERT", "UPDATE", "SELECT")
    plans = {
        statement: [plan for *_, plan in copies._connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        for statement in statements
        if statement.startswith(kinds) and "sqlite_master" not in statement
    }
    assert len(plans) >= 10
    tables = ("SCAN row", "SCAN copy", "SCAN result", "SCAN first")
    assert not {statement: plan for statement, plan in plans.items() if any(step.startswith(tables) for step in plan)}


def test_no_statement_of_a_row_reads_a_whole_table(writer: JournalWriter) -> None:
    whole = Ended(Result(2, 200.0, "invalid", error="no text"), fixed(2, "c"))
    steps: list[list[Change]] = [
        [intent(0, row_id="a"), intent(1)],
        [Accepted(0, "op"), Refused(1, 101.0, "UNAVAILABLE")],
        [Again(result(0), doubtful=True), intent(1, 2), Retracted(1), whole, Noted("output", "{}")],
        [intent(0, 2), Accepted(0, "op"), Ended(result(0))],
    ]
    statements: list[str] = []
    writer._connection.set_trace_callback(statements.append)
    for changes in steps:
        writer.commit(changes)
    writer.has_id("a")
    writer.entry(0)
    writer.attempts(0)
    writer.ended(0, 10)
    writer.ended_in_order(0, 10)
    writer._connection.set_trace_callback(None)
    plans = {
        statement: [plan for *_, plan in writer._connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        for statement in statements
        if statement.startswith(("INSERT", "UPDATE", "SELECT"))
    }
    assert len(plans) >= 12
    assert not {statement: plan for statement, plan in plans.items() if any("SCAN" in step for step in plan)}
