"""`yagrpc bulk`: from file to file, refusals, interrupts, progress, and what is done with a journal."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

import yagrpc
from tests.bulk.conftest import QUOTA
from tests.journal.test_journal import intent
from yagrpc import _pb, methods
from yagrpc.bulk.decisions.progress import Progress
from yagrpc.bulk.options import open_journal
from yagrpc.bulk.recording import commits
from yagrpc.cli.bulk import show
from yagrpc.cli.bulk.show import Shown
from yagrpc.emulator import Emulator, Failure, Fault, paths
from yagrpc.errors import ConfigError
from yagrpc.journal.changes import Accepted, Noted, State
from yagrpc.journal.journal import Journal, JournalWriter

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Programs, Ran, Terminal

SUBMIT = methods.TextGenerationAsyncService.Completion.path


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(command: Command, source: str, *options: str, output: str = "out.jsonl") -> Ran:
    return command("bulk", "run", source, "-o", output, "--quota", QUOTA, *options)


def write(name: str, *rows: Any) -> str:
    Path(name).write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")
    return name


def output(name: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text("utf-8").splitlines()]


def test_a_run_from_jsonl_to_jsonl(command: Command, emulator: Emulator) -> None:
    rows: list[Any] = ["a", {"text": "b", "id": "x", "stars": 5}, {"messages": [{"role": "user", "content": "c"}]}]
    ran = run(command, write("rows.jsonl", *rows), "--ordered", "--system", "s")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("3 rows\n  3 done\n")
    found = output()
    assert [row["input_text"] if "input_text" in row else row["messages"][0]["content"] for row in found] == [
        "a",
        "b",
        "c",
    ]
    assert (found[1]["id"], found[1]["stars"], found[1]["outcome"], found[1]["attempts"]) == ("x", 5, "done", 1)
    assert found[1]["text"].startswith('You wrote: "b"')
    assert found[1]["operation_id"]
    assert found[1]["submitted_at"].endswith("+00:00")
    assert Path("out.jsonl.journal").stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir()) == ["out.jsonl", "out.jsonl.journal", "rows.jsonl"]


def test_the_same_command_resumes_and_takes_what_was_appended(command: Command, emulator: Emulator) -> None:
    source = write("rows.jsonl", "a", "b")
    assert run(command, source).code == 0
    assert run(command, source).code == 0
    write("rows.jsonl", "a", "b", "c")
    assert run(command, source, "--concurrency", "2").code == 0
    assert sorted(row["input_text"] for row in output()) == ["a", "b", "c"]
    assert emulator.generations[SUBMIT] == 3


def test_a_csv_is_said_and_becomes_any_format(command: Command, emulator: Emulator) -> None:
    Path("rows.csv").write_bytes("отзыв;оценка\nхорошо;5\nплохо;1\n".encode("cp1251"))
    for name in ("out.csv", "out.parquet"):
        ran = run(command, "rows.csv", "--text-column", "отзыв", "--id-column", "отзыв", output=name)
        assert ran.code == 0
        assert "yagrpc: 'rows.csv': read as cp1251, separated by ';'\n" in ran.err
    with open("out.csv", encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["отзыв"], row["оценка"], row["outcome"]) for row in found] == [
        ("хорошо", "5", "done"),
        ("плохо", "1", "done"),
    ]
    assert pyarrow.parquet.read_table("out.parquet").column("отзыв").to_pylist() == ["хорошо", "плохо"]
    assert run(command, "out.parquet", "--text-column", "отзыв", "--template", "{отзыв}: {оценка}?").code == 0
    assert '"плохо: 1?"' in output()[1]["text"] + output()[0]["text"]


def test_rows_come_by_standard_input(command: Command, emulator: Emulator) -> None:
    ran = command("bulk", "run", "-", "-o", "out.jsonl", "--quota", QUOTA, stdin='"a"\n"b"\n')
    assert (ran.code, len(output())) == (0, 2)


def test_invalid_rows_are_outcomes_and_the_exit_code_says_so(command: Command, emulator: Emulator) -> None:
    Path("rows.jsonl").write_bytes(b'"a"\n{"text"\n{"txt": "b"}\n\xff\n')
    ran = run(command, "rows.jsonl", "--ordered")
    assert ran.code == 1
    assert ran.err.startswith("4 rows\n  1 done\n  3 invalid\n")
    assert [bool(row["error"]) for row in output()] == [False, True, True, True]
    assert emulator.generations[SUBMIT] == 1


def test_strict_sends_nothing_if_a_row_is_invalid(command: Command, emulator: Emulator) -> None:
    rows = ["a", "", {"text": "b", "id": 1}, {"text": "c", "id": 1}]
    ran = run(command, write("rows.jsonl", *rows), "--strict")
    assert ran.code == 2
    assert ran.err.splitlines() == [
        "yagrpc: line 2: text is '': it takes a text that is not empty",
        "yagrpc: line 4: another row has its id, '1'",
    ]
    assert not emulator.calls
    assert run(command, write("good.jsonl", "a"), "--strict").code == 0


def test_a_dry_run_counts_and_generates_nothing(command: Command, emulator: Emulator) -> None:
    source = write("rows.jsonl", *[f"row {n}" for n in range(50)])
    ran = run(command, source, "--dry-run", "--model", "yandexgpt-5.1", "--max-tokens", "100")
    assert (ran.code, ran.err) == (0, "")
    first, second, third = ran.out.splitlines()
    assert first == "50 rows, 0 of them invalid"
    assert second.startswith("about ")
    assert second.endswith(" tokens of input, by 20 rows")
    assert third.startswith("about 0.")
    assert third.endswith(" RUB with the longest answers")
    assert not emulator.generations
    assert os.listdir() == ["rows.jsonl"]
    unknown = run(command, source, "--dry-run")
    assert "the price of yandexgpt is not known: --prices FILE gives one" in unknown.out


def test_a_dry_run_of_a_half_done_run_counts_what_is_left(command: Command, emulator: Emulator) -> None:
    source = write("rows.jsonl", *[f"row {n}" for n in range(10, 20)], "")
    run(command, source, "--limit", "6")
    emulator.reset()
    ran = run(command, source, "--dry-run")
    assert ran.out.splitlines()[0] == "11 rows, 6 of them not sent again, 1 of them invalid"
    assert ran.out.splitlines()[1].endswith(" tokens of input, by 4 rows")
    run(command, source)
    done = run(command, source, "--dry-run")
    assert (done.code, done.out) == (0, "11 rows, 11 of them not sent again, 0 of them invalid\n")


def test_a_sample_of_a_dry_run_is_of_rows_that_the_run_takes(command: Command, emulator: Emulator) -> None:
    ran = run(command, write("rows.jsonl", *[f"row {n}" for n in range(10, 40)]), "--dry-run", "--limit", "3")
    assert ran.out.splitlines()[1].endswith(" tokens of input, by 3 rows")


def test_equal_rows_are_sent_once_with_dedupe(command: Command, emulator: Emulator) -> None:
    source = write("rows.jsonl", *[{"text": f"row {n % 5}", "id": n} for n in range(20)])
    counted = run(command, source, "--dedupe", "--dry-run", "--model", "yandexgpt-5.1")
    assert counted.out.startswith("20 rows, 0 of them invalid, 15 copies\nabout ")
    ran = run(command, source, "--dedupe", "--ordered", "--model", "yandexgpt-5.1")
    assert (ran.code, emulator.generations[SUBMIT]) == (0, 5)
    assert "  20 done\n15 of them are copies, which were not sent\n" in ran.err
    found = output()
    assert [row["id"] for row in found] == list(range(20))
    assert all(row["text"].startswith(f'You wrote: "row {row["id"] % 5}"') for row in found)
    assert [row["attempts"] for row in found] == [1] * 5 + [0] * 15
    assert {(row["input_tokens"], row["output_tokens"], row["cost"]) for row in found[5:]} == {(0, 0, 0.0)}
    status = json.loads(command("bulk", "status", "out.jsonl.journal", "--json").out)
    assert (status["rows"], status["copies"], status["outcomes"]) == (20, 15, {"done": 20})
    assert command("bulk", "report", "out.jsonl.journal", "-o", "report.html").code == 0
    assert "not sent: their requests equal others" in Path("report.html").read_text("utf-8")
    assert command("bulk", "export", "out.jsonl.journal", "-o", "out.csv").code == 0
    with open("out.csv", encoding="utf-8-sig") as file:
        assert [row["attempts"] for row in csv.DictReader(file)] == ["1"] * 5 + ["0"] * 15


def test_prices_come_from_a_file(command: Command, emulator: Emulator) -> None:
    Path("prices.json").write_text('{"yandexgpt": {"async": [1000, 1000]}}')
    ran = run(command, write("rows.jsonl", "a"), "--prices", "prices.json")
    (row,) = output()
    assert row["cost"] == row["input_tokens"] + row["output_tokens"]
    assert f"{row['cost']:.2f} RUB" in ran.err


def test_a_command_shows_the_names_of_files_that_begin_as_a_token_does(command: Command, emulator: Emulator) -> None:
    Path("t1.jsonl").write_text("mine", "utf-8")
    ran = run(command, write("rows.jsonl", "a"), output="t1.jsonl")
    assert ran.err == "yagrpc: output 't1.jsonl' exists, and is not of this run: name another, or remove it\n"
    ran = run(command, write("rows.jsonl", "a"), "--text-column", "x", output="t1.jsonlSecret/out.jsonl")
    assert "Secret" not in ran.err


def test_max_cost_stops_and_says_how_to_resume(command: Command, emulator: Emulator) -> None:
    source = write("rows.jsonl", *[f"row {n}" for n in range(50)])
    ran = run(command, source, "--model", "yandexgpt-5.1", "--max-tokens", "10", "--max-cost", "0.1")
    assert ran.code == 1
    assert "yagrpc: stopped: the next row could cost more than max_cost=0.1 leaves; resume with: yagrpc" in ran.err
    assert 0 < len(output()) < 50


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--text-column", "x"], "there is no column 'x': name that of the texts by --text-column; there are text, n"),
        (["--id-column", "x"], "there is no column 'x': --id-column takes one of text, n"),
        (["--encoding", "klingon"], "'rows.csv': there is no encoding 'klingon'"),
        (
            ["--quota", "submits=1"],
            "--quota has 'submits=1': it takes NAME=NUMBER or NAME=none; names: get_per_second,",
        ),
        (["--retry-on", "done"], "retry_on holds 'done': it takes truncated"),
        (["--max-failures", "many"], "max_failures is 'many': it takes a number of rows"),
        (["--max-cost", "5"], "max_cost needs the price of yandexgpt, which is not known: give --prices"),
        (["-o", "rows.csv"], "rows.csv is the input: name another (see"),
        (["-o", "nowhere/out.csv"], "nowhere is not a folder (see"),
        (["-o", "out.xlsx"], "'out.xlsx': its name ends in none of .jsonl"),
        (["-o", "mine.jsonl"], "output 'mine.jsonl' exists, and is not of this run: name another, or remove it"),
        (["--journal", "mine.jsonl"], "journal 'mine.jsonl' is broken, or no journal"),
        (["--journal", "./out.jsonl"], "out.jsonl is the output: name another journal (see"),
        (["--temperature", "9"], "--temperature is 9.0: it takes a number from 0 to 1"),
        (["--model", ""], "--model is ''"),
        (["--separator", "ab"], "'rows.csv': separator 'ab' has to be one character"),
        (["--template", "{text} {m}"], "there is no column 'm', which --template names; there are text, n"),
    ],
)
def test_what_cant_run_is_refused_in_one_line(
    command: Command, emulator: Emulator, options: list[str], line: str
) -> None:
    Path("rows.csv").write_text("text,n\na,1\n")
    Path("mine.jsonl").write_text("not a run's " * 100)
    ran = command("bulk", "run", "rows.csv", "-o", "out.jsonl", *options)
    said = [each for each in ran.err.splitlines() if "read as" not in each]
    assert ran.code == 2
    assert len(said) == 1
    assert said[0].startswith(f"yagrpc: {line}"), said
    assert not emulator.calls
    assert Path("mine.jsonl").read_text() == "not a run's " * 100


def test_another_input_or_other_options_are_refused(command: Command, emulator: Emulator) -> None:
    source = write("rows.jsonl", "a", "b")
    assert run(command, source).code == 0
    changed = run(command, source, "--system", "s")
    assert changed.code == 2
    assert "is of a run with other options: system was None, and is 's'" in changed.err
    write("rows.jsonl", "a", "x")
    other = run(command, source)
    assert other.code == 2
    assert 'row 2 (line 2) is not the one that the journal has: it is "x", and was "b"' in other.err


@pytest.mark.parametrize("name", ["mine.csv", "mine.jsonl"])
def test_a_file_of_somebody_elses_is_not_written_by_a_later_run(
    command: Command, emulator: Emulator, name: str
) -> None:
    source = write("rows.jsonl", "a")
    for output_name in ("out.csv", "out.csv"):
        assert run(command, source, output=output_name).code == 0
    Path(name).write_text("not a run's")
    ran = run(command, source, "--journal", "out.csv.journal", output=name)
    assert (ran.code, Path(name).read_text()) == (2, "not a run's")
    assert f"output '{name}' exists, and is not of this run" in ran.err
    other = run(command, source, "--journal", "out.csv.journal", output="other.csv")
    assert (other.code, Path("other.csv").read_text()) == (0, Path("out.csv").read_text())


def test_status_shows_a_run_while_it_is_on(command: Command, emulator: Emulator) -> None:
    run(command, write("rows.jsonl", "a", ""))
    journal = "out.jsonl.journal"
    lines = command.done("bulk", "status", journal).splitlines()
    assert lines[:4] == ["completion with yandexgpt, mode async", "2 rows", "  1 done", "  1 invalid"]
    assert lines[-1] == "finished"
    with contextlib.closing(JournalWriter(Path(journal))):  # a run is on
        found = json.loads(command.done("bulk", "status", journal, "--json"))
    assert (found["rows"], found["outcomes"], found["finished"]) == (2, {"done": 1, "invalid": 1}, True)
    assert (found["refused_submits"], found["refused_gets"]) == (0, 0)
    assert command.fails(2, "bulk", "status", "nowhere").startswith("journal 'nowhere' is not there: a run creates it")


def test_status_shows_how_much_of_a_run_is_left(command: Command) -> None:
    with contextlib.closing(JournalWriter(Path("j"))) as journal:
        journal.commit([Noted("expected", "300"), intent(0)])
    lines = command.done("bulk", "status", "j").splitlines()
    assert lines[1:3] == ["1 of 300 rows", "  1 submitting"]
    assert lines[-1] == "not finished"
    assert json.loads(command.done("bulk", "status", "j", "--json"))["expected"] == 300


def test_status_of_a_run_with_appended_rows_is_not_finished(command: Command, emulator: Emulator) -> None:
    given = ("--max-tokens", "2", "--max-failures", "1")
    run(command, write("rows.jsonl", "row 10"), *given)
    assert command.done("bulk", "status", "out.jsonl.journal").splitlines()[-1] == "finished"
    run(command, write("rows.jsonl", *[f"row {n}" for n in range(10, 90)]), *given, "--concurrency", "1")
    lines = command.done("bulk", "status", "out.jsonl.journal").splitlines()
    assert (lines[1], lines[2], lines[-1]) == ("2 of 80 rows", "  2 truncated", "not finished")


LONG = "a" * 300


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("status", LONG), f"journal '{LONG}' can't be used: File name too long"),
        (("report", LONG), f"journal '{LONG}' can't be used: File name too long"),
        (("retry", LONG), f"journal '{LONG}' can't be used: File name too long"),
        (("cancel", LONG), f"journal '{LONG}' can't be used: File name too long"),
        (("status", "j/below"), "journal 'j/below' is not there"),
        (("export", "j", "-o", f"{LONG}.csv"), f"output '{LONG}.csv' can't be written: File name too long"),
        (("export", "j", "-o", "no/o.csv"), "output 'no/o.csv' can't be written: its folder is not there"),
        (("report", "j", "-o", LONG), f"output '{LONG}' can't be written: File name too long"),
        (("report", "j", "-o", "no/o.html"), "output 'no/o.html' can't be written: its folder is not there"),
        (("report", "j", "-o", "."), "output '.' can't be written: Is a directory"),
        (("run", "-", "-o", f"{LONG}.csv"), f"output '{LONG}.csv' can't be written: File name too long"),
        (("run", "-", "-o", "o.csv", "--journal", LONG), f"journal '{LONG}' can't be locked: File name too long"),
        (("run", f"{LONG}.csv", "-o", "o.csv"), f"'{LONG}.csv' can't be read: File name too long"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_in_one_line(command: Command, given: Sequence[str], said: str) -> None:
    with contextlib.closing(JournalWriter(Path("j"))):
        pass
    assert said in command.fails(2, "bulk", *given)
    assert sorted(file.name for file in Path().iterdir()) == ["j"]


def test_an_empty_file_is_no_journal_and_stays_empty(command: Command) -> None:
    Path("j").touch()
    for name in ("status", "retry", "cancel"):
        assert command.fails(2, "bulk", name, "j").startswith("journal 'j' is empty")
    assert not Path("j").stat().st_size


def test_an_export_has_the_earlier_answer_of_a_row_that_waits_for_another(command: Command, emulator: Emulator) -> None:
    source = write("rows.jsonl", "row 10", "row 11")
    run(command, source, "--max-tokens", "2")
    assert "2 rows are planned again" in command("bulk", "retry", "out.jsonl.journal", "--only", "truncated").err
    command("bulk", "export", "out.jsonl.journal", "-o", "kept.jsonl")
    kept = output("kept.jsonl")
    assert [(row["input_text"], row["outcome"], row["attempts"]) for row in kept] == [
        ("row 10", "truncated", 1),
        ("row 11", "truncated", 1),
    ]
    assert all(row["text"] and row["operation_id"] for row in kept)
    assert all(row["error"].endswith("tokens; the row is to be sent again") for row in kept)
    run(command, source, "--max-tokens", "2")
    command("bulk", "export", "out.jsonl.journal", "-o", "again.jsonl")
    assert [(row["attempts"], "again" in row["error"]) for row in output("again.jsonl")] == [(2, False), (2, False)]


def test_retry_reads_invalid_rows_anew(command: Command, emulator: Emulator) -> None:
    first = [{"text": "a", "id": 1}, {"text": ""}, {"text": "b", "id": 1}, "c"]
    source = write("rows.jsonl", *first)
    assert run(command, source, "--ordered").code == 1
    retry = ("bulk", "retry", "out.jsonl.journal", "--only", "invalid")
    assert "2 rows are planned again" in command(*retry).err
    assert command.done("bulk", "status", "out.jsonl.journal").splitlines()[-1] == "not finished"
    assert run(command, source, "--ordered").code == 1  # they are as invalid as before
    assert [row["outcome"] for row in output()] == ["done", "invalid", "invalid", "done"]
    command(*retry)
    write("rows.jsonl", first[0], {"text": "mended"}, {"text": "b", "id": 2}, "c")
    assert run(command, source, "--ordered").code == 0
    assert [row["input_text"] for row in output()] == ["a", "mended", "b", "c"]
    assert emulator.generations[SUBMIT] == 4


def test_a_record_of_csv_that_cant_be_read_is_not_sent_after_a_retry(command: Command, emulator: Emulator) -> None:
    Path("rows.csv").write_text("text,n\na,1\nb,2,3\n")
    for _ in range(2):
        assert run(command, "rows.csv").code == 1
        assert "1 row is planned again" in command("bulk", "retry", "out.jsonl.journal", "--only", "invalid").err
    assert emulator.generations[SUBMIT] == 1


def test_retry_takes_rows_that_the_service_refused_and_those_without_a_price_with_their_copies(
    command: Command, emulate: Callable[..., Emulator]
) -> None:
    refusal = Fault(Failure(grpc.StatusCode.INVALID_ARGUMENT, "no"), method=paths.COMPLETION_ASYNC, calls=1)
    emulate(duration=0, faults=[refusal])
    dear = {"text": "b", "model": "dear"}
    source = write("rows.jsonl", "a", dear, {**dear, "n": 2})
    given = ("--ordered", "--dedupe", "--model", "yandexgpt-5.1", "--max-tokens", "9", "--max-cost", "50")
    assert run(command, source, *given, "--concurrency", "1").code == 1
    assert [row["outcome"] for row in output()] == ["invalid"] * 3
    assert "3 rows are planned again" in command("bulk", "retry", "out.jsonl.journal", "--only", "invalid").err
    Path("prices.json").write_text('{"dear": {"async": 1}}')
    run(command, source, *given, "--prices", "prices.json")
    assert [(row["outcome"], row["attempts"]) for row in output()] == [
        ("truncated", 2),
        ("truncated", 1),
        ("truncated", 0),
    ]


def test_export_writes_what_has_ended(command: Command, emulator: Emulator) -> None:
    run(command, write("rows.jsonl", "a", "b"))
    ran = command("bulk", "export", "out.jsonl.journal", "-o", "out.csv")
    assert (ran.code, ran.err) == (0, "yagrpc: 2 rows written to out.csv\n")
    with open("out.csv", encoding="utf-8", newline="") as file:
        assert [row["input_text"] for row in csv.DictReader(file)] == ["a", "b"]
    assert command.fails(2, "bulk", "export", "out.jsonl.journal", "-o", "out.csv").startswith(
        "output 'out.csv' exists"
    )


def test_retry_plans_failed_rows_again_and_the_output_has_each_once(
    command: Command, emulate: Callable[..., Emulator]
) -> None:
    emulator = emulate(duration=0, replies={"boom": Failure(grpc.StatusCode.INTERNAL, "broken")})
    source = write("rows.jsonl", "a", "boom", "c")
    assert run(command, source, "--retries", "0").code == 1
    emulator.set_replies(None)
    assert "1 row is planned again" in command("bulk", "retry", "out.jsonl.journal").err
    assert run(command, source, "--retries", "0").code == 0
    assert sorted((row["input_text"], row["outcome"]) for row in output()) == [
        ("a", "done"),
        ("boom", "done"),
        ("c", "done"),
    ]
    assert emulator.generations[SUBMIT] == 4


def test_a_journal_that_stays_full_has_its_lost_operations_on_stderr(command: Command, monkeypatch: Any) -> None:
    lost = [f"d7q{number:017}" for number in range(400)]

    def full(*given: Any) -> None:
        raise yagrpc.JournalError("changes could not be written", operation_ids=lost)

    monkeypatch.setattr("yagrpc.cli.bulk.journals.JournalWriter", full)
    Path("j").write_text("a journal")
    ran = command("bulk", "retry", "j")
    assert ran.code == 1
    assert ran.err.splitlines()[1:] == [f"yagrpc: not in the journal: operation {each}" for each in lost]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_run_on_a_disk_that_stays_full_names_the_cause_and_the_command_that_resumes(
    command: Command, emulate: Callable[..., Emulator], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(commits, "_PAUSE", 0.01)
    monkeypatch.setattr(commits, "PATIENCE", 0.05)
    monkeypatch.setattr("yagrpc.bulk.engine.stopping.GRACE", 0.01)
    emulate(duration=0)

    def small(*given: Any) -> JournalWriter:
        writer = open_journal(*given)
        writer._connection.execute("PRAGMA max_page_count = 40")
        return writer

    monkeypatch.setattr("yagrpc.bulk.asynchronous.open_journal", small)
    ran = run(command, write("rows.jsonl", *(f"{n} " + "x" * 3000 for n in range(100))), output=name)
    first, *_, last = ran.err.splitlines()
    assert ran.code == 1
    assert first.startswith(f"yagrpc: journal '{name}.journal' can't be written: database or disk is full")
    assert last.startswith("yagrpc: resume with: yagrpc")


def test_cancel_asks_for_the_operations_that_run(command: Command, emulate: Callable[..., Emulator]) -> None:
    emulator = emulate(duration=3600)
    operation = _operation(emulator)
    with contextlib.closing(JournalWriter(Path("j"))) as journal:
        journal.commit([intent(0), Accepted(0, operation)])
    ran = command("bulk", "cancel", "j")
    assert (ran.code, ran.err) == (0, "yagrpc: 1 operation was asked to stop; the next run gets how it ended\n")
    assert emulator.operations[0].done


def _operation(emulator: Emulator) -> str:
    request = _pb.text_generation_service_pb2.CompletionRequest(
        model_uri="gpt://f/yandexgpt", messages=[_pb.text_common_pb2.Message(role="user", text="a")]
    )
    with grpc.insecure_channel(emulator.address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub: Any = _pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)
        found: str = stub.Completion(request).id
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_stops_and_prints_the_command_that_resumes(
    programs: Programs, emulate: Callable[..., Emulator], number: int, code: int
) -> None:
    emulator = emulate(duration=3600)
    source = write("rows.jsonl", *[f"row {n}" for n in range(20)])
    process = programs.start("bulk", "run", source, "-o", "out.jsonl", "--quota", QUOTA)
    _until_submitted(20, process)
    process.send_signal(number)
    line = process.stderr.readline()
    assert line.startswith("yagrpc: stopping: operations that are near their end are waited for")
    process.send_signal(number)  # at once, now
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    expected = (
        "yagrpc: interrupted; 0 rows have ended; 20 operations still run; resume with: yagrpc bulk run rows.jsonl"
    )
    assert expected in said.replace("\n", " ")
    emulator.advance(3600)
    ran = programs("bulk", "run", source, "-o", "out.jsonl", "--quota", QUOTA)
    assert (ran.code, len(output())) == (0, 20)
    assert emulator.generations[SUBMIT] == 20


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_waits_for_what_is_near_its_end(programs: Programs, emulate: Callable[..., Emulator]) -> None:
    emulator = emulate(duration=3600)
    source = write("rows.jsonl", *[f"row {n}" for n in range(20)])
    process = programs.start("bulk", "run", source, "-o", "out.jsonl", "--quota", QUOTA)
    _until_submitted(20, process)
    process.send_signal(signal.SIGINT)
    assert "stopping" in process.stderr.readline()
    emulator.advance(3600)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(output()) == 20


def _until_submitted(count: int, process: Any) -> None:
    """Wait until a run has that many operations."""
    import time

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        path = Path("out.jsonl.journal")
        with contextlib.suppress(ConfigError), contextlib.closing(Journal(path)) as journal:
            if journal.counts().get((State.SUBMITTED, ""), 0) == count:
                return
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the rows were not submitted: {process.communicate()}")


def view(ended: int) -> Progress:
    return Progress(10, ended, 0, 3, 1, {"done": ended}, 0, 1, 100, 50, 1.5, 3.0, 5.0, 2.0, 90.0)


def test_elsewhere_a_plain_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "EVERY", 3600.0)
    with Shown() as shown:
        shown(view(1))
        shown._next = 0.0
        shown(view(2))
        shown(view(3))
    expected = (
        "2 of 10 rows, 3 running, 2 done, 2.0/s, 150 tokens, 1.50 of about 3.00 RUB, 1 may be billed twice, 2 min left"
    )
    assert capsys.readouterr().err == f"yagrpc: {expected}\n"


def test_a_terminal_has_a_bar(terminal: Terminal) -> None:
    with terminal.as_output(), Shown() as shown:
        shown(view(4))
        shown.say("yagrpc: a line")
    seen = terminal.rest()
    assert "4 of 10" in seen
    assert "yagrpc: a line" in seen
