"""Rows from files: every encoding, separator and kind of damage; and results to files, each row once."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import yagrpc
from yagrpc import _pb
from yagrpc.bulk.decisions.rows import Raw
from yagrpc.bulk.files import inputs, outputs
from yagrpc.bulk.files.inputs import format_of, open_input
from yagrpc.bulk.files.outputs import FinalOutput, GrowingOutput, check_free, export
from yagrpc.journal.changes import Accepted, Again, Ended, Fixed, Intent, Result
from yagrpc.journal.journal import Journal, JournalWriter


def rows(path: Path, kind: str = "jsonl", **given: Any) -> list[Raw]:
    found = open_input(path, kind, **given)
    read = list(found.rows())
    assert len(read) == found.total
    return read


def values(path: Path, kind: str = "csv", **given: Any) -> list[Any]:
    return [json.loads(raw.source) for raw in rows(path, kind, **given)]


# JSONL


def test_lines_are_rows_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf"a"\r\n\n  \n{"text": "b"}\n\x00\n"last"')
    assert [(raw.line, raw.source) for raw in rows(path)] == [
        (1, b'"a"'),
        (4, b'{"text": "b"}'),
        (5, b"\x00"),
        (6, b'"last"'),
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_read_by_its_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes((b"\xfe\xff" if encoding.endswith("be") else b"") + '"привет"\n"b"\n'.encode(encoding))
    assert [json.loads(raw.source) for raw in rows(path)] == ["привет", "b"]


def test_a_line_that_is_too_long_is_one_invalid_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "LONGEST_LINE", 10)
    monkeypatch.setattr(inputs, "_CHUNK", 7)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'"' + b"x" * 100 + b'"\n"b"\n' + b"y" * 50)
    found = rows(path)
    assert [(raw.line, bool(raw.problem)) for raw in found] == [(1, True), (2, False), (3, True)]
    assert "the line has more than" in found[0].problem


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_texts_come_back_from_jsonl(tmp_path: Path, texts: list[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts), "utf-8", newline="")
    assert [json.loads(raw.source) for raw in rows(path)] == texts


# CSV


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("cp1251", "cp1251"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
    ],
)
@pytest.mark.parametrize(("separator", "shown"), [(",", "','"), (";", "';'"), ("\t", "a tab"), ("|", "'|'")])
def test_encodings_and_separators_are_found_out_and_said(
    tmp_path: Path, encoding: str, said: str, separator: str, shown: str
) -> None:
    path = tmp_path / "rows.csv"
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([["text", "город, ул."], ["привет; мир", "Омск"], ['a"b\nc', "x"]])
    path.write_bytes(text.getvalue().encode(encoding))
    found = open_input(path, "csv")
    assert found.found == f"'{path}': read as {said}, separated by {shown}"
    assert values(path) == [
        {"text": "привет; мир", "город, ул.": "Омск"},
        {"text": 'a"b\nc', "город, ул.": "x"},
    ]
    assert [raw.line for raw in rows(path, "csv")] == [2, 3]


def test_both_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("text:n\nпривет,мир:1\n".encode("cp866"))
    assert values(path, encoding="cp866", separator=":") == [{"text": "привет,мир", "n": "1"}]


def test_rows_that_cant_be_read_are_invalid_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'text,n\r\na,1\r\nb\r\nc,1,2\r\n"d"e,1\r\nf\0,1\r\n\r\ng,1\r\n"h,1\r\ni,2\r\n')
    assert [(raw.line, raw.problem) for raw in rows(path, "csv")] == [
        (2, ""),
        (3, "it has 1 column, and the first line names 2"),
        (4, "it has 3 columns, and the first line names 2"),
        (5, "',' expected after '\"'"),
        (6, "it holds a NUL character"),
        (8, ""),
        (9, "a quote that opens in it is never closed"),
    ]


def test_a_quote_that_never_closes_does_not_swallow_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('text\n"open\n' + "x" * 100 + "\n" + ("y" * 90 + "\n") * 5000 + "last\n", "utf-8")
    found = rows(path, "csv")
    assert "a quote may never be closed" in found[0].problem
    assert json.loads(found[-1].source) == {"text": "last"}


def test_a_long_cell_is_read_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    long, lines = "x" * 200_000, ("y" * 90 + "\n") * 5000
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text", "n"], ["a", long, "1"], ["b", "short", lines], ["c", "last", "2"]])
    limit = csv.field_size_limit()
    assert [(raw.line, raw.problem) for raw in rows(path, "csv")] == [(2, ""), (3, ""), (5004, "")]
    assert values(path) == [
        {"id": "a", "text": long, "n": "1"},
        {"id": "b", "text": "short", "n": lines},
        {"id": "c", "text": "last", "n": "2"},
    ]
    assert csv.field_size_limit() == limit


def test_a_record_that_is_longer_than_a_request_is_invalid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "LONGEST_LINE", 150_000)
    path = tmp_path / "rows.csv"
    path.write_text("text\n" + "x" * 140_000 + "\n" + "x" * 160_000 + "\nlast\n", "utf-8")
    assert [(raw.line, bool(raw.problem)) for raw in rows(path, "csv")] == [(2, False), (3, True), (4, False)]


def test_bytes_that_are_not_of_the_encoding_are_invalid(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text\nok\n\x98\xff\n")
    assert [raw.problem for raw in rows(path, "csv", encoding="utf-8")] == ["", "it is not utf-8"]


def test_a_csv_of_two_encodings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("text\nпривет\nмир\n".encode() + "ещё\n".encode("cp1251"))
    with pytest.raises(
        yagrpc.ConfigError, match="line 4 is not UTF-8, and others are: repair it, or give the encoding"
    ):
        open_input(path, "csv")
    assert values(path, encoding="cp1251")[2] == {"text": "ещё"}
    path.write_bytes("text\nЕё\n".encode("cp1251") + "привет\n".encode("cp1251") * 10)  # the one word is UTF-8, too
    assert values(path)[0] == {"text": "Её"}


@pytest.mark.parametrize("encoding", ["utf-16", "base64", "rot13", "klingon"])
def test_an_encoding_that_can_not_be_meant_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text\na\n", "utf-8")
    with pytest.raises(yagrpc.ConfigError, match="there is no encoding|is in another encoding"):
        open_input(path, "csv", encoding=encoding)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_half_of_a_character_of_utf_16_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rows"
    path.write_bytes('"text"\n"привет"\n'.encode("utf-16")[:-1])
    with pytest.raises(yagrpc.ConfigError, match="is in another encoding: .*truncated data"):
        open_input(path, kind)


@pytest.mark.parametrize("separator", ["ab", '"', "\n"])
def test_a_separator_that_can_not_be_meant_is_refused(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text\na\n", "utf-8")
    with pytest.raises(yagrpc.ConfigError, match="has to be one character, no quote and no line end"):
        open_input(path, "csv", separator=separator)


def test_the_cells_of_a_record_of_another_length_stay_in_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,n\na,1,2\nb\n", "utf-8")
    assert values(path) == [{"text": "a", "n": "1"}, {"text": "b"}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"text,text\na,b\n", "has to name each column once: text, text"),
        (b"text,\na,b\n", "has to name each column once"),
        (b'"text\n', "its first line, which names the columns, can't be read"),
    ],
)
def test_a_csv_without_columns_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(yagrpc.ConfigError, match=reason):
        open_input(path, "csv")


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), st.text('ab,;"\n')
        )
    ),
    st.sampled_from([",", ";", "\t", "|"]),
)
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_table_comes_back_from_csv(tmp_path: Path, table: list[tuple[str, str]], separator: str) -> None:
    path = tmp_path / "rows.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([("text", "n"), *table])
    assert [(row["text"], row["n"]) for row in values(path)] == table


# Parquet


def test_parquet_is_streamed_with_nested_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    data = [{"text": f"row {n}", "tags": ["a", "b"], "shop": {"name": "x", "n": n}, "score": None} for n in range(2500)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(data), path)
    found = open_input(path, "parquet")
    assert (found.total, found.columns) == (2500, ("text", "tags", "shop", "score"))
    assert values(path, "parquet") == data


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(yagrpc.ConfigError, match="is no Parquet file that can be read"):
        open_input(path, "parquet")


def test_parquet_with_two_columns_of_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pyarrow.table([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(yagrpc.ConfigError, match="it has to have each column once: text, text"):
        open_input(path, "parquet")


def test_parquet_that_is_damaged_in_the_middle_is_an_error_of_the_input(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": [f"row {number}" for number in range(2000)]}), path)
    content = bytearray(path.read_bytes())
    content[10:1000] = b"\x55" * 990
    path.write_bytes(content)
    with pytest.raises(yagrpc.ConfigError, match="rows.parquet' can't be read"):
        rows(path, "parquet")


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(yagrpc.ConfigError, match=r"pip install 'yagrpc\[parquet\]'"):
        open_input(tmp_path / "rows.parquet", "parquet")


def test_formats_are_known_by_the_name(tmp_path: Path) -> None:
    assert [format_of(Path(name)) for name in ("a.JSONL", "a.tsv", "a.parquet")] == ["jsonl", "csv", "parquet"]
    with pytest.raises(yagrpc.ConfigError, match="its name ends in none of"):
        format_of(Path("a.xlsx"))
    with pytest.raises(yagrpc.ConfigError, match="can't be read: No such file"):
        open_input(tmp_path / "nowhere.csv", "csv")


# Outputs


def answer(text: str) -> bytes:
    message = _pb.text_common_pb2.Message(role="assistant", text=text)
    alternative = _pb.text_common_pb2.Alternative(message=message)
    return _pb.text_generation_service_pb2.CompletionResponse(alternatives=[alternative]).SerializeToString()


def ended(number: int, columns: Any = None) -> Ended:
    source = json.dumps({"text": f"row {number}", "n": number} if columns is None else columns).encode()
    result = Result(number, 200.0, "done", answer(f"answer {number}"), "", 1, 2, 0.5)
    return Ended(result, Fixed(number, None, number + 1, b"f", source))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[JournalWriter]:
    with contextlib.closing(JournalWriter(tmp_path / "journal")) as journal:
        yield journal


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]


def growing(path: Path, *, ordered: bool = False) -> GrowingOutput:
    return GrowingOutput(path, "completion", table=False, ordered=ordered)


def write_one_row(path: Path, writer: JournalWriter) -> None:
    """Write a JSONL file with the first row, and note in the journal how far it is."""
    with contextlib.closing(growing(path)) as output:
        write = output.opened(writer)
        writer.commit([ended(0)])
        noted = write()
        assert noted is not None
        writer.commit([noted])


def test_an_output_grows_from_the_journal(writer: JournalWriter, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with contextlib.closing(growing(path)) as output:
        write = output.opened(writer)
        assert write() is None
        writer.commit([ended(1), ended(0)])
        assert write() is not None
        writer.commit([ended(2)])
        write()
    assert texts(path) == ["answer 1", "answer 0", "answer 2"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_ordered_output_waits_for_the_rows_before(writer: JournalWriter, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with contextlib.closing(growing(path, ordered=True)) as output:
        write = output.opened(writer)
        writer.commit([ended(1), ended(0), ended(3)])
        write()
        assert texts(path) == ["answer 0", "answer 1"]
        writer.commit([ended(2)])
        write()
    assert texts(path) == [f"answer {n}" for n in range(4)]


@pytest.mark.parametrize("torn", [b'{"text": "ans', b'{"text": "answer 1"}\n{"tex', b""])
@pytest.mark.parametrize("ordered", [False, True])
def test_what_was_written_after_the_note_is_written_again(
    writer: JournalWriter, tmp_path: Path, torn: bytes, ordered: bool
) -> None:
    path = tmp_path / "out.jsonl"
    with contextlib.closing(growing(path, ordered=ordered)) as output:
        write = output.opened(writer)
        writer.commit([ended(0)])
        noted = write()
        assert noted is not None
        writer.commit([noted, ended(1)])
        if not torn:
            write()  # whole, and the process ends before that is noted
    with open(path, "ab") as file:
        file.write(torn)
    with contextlib.closing(growing(path, ordered=ordered)) as output:
        output.opened(writer)()
    assert texts(path) == ["answer 0", "answer 1"]


def test_an_output_that_is_not_this_runs_is_refused_and_not_changed(writer: JournalWriter, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("mine\n")
    with pytest.raises(yagrpc.ConfigError, match="exists, and is not of this run"):
        growing(path).opened(writer)
    assert path.read_text() == "mine\n"
    with pytest.raises(yagrpc.ConfigError, match="exists, and is not of this run"):
        FinalOutput(path, "csv", "completion", table=False).opened(writer)


def test_an_output_that_somebody_changed_is_refused_and_one_that_is_gone_is_written_again(
    writer: JournalWriter, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    write_one_row(path, writer)
    path.write_text(path.read_text().replace("answer 0", "answer X"))
    with pytest.raises(yagrpc.ConfigError, match="is not as this run has left it: move it away"):
        growing(path).opened(writer)
    path.unlink()
    with contextlib.closing(growing(path)) as output:
        output.opened(writer)()
    assert texts(path) == ["answer 0"]


@pytest.mark.parametrize("retried", [False, True])
def test_an_output_that_somebody_changed_is_refused_where_it_would_be_written_again(
    writer: JournalWriter, tmp_path: Path, retried: bool
) -> None:
    path = tmp_path / "out.jsonl"
    write_one_row(path, writer)
    if retried:
        writer.forget_output()
    before = path.read_text()
    path.write_text("mine\n")
    with pytest.raises(yagrpc.ConfigError, match="is not as this run has left it: move it away"):
        growing(path, ordered=not retried).opened(writer)
    assert path.read_text() == "mine\n"
    path.write_text(before)
    with contextlib.closing(growing(path, ordered=not retried)) as output:
        output.opened(writer)()
    assert texts(path) == ["answer 0"]


def test_another_order_is_written_from_the_beginning(writer: JournalWriter, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    writer.commit([ended(1), ended(0)])
    for ordered in (False, True):
        with contextlib.closing(growing(path, ordered=ordered)) as output:
            noted = output.opened(writer)()
            assert noted is not None
            writer.commit([noted])
    assert texts(path) == ["answer 0", "answer 1"]


def test_an_export_to_csv_has_all_columns(writer: JournalWriter, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    writer.commit([ended(1, {"text": "b", "tags": ["x", 1]}), ended(0, {"text": "a", "n": 1})])
    assert export(writer, path, "csv", "completion", table=False) == 2
    with open(path, encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["input_text"], row["n"], row["tags"], row["text"]) for row in found] == [
        ("a", "1", "", "answer 0"),
        ("b", "", '["x", 1]', "answer 1"),
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_export_while_another_process_writes_is_of_one_moment(
    writer: JournalWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    columns = outputs._columns

    def then_written(*given: Any) -> Any:
        found = columns(*given)
        writer.commit([ended(1, {"text": "b", "n": "no number", "new": 5})])
        return found

    writer.commit([ended(0)])
    monkeypatch.setattr(outputs, "_columns", then_written)
    with contextlib.closing(Journal(tmp_path / "journal")) as reader:
        assert export(reader, tmp_path / "out", kind, "completion", table=False) == 1


def test_an_export_has_the_best_answer_of_a_row_that_waits(writer: JournalWriter, tmp_path: Path) -> None:
    row = Fixed(1, None, 2, b"f", b'"b"')
    for attempt, outcome in enumerate(["filtered", "truncated", "filtered"], 1):
        last = Result(1, 200.0, outcome, answer(f"answer {attempt}"), "", 1, 2, 0.5)
        writer.commit([Intent(row, attempt, 0, "r", 100.0), Accepted(1, f"op-{attempt}"), Again(last, doubtful=False)])
    failed = Result(1, 200.0, "failed", None, "broken")
    writer.commit([Intent(row, 4, 0, "r", 100.0), Again(failed, doubtful=False), ended(0), ended(2)])
    assert export(writer, tmp_path / "out.jsonl", "jsonl", "completion", table=False) == 3
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [each["text"] for each in found] == ["answer 0", "answer 2", "answer 2"]
    assert (found[1]["operation_id"], found[1]["error"]) == ("op-2", "the row is to be sent again")


def test_an_export_to_parquet_keeps_types_that_are_one(writer: JournalWriter, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    given = [{"n": 1, "f": 1, "m": 1, "o": {"a": 1}, "e": None}, {"n": 2, "f": 0.5, "m": "x", "o": None, "e": None}]
    writer.commit([ended(number, {"text": "t", **each}) for number, each in enumerate(given)])
    writer.commit([ended(number) for number in range(2, 1100)])
    assert export(writer, path, "parquet", "completion", table=False) == 1100
    table = pyarrow.parquet.read_table(path)
    first = table.slice(0, 2).to_pylist()
    assert [(row["n"], row["f"], row["m"], row["o"], row["e"]) for row in first] == [
        (1, 1.0, "1", '{"a": 1}', None),
        (2, 0.5, "x", None, None),
    ]
    assert str(table.schema.field("cost").type) == "double"


def test_an_export_to_parquet_has_numbers_and_texts_that_no_column_takes_as_texts(
    writer: JournalWriter, tmp_path: Path
) -> None:
    path = tmp_path / "out.parquet"
    writer.commit([ended(0, {"text": "half \ud800", "n": 2**63}), ended(1, {"text": "b", "n": 1})])
    export(writer, path, "parquet", "completion", table=False)
    first, second = pyarrow.parquet.read_table(path).to_pylist()
    assert (first["input_text"], first["n"], second["n"]) == ("half \\ud800", str(2**63), "1")


def test_lines_of_json_have_no_number_that_json_does_not_have(writer: JournalWriter, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    writer.commit([ended(0, {"text": "a", "f": float("nan"), "o": {"list": [float("inf"), 1.5]}})])
    export(writer, path, "jsonl", "completion", table=False)

    def refused(name: str) -> None:
        raise AssertionError(name)

    found = json.loads(path.read_text("utf-8"), parse_constant=refused)
    assert (found["f"], found["o"]) == (None, {"list": [None, 1.5]})


def test_no_column_takes_the_place_of_another(writer: JournalWriter, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    writer.commit([ended(0, {"text": "a", "input_text": "b", "outcome": "c"})])
    export(writer, path, "jsonl", "completion", table=False)
    found = json.loads(path.read_text("utf-8"))
    names = ("input_input_text", "input_text", "input_outcome", "text", "outcome")
    assert [found[name] for name in names] == ["a", "b", "c", "answer 0", "done"]


def test_the_error_of_a_row_that_can_not_be_sent_begins_with_its_line(writer: JournalWriter, tmp_path: Path) -> None:
    fixed = Fixed(0, None, 17, b"f", b"no JSON")
    writer.commit([Ended(Result(0, 200.0, "invalid", None, "it is not JSON", 0, 0, None), fixed)])
    export(writer, tmp_path / "out.jsonl", "jsonl", "completion", table=False)
    found = json.loads((tmp_path / "out.jsonl").read_text("utf-8"))
    assert (found["input_text"], found["error"]) == ("no JSON", "line 17: it is not JSON")


def test_an_export_that_fails_leaves_what_was_there(writer: JournalWriter, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("before")
    writer.commit([ended(0)])
    with pytest.raises(KeyError):
        export(writer, path, "xlsx", "completion", table=False)
    assert path.read_text() == "before"
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(yagrpc.ConfigError, match="exists"):
        check_free(path)


def test_an_empty_journal_is_an_empty_table(writer: JournalWriter, tmp_path: Path) -> None:
    for kind in ("jsonl", "csv", "parquet"):
        assert export(writer, tmp_path / f"out.{kind}", kind, "completion", table=True) == 0
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").num_rows == 0
    with contextlib.closing(Journal(writer.path)) as reader:
        assert reader.counts() == {}
