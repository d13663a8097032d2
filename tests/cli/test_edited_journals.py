"""A journal that something else than a run has changed: each command refuses it in one line, and changes nothing."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc.journal.changes import (
    Accepted,
    Again,
    Copied,
    Ended,
    First,
    Fixed,
    GetsRefused,
    Intent,
    Noted,
    Refused,
    Result,
)
from yagrpc.journal.journal import JournalWriter

if TYPE_CHECKING:
    from tests.cli.conftest import Command

COMMANDS: Final[Sequence[tuple[str, ...]]] = [
    ("status", "j"),
    ("status", "j", "--json"),
    ("export", "j", "-o", "exported.jsonl"),
    ("report", "j", "-o", "report.html"),
    ("retry", "j", "--only", "failed"),
    ("cancel", "j"),
    ("run", "rows.jsonl", "-o", "out.jsonl", "--journal", "j"),
    ("run", "rows.jsonl", "-o", "out.jsonl", "--journal", "j", "--dry-run"),
]

NOTES: Final = {
    "options": {
        "folder_id": "emulator", "mode": "async", "model": "yandexgpt", "service": "127.0.0.1", "task": "completion",
    },
    "expected": 3,
    "total": None,
    "starts": [1_790_000_000.0],
    "submit_limits": [10, None],
}  # fmt: skip

BIGGEST: Final = 2**63 - 1


def write(path: Path) -> None:
    """Write a journal that has a row of each kind: done, failed, tried again, refused and a copy."""
    answer = _pb.text_generation_service_pb2.CompletionResponse(model_version="5")
    answer.alternatives.add().message.text = "answer"
    fixed = [Fixed(number, f"r{number}", number + 1, b"f%d" % number, b'"row %d"' % number) for number in range(4)]
    done = Result(0, 1_790_000_009.0, "done", answer.SerializeToString(), "", 10, 20, 0.5)
    failed = Result(1, 1_790_000_008.0, "failed", None, "INTERNAL: no")
    with contextlib.closing(JournalWriter(path)) as journal:
        journal.keep_copies()
        journal.commit([Noted(name, json.dumps(value)) for name, value in NOTES.items()])
        journal.commit([First(fixed[0], b"digest"), Copied(fixed[3], 0, 1_790_000_001.0)])
        journal.commit([Intent(each, 1, 0, "request", 1_790_000_001.0) for each in fixed[:3]])
        journal.commit([Refused(2, 1_790_000_002.0, "UNAVAILABLE"), GetsRefused(1_790_000_003, "UNAVAILABLE", 2)])
        journal.commit([Accepted(0, "d7q0"), Accepted(1, "d7q1"), Again(failed, doubtful=False)])
        journal.commit([Ended(done)])
        journal.commit([Intent(fixed[1], 2, 0, "request", 1_790_000_010.0), Accepted(1, "d7q2"), Ended(failed)])


def written() -> tuple[bytes, list[tuple[str, str, object]]]:
    """Such a journal, and its tables and columns, each with a value of another kind."""
    with tempfile.TemporaryDirectory() as folder:
        write(path := Path(folder, "j"))
        with contextlib.closing(sqlite3.connect(path)) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            found: list[tuple[str, str, object]] = [
                (table, name, "a text" if kind == "BLOB" else BIGGEST if kind == "INTEGER" and key else b"\xff\xfe")
                for table in sorted(tables)
                for _, name, kind, _, _, key in database.execute(f"PRAGMA table_info({table})")
            ]
        return path.read_bytes(), found


JOURNAL, COLUMNS = written()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", "127.0.0.1:9")  # nothing of these journals is sent
    Path("j").write_bytes(JOURNAL)
    Path("rows.jsonl").write_text("".join(f'{{"id": "r{number}", "text": "row {number}"}}\n' for number in range(4)))


@contextlib.contextmanager
def edited() -> Iterator[sqlite3.Connection]:
    """The journal's database, to be changed by hand."""
    with contextlib.closing(sqlite3.connect("j")) as database:
        yield database
        database.commit()


def refused(command: Command, said: str, commands: Sequence[tuple[str, ...]] = COMMANDS) -> None:
    """Check that commands refuse the journal, and leave it, in one line."""
    before = Path("j").read_bytes()
    files = sorted(Path().iterdir())
    for arguments in commands:
        line = command.fails(2, "bulk", *arguments)
        assert line.startswith(f"journal 'j' is broken ({said}"), (arguments, line)
        assert line.endswith("(what it has paid for is paid again)")
    assert sorted(Path().iterdir()) == files
    assert Path("j").read_bytes() == before


def test_a_journal_that_was_not_changed_is_taken(command: Command) -> None:
    assert command("bulk", "status", "j").out.splitlines()[1:4] == ["4 rows", "  2 done", "  1 failed"]
    assert command("bulk", "report", "j", "-o", "report.html").code == 0


def test_a_cost_may_be_large(command: Command) -> None:
    with edited() as database:
        database.execute("UPDATE result SET cost = ? WHERE number = 0", [4e13])
    assert "40,000,000,000,000.00 RUB" in command("bulk", "status", "j").out
    assert command("bulk", "report", "j", "-o", "report.html").code == 0


def test_tables_and_columns_that_others_have_added_are_left_alone(command: Command) -> None:
    with edited() as database:
        database.execute("CREATE TABLE mine (number INTEGER PRIMARY KEY, comment TEXT)")
        database.execute("INSERT INTO mine VALUES (1, NULL)")
        database.execute("ALTER TABLE row ADD COLUMN comment TEXT")
    assert "4 rows" in command("bulk", "status", "j").out
    assert "1 row is planned again" in command("bulk", "retry", "j", "--only", "failed").err


def test_a_journal_of_an_earlier_version_is_refused_before_it_is_changed(command: Command) -> None:
    with edited() as database:
        database.executescript(
            "DROP TABLE get_refusal; ALTER TABLE attempt DROP COLUMN response; PRAGMA user_version = 1"
        )
    earlier = Path("j").read_bytes()
    assert command("bulk", "retry", "j", "--only", "expired").code == 0
    assert Path("j").read_bytes() != earlier
    Path("j").write_bytes(earlier)
    with edited() as database:
        database.execute("UPDATE row SET doubtful = 'x'")
    refused(command, "a value in column doubtful of table row is not ")


@pytest.mark.parametrize(("table", "column", "value"), COLUMNS)
def test_a_value_of_another_kind_is_refused_and_its_column_is_named(
    command: Command, table: str, column: str, value: object
) -> None:
    with edited() as database:
        last = f"SELECT max({column}) FROM {table}"
        database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} IS ({last})", [value])
    refused(command, f"a value in column {column} of table {table} is not ", [COMMANDS[0], COMMANDS[4]])


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("row", "state", 5),
        ("row", "state", -1),
        ("row", "doubtful", BIGGEST),
        ("row", "submitted", 253402300800.0),
        ("row", "submitted", -7e10),
        ("attempt", "ended", -1.0),
        ("refusal", "at", -1e11),
        ("row", "submitted", float("inf")),
        ("result", "ended", -1e300),
        ("result", "ended", 1e308),
        ("result", "output_tokens", float("inf")),
        ("result", "cost", float("inf")),
        ("refusal", "at", float("inf")),
    ],
)
def test_a_number_that_no_run_writes_is_refused(command: Command, table: str, column: str, value: float) -> None:
    with edited() as database:
        database.execute(f"UPDATE {table} SET {column} = ?", [value])
    refused(command, f"a value in column {column} of table {table} is not ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("options", "no JSON"),
        ("options", "[" * 100_000),
        ("options", "[]"),
        ("options", '{"task": []}'),
        ("options", '{"task": "translate"}'),
        ("expected", "-1"),
        ("expected", "true"),
        ("expected", '"4"'),
        ("total", "1.5"),
        ("starts", "5"),
        ("starts", "[null]"),
        ("starts", "[1e300]"),
        ("starts", "[NaN]"),
        ("submit_limits", "[1]"),
        ("submit_limits", "[0, 1]"),
        ("submit_limits", "{}"),
        ("output", "null"),
        ("output", "{}"),
        ("output", '{"path": 5, "ordered": true}'),
        ("output", '{"path": "p", "ordered": 1}'),
        ("output", '{"path": "p", "ordered": true, "offset": -1, "after": 0, "tail": ""}'),
        ("output", '{"path": "p", "ordered": true, "offset": 0}'),
        ("output", '{"path": "p", "ordered": true, "offset": 0, "after": 0, "tail": "", "again": 1}'),
    ],
)
def test_a_note_that_no_run_writes_is_refused_and_named(command: Command, name: str, value: str) -> None:
    with edited() as database:
        database.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", [name, value])
    before = Path("j").read_bytes()
    for arguments in [COMMANDS[0], COMMANDS[3], COMMANDS[4], COMMANDS[6]]:
        line = command.fails(2, "bulk", *arguments)
        assert re.match(f"journal 'j' is broken \\(its note '?{name}'? is ", line), (arguments, line)
    assert Path("j").read_bytes() == before


@pytest.mark.parametrize(("column", "value"), [("outcome", "great"), ("response", b"\xff\xff")])
def test_a_result_that_cannot_be_read_is_said_where_it_is_needed(command: Command, column: str, value: object) -> None:
    with edited() as database:
        database.execute(f"UPDATE result SET {column} = ? WHERE number = 0", [value])
    assert command("bulk", "status", "j").code == 0
    line = command.fails(1, "bulk", "export", "j", "-o", "exported.jsonl")
    assert line.startswith("the result of row 0 can't be read: something else than a run has changed the journal")
    assert not Path("exported.jsonl").exists()


def test_a_result_without_its_row_is_said(command: Command) -> None:
    with edited() as database:
        database.execute("DELETE FROM row WHERE number = 1")
    assert "row 1 is missing" in command.fails(2, "bulk", "report", "j", "-o", "report.html")


VALUES: Final = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.integers(-BIGGEST - 1, BIGGEST),
    st.floats(allow_nan=False),
    st.sampled_from(["null", "[]", "{}", '"s"', "[[]]", "1", "done"]),
    st.integers(-2, 5),
    st.floats(0, 253402300799),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.sampled_from(COLUMNS), VALUES, st.sampled_from(COMMANDS[:-2]), st.randoms(use_true_random=False))
def test_whatever_is_written_into_a_journal_ends_no_command_with_a_traceback(
    command: Command, place: tuple[str, str, object], value: Any, arguments: tuple[str, ...], rng: Any
) -> None:
    for file in ("exported.jsonl", "report.html"):
        Path(file).unlink(missing_ok=True)
    Path("j").write_bytes(JOURNAL)
    table, column, _ = place
    with edited() as database:
        keys = "name" if table == "run" else "number" if table != "get_refusal" else "at"
        rows = [key for (key,) in database.execute(f"SELECT {keys} FROM {table}")]
        try:
            database.execute(f"UPDATE {table} SET {column} = ? WHERE {keys} = ?", [value, rng.choice(rows)])
        except sqlite3.IntegrityError:  # SQLite itself refuses it
            return
    ran = command("bulk", *arguments)  # an exception that is a bug is raised here
    assert ran.code in (0, 1, 2)
