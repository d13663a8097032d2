"""The command as processes: what survives them, and how signals end them."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from tests.cli.conftest import LIMIT_SECONDS, one_line
from yagrpc import Client, InvalidArgumentError, NoCredentials
from yagrpc.cli.program import cli
from yagrpc.emulator import Emulator, paths

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Programs, Terminal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_emulator_prints_its_address_and_ends_by_a_signal(programs: Programs, number: int) -> None:
    emulator = programs.start("emulator", "--duration", "0", "--seed", "7")
    address = emulator.stdout.readline().strip()
    assert emulator.stderr.readline().endswith(f"export YAGRPC_EMULATOR_HOST={address}\n")
    ran = programs("submit", "hi", "--id", YAGRPC_EMULATOR_HOST=address)
    assert (ran.code, ran.err) == (0, "")
    emulator.send_signal(number)
    assert emulator.communicate(timeout=60) == ("", "")
    assert emulator.returncode == 0


def test_a_port_that_is_taken_is_reported(programs: Programs, emulator: Emulator, command: Command) -> None:
    port = emulator.address.rpartition(":")[2]
    ran = programs("emulator", "--port", port)
    assert (ran.code, ran.out) == (2, "")
    reason = f"{os.strerror(errno.EADDRINUSE)}; port 0 takes a free one"
    assert ran.err == f"yagrpc: the emulator can't listen on 127.0.0.1:{port}: {reason}\n"
    assert command.fails(2, "emulator", "--port", port) == ran.err.removeprefix("yagrpc: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "expected"),
    [
        ([], {}, 0, ""),
        (["--auth", "present"], {}, 1, "yagrpc: UNAUTHENTICATED"),
        ([], {"YAGRPC_EMULATOR_ACCEPT": "Api-Key abc, Bearer t1.def"}, 1, "yagrpc: UNAUTHENTICATED"),
        (["--auth", "off"], {"YAGRPC_EMULATOR_ACCEPT": "Api-Key abc"}, 0, ""),
        (["--quota"], {}, 0, ""),
    ],
)
def test_the_emulator_takes_its_options(
    programs: Programs,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: dict[str, str],
    code: int,
    expected: str,
) -> None:
    """The emulator runs in this process; a thread calls it, and then sends this process a signal that ends it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    reading, writing = os.pipe()
    results = []

    def call(lines: IO[str]) -> None:
        if address := lines.readline().strip():
            try:
                results.append(programs("completion", "hi", YAGRPC_EMULATOR_HOST=address))
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

    with open(reading, encoding="utf-8") as lines:
        thread = threading.Thread(target=call, args=(lines,))
        thread.start()
        with open(writing, "w", encoding="utf-8") as out:
            monkeypatch.setattr(sys, "stdout", out)
            with pytest.raises(SystemExit) as caught:
                cli.main(["emulator", *arguments])
            monkeypatch.undo()
        thread.join()
    assert caught.value.code == 0
    (ran,) = results
    assert ran.code == code
    assert ran.err.startswith(expected)


def test_the_emulator_answers_as_a_function_says(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_replies.py").write_text("def answer(request):\n    return f'{len(request.messages)} read'\n")
    emulator = programs.start("emulator", "--replies", "my_replies:answer")
    address = emulator.stdout.readline().strip()
    assert programs("completion", "hi", YAGRPC_EMULATOR_HOST=address).out == "1 read\n"
    emulator.send_signal(signal.SIGTERM)
    assert emulator.wait(timeout=60) == 0


def test_the_emulator_plays_a_recording(programs: Programs, tmp_path: Path) -> None:
    call = {
        "method": paths.OPERATION_GET,
        "request": {"operationId": "d7qthen"},
        "responses": [{"id": "d7qthen", "done": True, "error": {"code": 13, "message": "broken then"}}],
    }
    (tmp_path / "calls.json").write_text(json.dumps([call]))
    emulator = programs.start("emulator", "--recording", str(tmp_path / "calls.json"))
    address = emulator.stdout.readline().strip()
    ran = programs("operation", "wait", "d7qthen", YAGRPC_EMULATOR_HOST=address)
    assert (ran.code, "broken then" in ran.err) == (1, True)
    ran = programs("completion", "hi", YAGRPC_EMULATOR_HOST=address)
    assert ran.err.startswith("yagrpc: FAILED_PRECONDITION: the recording has 0 other requests")
    emulator.send_signal(signal.SIGTERM)
    assert emulator.wait(timeout=60) == 0


def test_the_emulator_prints_the_path_of_its_certificate(programs: Programs) -> None:
    emulator = programs.start("emulator", "--tls", "--folder", "b1gmine")
    address, ca_file = (emulator.stdout.readline().strip() for _ in range(2))
    roots = Path(ca_file).read_bytes()
    with (
        Client(folder_id="b1gother", credentials=NoCredentials(), endpoint=address, root_certificates=roots) as client,
        pytest.raises(InvalidArgumentError, match="Specified folder ID 'b1gother' does not match"),
    ):
        client.completion("hi")
    emulator.send_signal(signal.SIGTERM)
    assert emulator.wait(timeout=60) == 0
    assert not Path(ca_file).exists()


def test_a_result_survives_the_process_that_submitted(programs: Programs, slow: Emulator) -> None:
    submitter = programs.start("submit", "hi", "--wait")
    line = submitter.stderr.readline()
    operation_id = line.removeprefix("yagrpc: operation ").removesuffix(" accepted\n")
    submitter.kill()
    assert submitter.wait() == -signal.SIGKILL
    slow.advance(3600)
    ran = programs("operation", "wait", operation_id)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith('You wrote: "hi".')
    assert slow.calls[paths.COMPLETION_ASYNC] == 1


def test_the_rest_guide_works_as_commands(programs: Programs, emulator: Emulator, body: Path) -> None:
    submitted = programs("submit", "--request", str(body), "--id")
    assert submitted.code == 0
    got = programs("operation", "get", submitted.out.strip(), "--json")
    assert (got.code, got.err) == (0, "")
    assert '"@type": "type.googleapis.com/yandex.cloud.ai.foundation_models.v1.CompletionResponse"' in got.out
    assert '"done": true' in got.out


@pytest.mark.parametrize("arguments", [["operation", "wait", "{}"], ["submit", "again", "--wait"]])
def test_ctrl_c_reports_the_id(
    programs: Programs, slow: Emulator, command: Command, terminal: Terminal, arguments: list[str]
) -> None:
    operation_id = command.done("submit", "hi", "--id").rstrip("\n")
    process = programs.start(*(word.format(operation_id) for word in arguments), stderr=terminal.device)
    seen = terminal.until("waiting for operation")
    if arguments[0] == "submit":
        operation_id = seen.partition("yagrpc: operation ")[2].partition(" accepted")[0]
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    seen = terminal.rest()
    assert seen.endswith(
        f"yagrpc: interrupted; operation {operation_id} is still running; "
        f"get its result with: yagrpc operation wait {operation_id}\r\n"
    )
    assert "Traceback" not in seen


def test_ctrl_c_in_a_submit_that_has_no_connection_reports_that_nothing_was_sent(
    programs: Programs, nowhere: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", nowhere)
    process = programs.start("submit", "hi", stderr=terminal.device)
    terminal.until("submitting")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert terminal.rest().endswith("\r\nyagrpc: interrupted; nothing was sent\r\n")


def test_ctrl_c_in_a_completion_is_one_line(programs: Programs, slow: Emulator, terminal: Terminal) -> None:
    process = programs.start("completion", "hi", stderr=terminal.device)
    terminal.until("waiting for the answer")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert terminal.rest().endswith("\r\nyagrpc: interrupted\r\n")


def test_a_full_disk_does_not_lose_the_id(programs: Programs, slow: Emulator) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        process = programs.start("submit", "hi", stdout=full)
        _, err = process.communicate(timeout=60)
    finally:
        os.close(full)
    assert process.returncode == 1
    assert err.count("\n") == 1
    operation_id = err.removeprefix("yagrpc: the output of operation ").split()[0]
    assert programs("operation", "get", operation_id).code == 0


CONNECTING = [
    ["completion", "hi", "--timeout", "3600"],
    ["stream", "hi", "--timeout", "3600"],
    ["submit", "hi", "--timeout", "3600"],
    ["submit", "hi", "--wait", "--timeout", "3600"],
    ["operation", "get", "d7q", "--timeout", "3600"],
    ["operation", "wait", "d7q"],
    ["operation", "cancel", "d7q", "--timeout", "3600"],
    ["tokenize", "hi", "--timeout", "3600"],
    ["embed", "hi", "--timeout", "3600"],
    ["call", "TokenizerService/Tokenize", "--timeout", "3600"],
    ["doctor", "--timeout", "3600"],
]
"""Every command that connects; of those, only the signal ends it."""


ONE_ATTEMPT = ["operation", "get"]
"""A command that ends by itself where it is refused."""


@pytest.mark.parametrize(
    ("refuses", "arguments"),
    [
        pytest.param(refuses, arguments, id=f"{' '.join(arguments[:2])}, {'closed port' if refuses else 'black hole'}")
        for refuses in (False, True)
        for arguments in CONNECTING
        if not refuses or arguments[:2] != ONE_ATTEMPT
    ],
)
def test_ctrl_c_ends_a_command_that_connects(
    refuses: bool, arguments: list[str], programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server takes the connection and says nothing; or it is gone, and the port is closed from then on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_SECONDS)
        monkeypatch.setenv("YAGRPC_EMULATOR_HOST", f"127.0.0.1:{server.getsockname()[1]}")
        command = programs.start(*arguments)
        taken, _ = server.accept()
        if refuses:
            server.close()
            taken.close()
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=LIMIT_SECONDS)
        taken.close()
    assert (command.returncode, out) == (130, "")
    assert one_line(err).startswith("interrupted")
