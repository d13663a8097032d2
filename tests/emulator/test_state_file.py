"""The state file: operations outlive the emulator, even SIGKILL; a file that is not understood is refused."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc import _pb
from yagrpc.emulator import Emulator, Failure, StateFileError
from yagrpc.emulator.clock import END
from yagrpc.emulator.cloud.operations import RETENTION_SECONDS
from yagrpc.emulator.statefile import FORMAT, StateFile

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused, Response, Service

TextOf = Callable[["Response"], str]

PROGRAM = """
import sys
from yagrpc.emulator import EmulatorOptions, run
run(EmulatorOptions(duration=60, state=sys.argv[1], control=True), on_ready=lambda on: print(on.address, flush=True))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "operations.db"


@pytest.fixture
def launch(path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], str]]]:
    """Starts processes with an emulator on the file."""
    started: list[subprocess.Popen[str]] = []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}

    def start() -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-W", "error", "-c", PROGRAM, str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_operations_survive_sigkill(
    launch: Callable[[], tuple[subprocess.Popen[str], str]], ask: Ask, text_of: TextOf
) -> None:
    process, address = launch()
    accepted: dict[str, str] = {}
    with grpc.insecure_channel(address) as channel:
        stub = _pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)
        calls = {f"question number {number}.": None for number in range(300)}
        futures = {question: stub.Completion.future(ask(question)) for question in calls}
        for number, (question, future) in enumerate(futures.items()):
            try:
                accepted[future.result().id] = question
            except grpc.RpcError:
                continue
            if number == 100:
                os.kill(process.pid, signal.SIGKILL)  # with more on their way
    assert process.wait() == -signal.SIGKILL
    assert len(accepted) > 100
    _, address = launch()
    with grpc.insecure_channel(address) as channel:
        control = _pb.control_pb2_grpc.ControlServiceStub(channel)
        operations = _pb.operation_service_pb2_grpc.OperationServiceStub(channel)
        listed = control.ListOperations(_pb.control_pb2.ListOperationsRequest()).operations
        assert accepted.keys() <= {operation.id for operation in listed}
        control.AdvanceTime(_pb.control_pb2.AdvanceTimeRequest(seconds=60))
        for operation_id, question in accepted.items():
            got = operations.Get(_pb.operation_service_pb2.GetOperationRequest(operation_id=operation_id))
            assert got.done
            response = _pb.text_generation_service_pb2.CompletionResponse()
            assert got.response.Unpack(response)
            assert f'"{question}"' in text_of(response)


def test_a_restart_continues_where_it_was(emulate: Emulate, ask: Ask, text_of: TextOf, path: Path) -> None:
    replies = {"scripted": "as promised", "fail": Failure(grpc.StatusCode.INTERNAL, "broken")}
    first = emulate(state=path, duration=60, seed=1, replies=replies)
    said = ("scripted", "fail", "plain", "cancelled")
    ids = [first.text_async.Completion(ask(text)).id for text in said]
    cancelled = first.cancel(ids[3])
    first.emulator.advance(60)
    done = [first.get(one) for one in ids]
    first.emulator.stop()

    second = emulate(state=path, duration=60, seed=1)
    assert [second.get(one) for one in ids] == done, "also where the clock had been advanced"
    assert done[3] == cancelled
    assert text_of(second.result(second.get(ids[0]))) == "as promised"
    assert second.get(ids[1]).error.message == "broken"
    assert [record.number for record in second.emulator.operations] == [1, 2, 3, 4]
    added = second.text_async.Completion(ask("another"))
    assert added.id not in ids, "though the seed is the same"
    assert second.emulator.operations[-1].number == 5
    assert not added.done
    assert second.emulator.now() >= first.emulator.now() - 1


@pytest.mark.parametrize("duration", [math.inf, 1e19, 1e300])
def test_an_operation_that_does_not_end_is_kept(emulate: Emulate, ask: Ask, path: Path, duration: float) -> None:
    first = emulate(state=path, duration=duration)
    operation_id = first.text_async.Completion(ask("slow")).id
    first.emulator.advance(100_000)
    first.emulator.stop()
    second = emulate(state=path)
    assert not second.get(operation_id).done


def test_only_the_owner_may_read_it(emulate: Emulate, ask: Ask, path: Path) -> None:
    path.touch(mode=0o644)
    service = emulate(state=path)
    service.text_async.Completion(ask("ping"))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes[path.name] == 0o600
    assert set(modes.values()) == {0o600}, "its companions too"


def test_what_has_expired_is_forgotten(emulate: Emulate, ask: Ask, path: Path) -> None:
    service = emulate(state=path)
    service.text_async.Completion(ask("old"))
    service.emulator.advance(RETENTION_SECONDS)
    newer = service.text_async.Completion(ask("newer"))
    service.emulator.stop()
    file = StateFile(path)
    assert [kept.id for kept in file.load()] == [newer.id]
    file.close()


def test_the_clock_does_not_go_back_with_the_real_one(
    emulate: Emulate, ask: Ask, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    first = emulate(state=path, duration=60.0)
    old = first.text_async.Completion(ask("old"))
    first.emulator.advance(100)
    newer = first.text_async.Completion(ask("newer"))
    first.emulator.advance(30)
    cancelled = first.cancel(newer.id)
    at = {record.id: record.created for record in first.emulator.operations}
    first.emulator.stop()
    monkeypatch.setattr(time, "time", lambda: real() - 3600)

    second = emulate(state=path, duration=60.0)
    now = second.emulator.now()
    assert now >= at[newer.id] + 30, "the cancellation is not in the future"
    assert second.get(old.id).done
    assert second.get(newer.id) == cancelled
    added = second.text_async.Completion(ask("added"))
    assert added.created_at.seconds >= newer.created_at.seconds + 30
    assert [record.number for record in second.emulator.operations] == [1, 2, 3]
    second.emulator.advance(60)
    assert second.get(added.id).done
    second.emulator.stop()
    # Nor does it stay behind where only a submit shows the time: nothing was moved or cancelled.
    third = path.with_name("third.db")
    monkeypatch.setattr(time, "time", real)
    emulator = emulate(state=third, duration=60.0)
    submitted = emulator.text_async.Completion(ask("submitted"))
    emulator.emulator.stop()
    monkeypatch.setattr(time, "time", lambda: real() - 7200)
    emulator = emulate(state=third, duration=60.0)
    assert emulator.emulator.now() >= submitted.created_at.seconds
    assert not emulator.get(submitted.id).done
    emulator.emulator.advance(60)
    assert emulator.get(submitted.id).done


def test_a_clock_at_its_end_stays_there(emulate: Emulate, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = emulate(state=path, frozen=True)
    first.emulator.set_time(END)
    first.emulator.stop()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert emulate(state=path).emulator.now() == END, "the real time has passed meanwhile"


def test_a_crash_reads_the_file_again(emulate: Emulate, ask: Ask, refused: Refused, path: Path) -> None:
    from tests.emulator.test_faults import on_a_new_connection
    from yagrpc.emulator import Crash, Fault

    service = emulate(state=path, duration=3600)
    operation = service.text_async.Completion(ask("ping"))
    for keep in (True, False):
        service.emulator.faults.add(Fault(Crash(keep=keep), method="OperationService/Get", times=1))
        assert refused(service.get, operation.id).code is grpc.StatusCode.UNAVAILABLE
        if keep:
            assert on_a_new_connection(lambda: service.get(operation.id, wait_for_ready=True)) == operation
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        on_a_new_connection(lambda: service.get(operation.id, wait_for_ready=True))
    service.emulator.stop()
    file = StateFile(path)
    assert file.load() == []
    file.close()


def test_a_reset_empties_it(emulate: Emulate, ask: Ask, path: Path) -> None:
    service = emulate(state=path)
    service.text_async.Completion(ask("ping"))
    service.emulator.reset()
    assert service.emulator.operations == []
    assert service.text_async.Completion(ask("ping")).id
    service.emulator.stop()
    file = StateFile(path)
    assert [kept.number for kept in file.load()] == [1]
    file.close()


def spoil(path: Path, statement: str) -> None:
    """Create a valid state file, and change it."""
    with Emulator(state=path) as emulator, grpc.insecure_channel(emulator.address) as channel:
        stub = _pb.text_generation_service_pb2_grpc.TextGenerationAsyncServiceStub(channel)
        message = _pb.text_common_pb2.Message(role="user", text="ping")
        stub.Completion(
            _pb.text_generation_service_pb2.CompletionRequest(model_uri="gpt://f/yandexgpt", messages=[message])
        )
    connection = sqlite3.connect(path)
    connection.executescript(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (f"PRAGMA user_version = {FORMAT + 1}", f"it is of version {FORMAT + 1}, and this emulator reads version"),
        ("PRAGMA application_id = 7", "it belongs to another program"),
        ("UPDATE operation SET request = x'ff'", "broken: "),
        ("UPDATE operation SET request_type = 'no.such.Message'", "a message of unknown type 'no.such.Message'"),
        ("DROP TABLE operation", "broken: no such table: operation"),
        ("UPDATE operation SET id = x'ff'", "broken: column id of operation 1"),
        ("UPDATE operation SET request = 5", "broken: column request of operation 1"),
        ("UPDATE operation SET scripted = 'text'", "broken: column scripted of operation 1"),
        ("UPDATE operation SET done = 5", "broken: column done of operation 1"),
        ("UPDATE operation SET done = x'ff'", "broken: Error parsing message"),
        ("UPDATE operation SET created = 'now'", "broken: column created of operation 1"),
        ("UPDATE operation SET created = 9e999", "broken: column created of operation 1"),
        ("UPDATE operation SET created = -1e300", "broken: column created of operation 1"),
        ("UPDATE operation SET ends = 'never'", "broken: column ends of operation 1"),
        ("UPDATE operation SET ends = -9e999", "broken: column ends of operation 1"),
        ("UPDATE clock SET ahead = 'much'", "the offset of its clock is not a number of seconds"),
        ("UPDATE clock SET ahead = 9e999", "the offset of its clock is not a number of seconds"),
        ("UPDATE clock SET ahead = 1e300", "the offset of its clock, 1e+300 s, leads beyond the year 9999"),
        (f"UPDATE clock SET ahead = {END}", "leads beyond the year 9999"),
        (f"UPDATE operation SET created = {END + 1}", "broken: column created of operation 1"),
        ("UPDATE operation SET ends = 9e999, done = x''", "broken: column ends of operation 1"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(path: Path, statement: str, expected: str) -> None:
    spoil(path, statement)
    before = path.read_bytes()
    emulator = Emulator(state=path)
    with pytest.raises(StateFileError) as caught:
        emulator.start()
    assert f"state file {path}: " in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    with pytest.raises(StateFileError) as again:
        emulator.start()
    assert str(again.value) == str(caught.value), "it has let the file go"
    emulator.stop()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("operations: none\n" * 100)
    with pytest.raises(StateFileError, match="broken, or none of an emulator: file is not a database"):
        Emulator(state=path).start()
    assert path.read_text() == "operations: none\n" * 100


def test_a_file_with_broken_pages_is_refused(path: Path) -> None:
    spoil(path, "VACUUM")
    content = bytearray(path.read_bytes())
    content[4096:8192] = os.urandom(4096)
    path.write_bytes(content)
    with pytest.raises(StateFileError, match="broken"):
        Emulator(state=path).start()


def test_a_file_in_use_is_refused(emulate: Emulate, path: Path) -> None:
    emulate(state=path)
    with pytest.raises(StateFileError, match="another emulator has it"):
        Emulator(state=path).start()


def test_a_file_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="it can't be opened: .*No such file"):
        Emulator(state=tmp_path / "missing" / "operations.db").start()
    with pytest.raises(StateFileError, match="it can't be opened"):
        Emulator(state=tmp_path).start()


def test_a_taken_port_lets_the_file_go(service: Service, path: Path) -> None:
    port = int(service.emulator.address.rpartition(":")[2])
    with pytest.raises(RuntimeError, match=str(port)):
        Emulator(state=path, port=port).start()
    StateFile(path).close()


def test_the_clock_of_a_closed_file_moves_on(path: Path) -> None:
    file = StateFile(path)
    file.ahead = 5
    assert file.ahead == 5
    file.close()
    file.ahead = 6
    again: Any = StateFile(path)
    assert again.ahead == 5
    again.close()


def refusal(path: Path) -> str:
    """Why a path is no state file."""
    with pytest.raises(StateFileError) as caught:
        StateFile(path)
    return str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has modes, links and pipes of another kind")
class TestAPathThatIsNoFileOfAnEmulator:
    """It is refused, and left as it was."""

    def test_another_program_s_file_keeps_its_bytes_and_its_mode(self, path: Path) -> None:
        with sqlite3.connect(path) as foreign:
            foreign.execute("PRAGMA application_id = 77")
            foreign.execute("PRAGMA journal_mode = WAL")
            foreign.execute("CREATE TABLE t (x)")
            foreign.commit()
            path.chmod(0o644)
            before = path.read_bytes(), Path(f"{path}-wal").read_bytes()
            assert "another program" in refusal(path)
            assert (path.read_bytes(), Path(f"{path}-wal").read_bytes()) == before
        foreign.close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o644

    @pytest.mark.parametrize("content", [b"", b"no database" * 100], ids=["empty", "text"])
    def test_a_link_is_not_followed(self, path: Path, content: bytes) -> None:
        target = path.with_name("target")
        target.write_bytes(content)
        target.chmod(0o644)
        path.symlink_to(target)
        assert "is a link" in refusal(path)
        assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (content, 0o644)

    def test_a_link_to_nothing_creates_nothing(self, path: Path) -> None:
        path.symlink_to(path.with_name("target"))
        assert "is a link" in refusal(path)
        assert not path.with_name("target").exists()

    @pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
    def test_a_link_beside_it_is_not_followed(self, path: Path, ending: str) -> None:
        target = path.with_name("target")
        target.write_bytes(b"precious")
        Path(f"{path}{ending}").symlink_to(target)
        assert "is a link" in refusal(path)
        assert target.read_bytes() == b"precious"
        assert not path.exists()

    def test_a_second_name_is_refused(self, path: Path) -> None:
        target = path.with_name("target")
        target.touch(0o644)
        path.hardlink_to(target)
        assert "other names" in refusal(path)
        assert stat.S_IMODE(target.stat().st_mode) == 0o644

    def test_text_keeps_its_mode(self, path: Path) -> None:
        path.write_text("precious " * 100)
        path.chmod(0o640)
        assert "none of an emulator" in refusal(path)
        assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("precious " * 100, 0o640)

    def test_a_pipe_is_refused_at_once(self, path: Path) -> None:
        os.mkfifo(path, 0o644)
        assert "no regular file" in refusal(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644

    def test_a_device_stays_as_it_is(self) -> None:
        before = os.stat("/dev/null")
        assert "no regular file" in refusal(Path("/dev/null"))
        assert os.stat("/dev/null").st_mode == before.st_mode

    def test_a_folder_is_refused(self, tmp_path: Path) -> None:
        assert "no regular file" in refusal(tmp_path)


def test_a_file_of_this_process_stays_locked_when_it_is_opened_again(path: Path) -> None:
    first = StateFile(path)
    try:
        assert "another emulator has it" in refusal(path)
        # Another process: a lock that this process has would not stop this process itself.
        script = "import sys, sqlite3; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM clock')"
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
        assert "locked" in done.stderr
    finally:
        first.close()
    StateFile(path).close()


def test_an_own_file_that_others_could_read_becomes_private(path: Path) -> None:
    StateFile(path).close()
    path.chmod(0o644)
    StateFile(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == (0o600 if sys.platform != "win32" else 0o666)
