"""What users of a shell expect: completion, -h, several ids, any locale, and what if streams can't be used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import grpc
import pytest
from click.shell_completion import ShellComplete

from yagrpc.cli.io.inputs import MAX_BYTES
from yagrpc.cli.program import cli
from yagrpc.emulator import Emulator, Failure

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Programs, Terminal

# The shell completes


def completed(*words: str) -> list[str]:
    """What the shell offers for the last word."""
    found = ShellComplete(cli, {}, "yagrpc", "_YAGRPC_COMPLETE").get_completions([*words[:-1]], words[-1])
    return [item.value if item.type == "plain" else item.type for item in found]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["call", "TokenizerService/"], ["TokenizerService/Tokenize", "TokenizerService/TokenizeCompletion"]),
        (["call", "/yandex.cloud.operation.OperationService/G"], ["/yandex.cloud.operation.OperationService/Get"]),
        (["call", "Nothing"], []),
        (["completion", "--model", "yandexgpt-l"], ["yandexgpt-lite", "yandexgpt-lite/rc"]),
        (["embed", "--model", "text-embeddings"], ["text-embeddings-v2-doc", "text-embeddings-v2-query"]),
        (["stream", "--reasoning-mode", "e"], ["enabled_hidden"]),
        (["tokenize", "--file", "x"], ["file"]),
        (["completion", "--json-schema", "x"], ["file"]),
        (["submit", "--request", "x"], ["file"]),
        (["call", "--request", "x"], ["file"]),
        (["operation", "get", "--ca", "x"], ["file"]),
        (["emulator", "--script", "x"], ["file"]),
        (["emulator", "--state", "x"], ["file"]),
        (["emulator", "--recording", "x"], ["file"]),
        (["generate", "--proto", "x"], ["file"]),
    ],
)
def test_the_shell_completes(words: list[str], expected: list[str]) -> None:
    assert completed(*words) == expected


def test_every_option_that_names_a_file_completes_files() -> None:
    def options(command: click.Command) -> Iterator[tuple[str, click.Option]]:
        if isinstance(command, click.Group):
            for each in command.commands.values():
                yield from options(each)
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield f"{command.name} {parameter.opts[0]}", parameter

    named = {name: each for name, each in options(cli) if each.metavar in ("FILE", "PATH", "DIR")}
    assert len(named) > 20
    assert not [name for name, each in named.items() if not isinstance(each.type, click.Path)]


def test_a_model_that_is_not_offered_is_taken_too(command: Command, emulator: Emulator) -> None:
    assert command.done("tokenize", "hi", "--model", "some-new-model").strip().isdigit()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed_as_the_readme_says(programs: Programs, shell: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    assert f"_YAGRPC_COMPLETE={shell}_source yagrpc" in readme
    ran = programs(_YAGRPC_COMPLETE=f"{shell}_source")
    assert (ran.code, ran.err) == (0, "")
    assert f"_YAGRPC_COMPLETE={shell}_complete" in ran.out


@pytest.mark.parametrize("words", [[], ["completion"], ["operation"], ["operation", "wait"], ["emulator"]])
def test_h_is_help(command: Command, words: list[str]) -> None:
    assert command.done(*words, "-h") == command.done(*words, "--help")


# Several operations


@pytest.fixture
def answering(emulate: Callable[..., Emulator]) -> Emulator:
    """An emulator whose operations take an hour of its clock; those about `bad` then fail."""
    return emulate(duration=3600, replies={"bad": Failure(grpc.StatusCode.INTERNAL, "broken"), "(one|two)": "fine"})


def submitted(command: Command, *texts: str) -> list[str]:
    return [command.done("submit", text, "--id").strip() for text in texts]


def test_wait_prints_each_of_several_operations_under_its_id(command: Command, answering: Emulator) -> None:
    ids = submitted(command, "one", "two")
    answering.advance(3600)
    out = command.done("operation", "wait", *ids, ids[0])
    assert sorted(out.split("==> ")) == ["", *sorted(f"{each} <==\nfine\n" for each in ids)]


def test_wait_prints_several_operations_as_lines_of_json(command: Command, answering: Emulator) -> None:
    ids = submitted(command, "one", "bad", "two")
    answering.advance(3600)
    ran = command("operation", "wait", *ids, "--json")
    assert (ran.code, ran.err) == (1, f"yagrpc: operation {ids[1]} failed: INTERNAL: broken\n")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert {line["id"] for line in lines} == set(ids)
    assert [line["id"] for line in lines if "error" in line] == [ids[1]]


def test_wait_goes_on_when_one_of_several_fails(command: Command, answering: Emulator) -> None:
    ids = submitted(command, "bad", "one")
    answering.advance(3600)
    ran = command("operation", "wait", "d7qnone", *ids)
    assert (ran.code, ran.out) == (1, f"==> {ids[1]} <==\nfine\n")
    assert "operation d7qnone: the service knows no such operation" in ran.err
    assert f"operation {ids[0]} failed: INTERNAL: broken" in ran.err


def test_wait_names_those_of_several_that_are_not_done(command: Command, answering: Emulator) -> None:
    (done,) = submitted(command, "one")
    answering.advance(3600)
    late = submitted(command, "two", "two")
    ran = command("operation", "wait", late[0], done, late[1], "--timeout", "5")
    assert (ran.code, ran.out) == (3, f"==> {done} <==\nfine\n")
    assert ran.err.endswith(f"\nyagrpc: not done: {late[0]} {late[1]}\n")


def test_ctrl_c_reports_the_ids_that_are_not_printed(
    programs: Programs, command: Command, answering: Emulator, terminal: Terminal
) -> None:
    (done,) = submitted(command, "one")
    answering.advance(3600)
    late = submitted(command, "two", "two")
    process = programs.start("operation", "wait", done, *late, stderr=terminal.device)
    assert process.stdout.readline() == f"==> {done} <==\n"
    terminal.until("waiting for 2 operations")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert terminal.rest().endswith(
        f"yagrpc: interrupted; operations {', '.join(late)} are still running; "
        f"get their results with: yagrpc operation wait {' '.join(late)}\r\n"
    )


# Certificates, quotas


def test_ca_is_what_the_emulator_with_tls_prints(programs: Programs) -> None:
    emulator = programs.start("emulator", "--tls", "--duration", "0")
    address, ca_file = (emulator.stdout.readline().strip() for _ in range(2))
    advice = emulator.stderr.readline()
    options = ["--endpoint", address, "--operation-endpoint", address, "--ca", ca_file]
    assert advice.endswith(f"yagrpc completion hi --folder-id demo {' '.join(options)}\n")
    ran = programs("submit", "hi", "--wait", *options, "--folder-id", "b1g", YC_API_KEY="any")
    assert (ran.code, ran.out.startswith('You wrote: "hi".')) == (0, True), ran
    emulator.send_signal(signal.SIGTERM)
    assert emulator.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "/ca.pem: No such file or directory"), ("x", "--ca is no PEM: it takes a file that has BEGIN CERTIFICATE")],
)
def test_certificates_that_are_none_are_reported(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, expected: str
) -> None:
    monkeypatch.setenv("YC_API_KEY", "any")
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    line = command.fails(2, "completion", "hi", "--folder-id", "b1g", "--ca", str(path))
    assert expected in line


def test_ca_is_refused_where_there_is_no_tls(command: Command, emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----")
    assert command.fails(2, "completion", "hi", "--ca", str(path)).startswith("--ca is of no use without TLS")
    assert not emulator.calls


def test_the_emulator_enforces_the_quotas_that_are_given(programs: Programs) -> None:
    emulator = programs.start("emulator", "--quota", "submit_per_hour=1,get_per_second=none")
    address = emulator.stdout.readline().strip()
    assert programs("submit", "hi", YAGRPC_EMULATOR_HOST=address).code == 0
    ran = programs("submit", "hi", "--timeout", "5", YAGRPC_EMULATOR_HOST=address)
    assert ran.code != 0
    assert "quota" in ran.err
    emulator.send_signal(signal.SIGTERM)
    assert emulator.wait(timeout=60) == 0


# Any locale


@pytest.mark.parametrize(
    "environment",
    [{}, {"PYTHONUTF8": "0"}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["C", "C without UTF-8 mode", "C without coercion"],
)
def test_arguments_are_utf_8_in_any_locale(emulator: Emulator, tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "вопрос.txt"
    path.write_text("Где живут утконосы?", "utf-8")
    for arguments in (["Где живут утконосы?", "--system", "Коротко"], ["--file", str(path), "--system", "Коротко"]):
        ran = subprocess.run(
            [sys.executable, "-m", "yagrpc", "completion", *arguments],
            env={**os.environ, "LC_ALL": "C", **environment},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (ran.returncode, ran.stderr) == (0, b"")
        sent: Any = emulator.requests[-1].request
        assert [message.text for message in sent.messages] == ["Коротко", "Где живут утконосы?"]


@pytest.mark.parametrize("arguments", [[b"\xff"], [b"hi", b"--system", b"\xff"], [b"hi", b"--model", b"\xff"]])
def test_an_argument_that_is_not_utf_8_is_reported(emulator: Emulator, arguments: list[bytes]) -> None:
    command = [os.fsencode(sys.executable), b"-m", b"yagrpc", b"completion", *arguments]
    ran = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert ran.returncode == 2
    assert b"it is not UTF-8" in ran.stderr
    assert not emulator.calls


# Input without end


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "--request"],
        ["call", "TokenizerService/Tokenize", "--request"],
        ["completion", "--file"],
        ["completion", "hi", "--json-schema"],
        ["embed", "--lines", "--file"],
        ["tokenize", "hi", "--ca"],
    ],
)
def test_a_file_without_end_is_reported(
    command: Command, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    line = command.fails(2, *arguments, "/dev/zero")
    assert line == "/dev/zero: longer than 64 MiB, the most that is read"
    assert not emulator.calls


NO_FILES: Final = {
    "a FIFO": "it is a FIFO, and not a regular file",
    "a device": "it is a device, and not a regular file",
    "a folder": "it is a folder, and not a regular file",
    "a file of terabytes": "longer than ",
}
"""What a path may lead to that can't be read to its end, and what is said of it."""


def no_file(kind: str, folder: Path) -> tuple[str, str]:
    """Something of that kind: its path, and what is said of it."""
    path = folder / "odd"
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a device":
        path = Path("/dev/zero")
    elif kind == "a folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 10**12)  # without a block on the disk
    return str(path), NO_FILES[kind]


def test_a_pipe_without_end_is_reported(programs: Programs, emulator: Emulator, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for stdin, source in ((f"{tmp_path}/pipe", "-"), ("/dev/null", f"{tmp_path}/pipe")):
        with subprocess.Popen(["/bin/sh", "-c", f"exec yes > '{tmp_path}/pipe'"], stderr=subprocess.DEVNULL) as endless:
            try:
                with open(stdin, "rb") as stream:
                    command = [*programs.command, "submit", "--request", source]
                    ran = subprocess.run(command, stdin=stream, capture_output=True, check=False, timeout=60)
            finally:
                endless.kill()
        name = "standard input" if source == "-" else source
        assert ran.returncode == 2
        assert ran.stderr.decode() == f"yagrpc: {name}: longer than 64 MiB, the most that is read\n"
    assert not emulator.calls


def test_a_long_request_is_read_whole(command: Command, emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("a" * MAX_BYTES)
    assert "is over the limit of" in command.fails(1, "tokenize", "--file", str(tmp_path / "long.txt"))


@pytest.mark.parametrize("kind", [kind for kind in NO_FILES if kind != "a folder"])  # click's own
@pytest.mark.parametrize("option", ["--script", "--recording"])
def test_what_is_no_file_is_none_of_the_emulators(command: Command, tmp_path: Path, option: str, kind: str) -> None:
    path, said = no_file(kind, tmp_path)
    assert said in command.fails(2, "emulator", option, path)


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_no_key_file(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    path, said = no_file(kind, tmp_path)
    monkeypatch.setenv("YC_SERVICE_ACCOUNT_KEY_FILE", path)
    assert f"can't be read: {said}" in command.fails(2, "tokenize", "hi", "--folder-id", "b1g")


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_no_descriptor_set(command: Command, tmp_path: Path, kind: str) -> None:
    path, said = no_file(kind, tmp_path)
    arguments = ("--out", str(tmp_path / "out"), "--package", "p")
    assert f"can't be read: {said}" in command.fails(2, "generate", "--descriptor-set", path, *arguments)


@pytest.mark.parametrize("kind", [kind for kind in NO_FILES if kind != "a file of terabytes"])
def test_what_is_no_file_is_no_limiters_file(command: Command, tmp_path: Path, kind: str) -> None:
    path, _ = no_file(kind, tmp_path)
    assert f"share='{path}' can't be used" in command.fails(2, "limits", "--folder-id", "b1g", "--share", path)


# Streams that can't be used


@pytest.fixture
def full() -> Iterator[int]:
    """A device that takes nothing."""
    device = os.open("/dev/full", os.O_WRONLY)
    yield device
    os.close(device)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["bogus"], 2),
        ([], 2),
        (["completion", ""], 2),
        (["operation", "get", "d7qnone"], 1),
        (["operation", "wait", "d7qnone", "d7qnobody"], 1),
    ],
)
def test_a_failure_keeps_its_exit_code_without_stderr(
    programs: Programs, emulator: Emulator, full: int, arguments: list[str], code: int
) -> None:
    process = programs.start(*arguments, stderr=full)
    assert process.communicate(timeout=60) == ("", None)
    assert process.returncode == code


def test_a_message_that_is_lost_fails_a_command_that_did_everything_else(
    programs: Programs, emulator: Emulator, full: int
) -> None:
    process = programs.start("submit", "hi", "--wait", stderr=full)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.startswith('You wrote: "hi".')) == (1, True)
    process = programs.start("submit", "hi", "--id", stderr=full)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.count("\n")) == (0, 1)


BILLED = [["completion", "hi"], ["stream", "hi"], ["submit", "hi"], ["submit", "hi", "--wait"], ["embed", "hi"]]


@pytest.mark.parametrize("arguments", BILLED)
@pytest.mark.parametrize("redirection", [">&-", "1</dev/null"])
def test_a_stdout_that_can_not_be_written_is_found_before_the_call(
    emulator: Emulator, arguments: list[str], redirection: str
) -> None:
    script = f'exec "$@" {redirection}'
    command = ["/bin/sh", "-c", script, "sh", sys.executable, "-m", "yagrpc", *arguments]
    ran = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8", check=False, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.startswith("yagrpc: [Errno 9] ")
    assert not emulator.calls


@pytest.mark.parametrize("arguments", BILLED)
def test_a_stdout_that_nobody_reads_is_found_before_the_call(emulator: Emulator, arguments: list[str]) -> None:
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    try:
        command = [sys.executable, "-m", "yagrpc", *arguments]
        ran = subprocess.run(command, stdout=writing_end, stderr=subprocess.PIPE, check=False, timeout=60)
    finally:
        os.close(writing_end)
    assert (ran.returncode, ran.stderr) == (1, b"")
    assert not emulator.calls
