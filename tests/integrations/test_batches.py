"""Completions of batches: every kind of batch, and a batch whose process is killed is paid for once."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pandas  # type: ignore[import-untyped]
import pyarrow  # type: ignore[import-untyped]
import pytest

import yagrpc
from tests.bulk.conftest import settings
from yagrpc import methods
from yagrpc.emulator import Emulator
from yagrpc.errors import ConfigError
from yagrpc.integrations.batches import COLUMNS, Completions
from yagrpc.journal.journal import JournalWriter

SUBMIT = methods.TextGenerationAsyncService.Completion.path
WORKER = Path(__file__).with_name("batches_worker.py")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(duration=0, quota=None) as running:
        yield running


@pytest.fixture
def completions(emulator: Emulator, tmp_path: Path) -> Completions:
    return Completions(tmp_path / "journals", text="review", client=settings(emulator, share=None), system="s")


def test_a_dict_of_lists_gets_lists(completions: Completions) -> None:
    found = completions({"review": ["a", None], "text": ["x", "y"]})
    assert found["input_text"] == ["x", "y"]
    assert found["outcome"] == ["done", "invalid"]
    assert '"a"' in found["text"][0]
    assert found["text"][1] == ""
    assert found["error"][0] == ""
    assert found["error"][1]
    assert list(found) == ["review", "input_text", *COLUMNS]


def test_no_column_takes_the_place_of_another(completions: Completions) -> None:
    found = completions({"review": ["a"], "text": ["x"], "input_text": ["y"]})
    assert (found["input_input_text"], found["input_text"]) == (["x"], ["y"])


def test_a_dict_of_arrays_gets_arrays(completions: Completions) -> None:
    found = completions({"review": numpy.array(["a", "b"], object), "stars": numpy.array([1, 5])})
    assert found["outcome"].tolist() == ["done", "done"]
    assert (found["attempts"].dtype, found["cost"].dtype, found["text"].dtype) == ("int64", "float64", "object")
    assert math.isnan(found["cost"][0])
    assert found["stars"].tolist() == [1, 5]


def test_a_frame_keeps_its_index(completions: Completions) -> None:
    frame = pandas.DataFrame({"review": ["a", None]}, index=[7, 9])
    found = completions(frame)
    assert found["outcome"].to_dict() == {7: "done", 9: "invalid"}
    empty = completions(frame.iloc[:0])
    assert list(empty.columns) == list(found.columns)
    assert empty.dtypes.drop("review").equals(found.dtypes.drop("review"))


def test_texts_of_a_frame_have_the_type_of_its_other_texts(completions: Completions) -> None:
    frame = pandas.DataFrame({"review": pandas.Series(["a"], dtype="string"), "stars": [5]})
    found, empty = completions(frame), completions(frame.iloc[:0])
    assert {str(found[name].dtype) for name, kind in COLUMNS.items() if kind is str} == {"string"}
    assert found.dtypes.equals(empty.dtypes)
    objects = completions(pandas.DataFrame({"review": pandas.Series(["a"], dtype="object")}))
    assert objects["text"].dtype == "object"


def test_a_table_of_arrow_has_the_same_types_in_each_batch(completions: Completions) -> None:
    found = completions(pyarrow.table({"review": ["a"], "text": ["x"]}))
    assert found.column("outcome").to_pylist() == ["done"]
    assert found.column("input_text").to_pylist() == ["x"]
    invalid = completions(pyarrow.table({"review": pyarrow.array([None], pyarrow.string()), "text": ["x"]}))
    assert invalid.column("outcome").to_pylist() == ["invalid"]
    assert invalid.schema == found.schema


def test_an_equal_batch_is_paid_for_once(completions: Completions, emulator: Emulator, tmp_path: Path) -> None:
    first, second = completions({"review": ["a", "b"]}), completions({"review": ["a", "b"]})
    assert first == second
    assert emulator.generations[SUBMIT] == 2
    completions({"review": ["a", "c"]})
    assert emulator.generations[SUBMIT] == 4
    other = pickle.loads(pickle.dumps(Completions(tmp_path / "journals", text="review", system="other")))
    other._settings = settings(emulator, share=None)
    other({"review": ["a", "b"]})
    assert emulator.generations[SUBMIT] == 6
    (journal, *_) = (tmp_path / "journals").iterdir()
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600


def test_a_journal_that_another_process_writes_is_waited_for(completions: Completions, tmp_path: Path) -> None:
    completions({"review": ["a"]})
    (journal,) = (tmp_path / "journals").glob("*.journal")
    writer = JournalWriter(journal)
    with pytest.raises(yagrpc.JournalInUseError, match=f"is in use by process {os.getpid()}"):
        JournalWriter(journal)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(completions({"review": ["a"]})))
    thread.start()
    thread.join(0.7)
    assert thread.is_alive()
    writer.close()
    thread.join(60)
    assert found[0]["outcome"] == ["done"]


def test_what_changes_no_request_does_not_change_the_journal(emulator: Emulator, tmp_path: Path) -> None:
    client = settings(emulator, share=None)
    for _ in range(2):
        seen: list[Any] = []
        Completions(tmp_path, client=client, progress=seen.append, retries=len(seen))({"text": ["a"]})
    assert emulator.generations[SUBMIT] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_successor_takes_up_the_operations_of_a_killed_process(tmp_path: Path) -> None:
    rows, output = tmp_path / "rows.json", tmp_path / "answers.json"
    rows.write_text(json.dumps({"text": [f"row {number}" for number in range(120)]}), "utf-8")
    with Emulator(duration=1, quota=None) as emulator:
        environment = {**os.environ, "YAGRPC_EMULATOR_HOST": emulator.address}
        command = [sys.executable, str(WORKER), str(tmp_path / "journals"), str(rows), str(output)]
        first = subprocess.Popen(command, env=environment)
        while emulator.generations[SUBMIT] < 60 and first.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                first.wait(0.01)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert not output.exists()
        subprocess.run(command, env=environment, check=True)
        generations = emulator.generations[SUBMIT]
    found = json.loads(output.read_text("utf-8"))
    assert found["outcome"] == ["done"] * 120
    assert all(f'"{text}"' in answer for text, answer in zip(found["input_text"], found["text"], strict=True))
    doubtful = sum(found["attempts"]) - 120
    assert doubtful <= 40  # those on their way when it was killed
    assert 120 <= generations <= 120 + doubtful


@pytest.mark.parametrize("name", ["journal", "key", "task", "limit"])
def test_what_completions_gives_itself_is_refused(name: str) -> None:
    given: dict[str, Any] = {name: "x"}
    with pytest.raises(ConfigError, match=f"^{name} is given by Completions itself: leave it out"):
        Completions("journals", **given)


def test_what_is_no_batch_and_a_missing_column_are_refused(completions: Completions) -> None:
    with pytest.raises(ConfigError, match="a batch is a list: Completions takes a dict of columns"):
        completions(["a"])
    with pytest.raises(ConfigError, match="there is no column 'review': text takes one of a, b"):
        completions({"a": [], "b": []})


@pytest.mark.parametrize("given", [5, b"journals", None])
def test_journals_that_are_no_path_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^journals is .*: it takes the path of a folder$"):
        Completions(given)


def test_a_folder_of_journals_that_cant_be_created_is_refused(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    key = "AQVN" + "x" * 30
    for path, reason in [("file", "it is a file"), ("file/x", ""), ("a\0", "null"), (f"file/{key}", "")]:
        with pytest.raises(ConfigError, match=f"^journals is .*: it takes a folder, or a path .*{reason}") as raised:
            Completions(tmp_path / path, client=settings(emulator, share=None))({"text": ["a"]})
        assert key not in str(raised.value)
        assert "\n" not in str(raised.value)
    assert not emulator.generations


@pytest.mark.parametrize("given", [5, "AQVN" + "x" * 30, [("folder_id", "f")], {5: 1}])
def test_settings_of_a_client_that_are_no_dict_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^client is .*: it takes a dict of settings of the client$") as raised:
        Completions("journals", client=given)
    assert "AQVN" not in str(raised.value)


def test_two_columns_of_one_name_are_refused(completions: Completions, emulator: Emulator) -> None:
    doubled = pandas.DataFrame([["a", "b", 1]], columns=["review", "review", "n"])
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, ["review", "review"])
    for batch in (doubled, table):
        with pytest.raises(ConfigError, match=r"^the batch has two columns named 'review': name each column once$"):
            completions(batch)
    assert not emulator.generations


@pytest.mark.parametrize(
    ("batch", "problem"),
    [
        ({}, "there is no column 'review': text takes a column of the batch, which has none"),
        (
            {"review": ["a", "b"], "n": numpy.array([1])},
            "the batch has columns of unequal lengths, 'review' with 2 rows and 'n' with 1: give each column a value"
            " for each row",
        ),
        ({"review": "ab"}, "column 'review' of the batch is 'ab': it takes a list or an array"),
        ({"review": ["a"], "n": 5}, "column 'n' of the batch is 5: it takes a list or an array"),
    ],
)
def test_a_dict_that_is_no_table_is_refused(
    completions: Completions, emulator: Emulator, batch: Any, problem: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        completions(batch)
    assert str(raised.value) == problem
    assert not emulator.generations
