"""`operation collect`: ids of somebody else's in, a file of results out, in as many runs as it takes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import yagrpc
from yagrpc.cli.collecting import run
from yagrpc.cli.collecting.ids import Ids
from yagrpc.emulator import Emulator, Failure, Fault, paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Command, Programs

HOUR = 3600.0


def submitted(emulator: Emulator, *texts: str) -> list[str]:
    """The ids of operations that somebody else has submitted."""
    settings: Any = {"endpoint": emulator.address, "plaintext": True, "folder_id": "folder"}
    with yagrpc.Client(credentials=yagrpc.NoCredentials(), quota=None, **settings) as client:
        return [client.completion_async(text).id for text in texts]


def rows(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of a file by their ids, each of which comes once."""
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: row for row in found}


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Any]:
    """Writes the file of ids; gives the arguments of the command, and the file of results."""

    def write(content: str | bytes, name: str = "ids.txt", *options: str) -> tuple[list[str], Path]:
        source, out = tmp_path / name, tmp_path / "results.jsonl"
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["operation", "collect", "--ids", str(source), "-o", str(out), *options], out

    return write


def test_each_operation_gets_a_row_as_it_ends(command: Command, emulate: Any, files: Any) -> None:
    failure = Failure(grpc.StatusCode.INTERNAL, "generation broke")
    emulator = emulate(duration=0.0, replies={"bad": failure})
    good, bad = submitted(emulator, "good", "bad")
    arguments, out = files(f"{good}\n{bad}\nd7qnothing\n\n{good}\n")
    ran = command(*arguments)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "yagrpc: 3 operations: 1 done, 1 failed, 1 not found\n"
    found = rows(out)
    assert found[good]["text"].startswith('You wrote: "good"')
    assert (found[good]["outcome"], found[good]["error"]) == ("done", None)
    assert found[good]["usage"]["total_tokens"] > 0
    assert found[good]["model_version"]
    assert found[bad]["error"] == {"code": "INTERNAL", "message": "generation broke"}
    assert found["d7qnothing"]["outcome"] == "not_found"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_all_done_is_a_success(command: Command, emulate: Any, files: Any) -> None:
    emulator = emulate(duration=0.0)
    arguments, out = files("\n".join(submitted(emulator, "one", "two")))
    ran = command(*arguments)
    assert (ran.code, ran.out, ran.err) == (0, "", "yagrpc: 2 operations: 2 done\n")
    assert {row["outcome"] for row in rows(out).values()} == {"done"}


def test_what_was_cancelled_has_its_outcome(command: Command, slow: Emulator, files: Any) -> None:
    (cancelled,) = submitted(slow, "one")
    command.done("operation", "cancel", cancelled)
    arguments, out = files(cancelled)
    assert command(*arguments).code == 1
    assert rows(out)[cancelled]["outcome"] == "cancelled"


def test_an_answer_that_is_not_whole_is_no_success(command: Command, emulate: Any, files: Any) -> None:
    emulator = emulate(duration=0.0)
    settings: Any = {"endpoint": emulator.address, "plaintext": True, "folder_id": "folder"}
    with yagrpc.Client(credentials=yagrpc.NoCredentials(), **settings) as client:
        cut = client.completion_async("a long story", max_tokens=1).id
    arguments, out = files(cut)
    assert command(*arguments).code == 1
    assert rows(out)[cut]["outcome"] == "truncated"
    assert rows(out)[cut]["text"]


def test_a_result_of_another_kind_is_in_its_row(command: Command, emulate: Any, files: Any) -> None:
    emulator = emulate(duration=0.0)
    settings: Any = {"endpoint": emulator.address, "plaintext": True, "folder_id": "folder"}
    with yagrpc.Client(credentials=yagrpc.NoCredentials(), **settings) as client:
        request: Any = {"modelUri": "art://folder/yandex-art", "messages": [{"text": "a platypus"}]}
        image = client.call("ImageGenerationAsyncService/Generate", request).id
    arguments, out = files(image)
    assert command(*arguments).code == 0
    assert (rows(out)[image]["outcome"], rows(out)[image]["text"]) == ("done", None)
    assert rows(out)[image]["response"]["image"]


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("jobs.csv", 'prompt,id\n"a, b",{0}\n"c\nd",{1}\n', "id"),
        ("jobs.tsv", "id\tprompt\n{0}\ta\n{1}\tb\n", "id"),
        ("jobs.txt", "\ufeffid;x,operation\r\n1,{0}\r\n2,{1}\r\n", "operation"),
        ("jobs.jsonl", '{{"op": "{0}"}}\n\n{{"op": "{1}", "n": 2}}', "op"),
        ("jobs", '{{"op": "{0}"}}\n{{"op": "{1}", "n": 2}}\n', "op"),
        ("jobs.txt", "\ufeff{0}\r\n  {1}  ", None),
    ],
)
def test_ids_are_read_from_what_there_is(
    command: Command, emulate: Any, files: Any, name: str, content: str, column: str | None
) -> None:
    emulator = emulate(duration=0.0)
    ids = submitted(emulator, "one", "two")
    arguments, out = files(content.format(*ids), name, *(() if column is None else ("--column", column)))
    ran = command(*arguments)
    assert (ran.code, ran.err) == (0, "yagrpc: 2 operations: 2 done\n")
    assert set(rows(out)) == set(ids)


def test_standard_input_has_ids_too(programs: Programs, emulate: Any, tmp_path: Path) -> None:
    emulator = emulate(duration=0.0)
    (one,) = submitted(emulator, "one")
    out = tmp_path / "out.jsonl"
    ran = programs("operation", "collect", "--ids", "-", "-o", str(out), stdin=f"{one}\n")
    assert (ran.code, ran.out, ran.err) == (0, "", "yagrpc: 1 operation: 1 done\n")
    assert list(rows(out)) == [one]


def test_standard_input_without_ids_is_refused(programs: Programs, emulate: Any, tmp_path: Path) -> None:
    emulate()
    out = tmp_path / "out.jsonl"
    ran = programs("operation", "collect", "--ids", "-", "-o", str(out), stdin="")
    assert (ran.code, ran.out) == (2, "")
    assert "standard input: no ids" in ran.err
    assert not out.exists()


def test_a_second_run_asks_for_the_rest_alone(command: Command, emulate: Any, files: Any) -> None:
    emulator = emulate(duration=HOUR)
    early = submitted(emulator, "one", "two")
    emulator.advance(HOUR)
    late = submitted(emulator, "three")
    arguments, out = files("\n".join([*late, *early]))
    ran = command(*arguments, "--timeout", "0")
    assert (ran.code, ran.err) == (3, "yagrpc: 3 operations: 2 done, 1 not collected\n")
    assert set(rows(out)) == set(early)
    emulator.advance(HOUR)
    asked = emulator.calls[paths.OPERATION_GET]
    assert command(*arguments).code == 0
    assert emulator.calls[paths.OPERATION_GET] == asked + 1
    assert set(rows(out)) == {*early, *late}
    before = out.read_bytes()
    assert command(*arguments).code == 0
    assert out.read_bytes() == before
    assert emulator.calls[paths.OPERATION_GET] == asked + 1
    assert emulator.deliveries == Counter([*early, *late])


def test_a_wait_that_is_over_says_how_many_are_left(command: Command, slow: Emulator, files: Any) -> None:
    arguments, out = files("\n".join(submitted(slow, "one", "two")))
    ran = command(*arguments, "--timeout", "0.2")
    assert (ran.code, ran.err) == (3, "yagrpc: 2 operations: 2 not collected\n")
    assert out.read_bytes() == b""


def test_a_failure_of_an_earlier_run_is_still_one(command: Command, emulate: Any, files: Any) -> None:
    emulate(duration=0.0)
    arguments, _ = files("d7qnothing\n")
    assert command(*arguments).code == 1
    assert command(*arguments).code == 1


@pytest.mark.parametrize("torn", ['{"id": "d7q', "{", '{"id": "{0}", "outcome": "done"}'])
def test_a_torn_last_line_is_mended(command: Command, emulate: Any, files: Any, torn: str) -> None:
    emulator = emulate(duration=0.0)
    one, two = submitted(emulator, "one", "two")
    arguments, out = files(one)
    assert command(*arguments).code == 0
    whole = out.read_bytes()
    out.write_bytes(whole + torn.replace("{0}", two).encode())
    arguments, _ = files(f"{one}\n{two}\n")
    assert command(*arguments).code == 0
    assert out.read_bytes().startswith(whole)
    assert set(rows(out)) == {one, two}


@pytest.mark.parametrize(
    "content",
    ["hello\n", "hello", '{"name": "x"}\n', '{"id": "d7q"}\n', '{"id": "d7q"}', '{"id": 5, "outcome": "done"}\n',
     '[1]\n', '{"id": "d7q", "outcome": "done"}\n{"id": "\n{"id": "d7r", "outcome": "done"}\n', "\n", "\0\0"],
)  # fmt: skip
def test_a_file_of_something_else_is_not_touched(command: Command, emulate: Any, files: Any, content: str) -> None:
    emulate(duration=0.0)
    arguments, out = files("d7q\n")
    out.write_text(content)
    line = command.fails(2, *arguments)
    assert re.search(r"results\.jsonl, line \d: no row of 'yagrpc operation collect'; name another file with -o$", line)
    assert out.read_text() == content


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("ids.txt", "d7q\n\n" + "x" * 500, (), "line 3: the id is 'xxx"),
        ("ids.txt", "d7q\nnot an id\n", (), "line 2: the id is 'not an id', which is no operation's id"),
        ("ids.csv", "id,prompt\nd7q,a\n", (), "line 1: the id is 'id,prompt', which is no operation's id; for CSV"),
        ("ids.txt", "d7q\0\n", (), r"line 1: the id is 'd7q\x00', which is no operation's id; for CSV or JSON lines"),
        ("ids.txt", b"d7q\n\xff\n", (), "not UTF-8 after line"),
        ("ids.csv", "id,x\nd7q,1\n,2\n", ("--column", "id"), "line 3: the column 'id' is empty"),
        ("ids.csv", "x\n1\n", ("--column", "id"), "it has no column 'id', but 'x': name one with --column"),
        ("ids.csv", "id,id\n1,2\n", ("--column", "id"), "it has more than one column 'id'"),
        ("ids.csv", "", ("--column", "id"), "it has no column 'id', but no columns"),
        ("ids.csv", 'id\n"d7q\n', ("--column", "id"), "not CSV: unexpected end of data"),
        ("ids.csv", "a,id\n1\n", ("--column", "id"), "line 2: the column 'id' is empty"),
        ("ids.jsonl", '{"id": "d7q"}\n{"x": 1}\n', ("--column", "id"), "line 2: it has no key 'id'"),
        ("ids.jsonl", '{"id": 5}\n', ("--column", "id"), "line 1: the column 'id' is 5, which is no operation's id"),
        ("ids.jsonl", "[]\n", ("--column", "id"), "line 1: it has no key 'id'"),
        ("ids.jsonl", "{\n", ("--column", "id"), "line 1: not JSON; each line takes an object"),
        ("ids.jsonl", '{"id": null}\n', ("--column", "id"), "line 1: the column 'id' is None"),
        ("ids.txt", "", (), "ids.txt: no ids"),
        ("ids.txt", "\n \n", (), "ids.txt: no ids"),
        ("ids.csv", "id,x\n", ("--column", "id"), "ids.csv: no ids"),
        ("ids.jsonl", "", ("--column", "id"), "ids.jsonl: no ids"),
    ],
)
def test_bad_ids_are_refused_before_anything_is_asked(
    command: Command, emulate: Any, files: Any, name: str, content: str | bytes, options: tuple[str, ...], said: str
) -> None:
    emulator = emulate(duration=0.0)
    arguments, out = files(content, name, *options)
    line = command.fails(2, *arguments)
    assert name in line
    assert said in line
    assert not out.exists()
    assert not emulator.calls


def test_files_that_can_not_be_used_are_refused(command: Command, emulate: Any, files: Any, tmp_path: Path) -> None:
    emulate(duration=0.0)
    arguments, out = files("d7q\n")
    assert "No such file" in command.fails(2, "operation", "collect", "--ids", str(tmp_path / "no"), "-o", str(out))
    same = command.fails(2, *arguments[:4], "-o", arguments[3])
    assert same.startswith("--ids and --output are the same file")
    assert "No such file" in command.fails(2, *arguments[:4], "-o", str(tmp_path / "no" / "out"))
    assert "Is a directory" in command.fails(2, *arguments[:4], "-o", str(tmp_path))
    assert "takes a file, and not '-'" in command.fails(2, *arguments[:4], "-o", "-")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such files")
def test_results_are_not_written_to_what_is_no_regular_file(
    command: Command, emulate: Any, files: Any, tmp_path: Path
) -> None:
    emulate(duration=0.0)
    arguments, _ = files("d7q\n")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert command.fails(2, *arguments[:4], "-o", str(fifo)).endswith("it is a FIFO, and not a regular file")
    assert command.fails(2, *arguments[:4], "-o", os.devnull).endswith("it is a device, and not a regular file")


def test_two_runs_do_not_write_to_one_file(command: Command, slow: Emulator, files: Any) -> None:
    arguments, out = files("\n".join(submitted(slow, "one")))
    first = run.Rows(str(out))
    try:
        assert command.fails(2, *arguments).endswith("another run writes it; wait for it, or name another")
    finally:
        first.close()


def test_an_operation_of_somebody_else_is_left_out(command: Command, emulate: Any, files: Any) -> None:
    emulator = emulate(duration=0.0)
    one, two = submitted(emulator, "one", "two")
    fault = Failure(grpc.StatusCode.PERMISSION_DENIED, "not yours")
    emulator.faults.add(Fault(fault, method=paths.OPERATION_GET, operation=one))
    arguments, out = files(f"{one}\n{two}\n")
    ran = command(*arguments)
    assert ran.code == 3
    assert ran.err.splitlines()[0].startswith(f"yagrpc: operation {one} is left out: ")
    assert ran.err.splitlines()[1:] == ["yagrpc: 2 operations: 1 done, 1 not collected"]
    assert list(rows(out)) == [two]


def test_a_refused_credential_ends_the_run(command: Command, emulate: Any, files: Any) -> None:
    emulator = emulate(duration=0.0)
    one, two = submitted(emulator, "one", "two")
    fault = Failure(grpc.StatusCode.UNAUTHENTICATED, "who?")
    emulator.faults.add(Fault(fault, method=paths.OPERATION_GET))
    arguments, out = files(f"{one}\n{two}\n")
    ran = command(*arguments)
    assert ran.code == 1
    assert "run the same command again to continue" in ran.err.splitlines()[0]
    assert out.read_bytes() == b""


def test_more_operations_than_are_waited_for_at_once(
    command: Command, emulate: Any, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "AT_ONCE", 4)
    monkeypatch.setattr(run, "POLLED_AT_ONCE", 4)
    emulator = emulate(duration=0.0)
    ids = submitted(emulator, *map(str, range(30)))
    for options in ((), ("--timeout", "0")):
        arguments, out = files("\n".join([*ids, *ids]))
        out.unlink(missing_ok=True)
        assert command(*arguments, *options).code == 0
        assert set(rows(out)) == set(ids)


def test_rows_are_written_while_others_are_polled_for_the_first_time(
    emulate: Any, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "POLLED_AT_ONCE", 4)
    emulator = emulate(duration=0.0)
    ids = submitted(emulator, *map(str, range(12)))
    polled: list[int] = []
    _, out = files("")

    class Noting(run.Rows):
        def write(self, row: dict[str, Any]) -> None:
            polled.append(emulator.calls[paths.OPERATION_GET])
            super().write(row)

    settings: Any = {"endpoint": emulator.address, "plaintext": True, "folder_id": "folder"}
    with (
        yagrpc.Client(credentials=yagrpc.NoCredentials(), **settings) as client,
        contextlib.closing(Ids()) as wanted,
        contextlib.closing(Noting(str(out))) as written,
    ):
        wanted.add(ids)
        assert run.collect(client, wanted, written, 0)
    assert polled == [4] * 4 + [8] * 4 + [12] * 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_says_how_to_continue(
    programs: Programs, slow: Emulator, files: Any, number: int, code: int
) -> None:
    arguments, _ = files("\n".join(submitted(slow, "one", "two")))
    process = programs.start(*arguments)
    wait_for_polls(slow)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert err == "yagrpc: interrupted; run the same command again to continue (2 operations: 2 not collected)\n"


def test_a_killed_run_is_continued(programs: Programs, emulate: Any, files: Any) -> None:
    emulator = emulate(duration=HOUR)
    early = submitted(emulator, *map(str, range(8)))
    emulator.advance(HOUR)
    late = submitted(emulator, "late")
    arguments, out = files("\n".join([*early, *late]))
    process = programs.start(*arguments, stderr=subprocess.DEVNULL)
    wait_for_polls(emulator, len(early))
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open(out, "ab") as file:
        file.write(b'{"id": "')  # as where the disk was full
    emulator.advance(HOUR)
    ran = programs(*arguments)
    assert (ran.code, ran.err) == (0, "yagrpc: 9 operations: 9 done\n")
    assert set(rows(out)) == {*early, *late}


def wait_for_polls(emulator: Emulator, count: int = 1) -> None:
    """Wait until so many Gets have come."""
    reads = iter(lambda: emulator.calls[paths.OPERATION_GET] >= count, True)
    for _ in reads:
        os.sched_yield()
