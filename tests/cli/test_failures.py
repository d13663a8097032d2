"""How failures are reported: exit codes, lines, and output that can't be written."""

from __future__ import annotations

import errno
import io
import sys
from typing import TYPE_CHECKING

import click
import pytest

import yagrpc
from yagrpc.cli import main
from yagrpc.cli.io.failures import report, reporting_ids
from yagrpc.cli.io.output import print_json, print_text
from yagrpc.errors import Code

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Programs

AMBIGUOUS = yagrpc.AmbiguousSubmitError(
    "lost", code=Code.DEADLINE_EXCEEDED, method="/s/M", endpoint="h:1", client_request_id="c"
)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (yagrpc.ConfigError("no\nfolder"), 2, "no folder"),
        (yagrpc.RequestError("text", "", "it takes a text"), 2, "text is '': it takes a text"),
        (yagrpc.NotFoundError("gone"), 1, "NOT_FOUND: gone"),
        (yagrpc.DeadlineExceededError("late"), 3, "DEADLINE_EXCEEDED: late"),
        (AMBIGUOUS, 1, str(AMBIGUOUS)),
        (yagrpc.OperationTimeoutError("d7q", "not done"), 3, "operation d7q: not done"),
        (yagrpc.OperationCancelledError("d7q", "cancelled"), 1, "operation d7q: cancelled"),
        (yagrpc.ResultError("empty"), 1, "empty"),
        (yagrpc.ClientClosedError(), 1, "the client is closed"),
        (click.UsageError("wrong"), 2, "wrong"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "[Errno 28] No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
    ],
)
def test_each_failure_has_its_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert report(error) == code
    assert capsys.readouterr() == ("", f"yagrpc: {line}\n")


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        report(ZeroDivisionError())


def test_an_interrupt_reports_the_id(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match="d7q") as caught, reporting_ids(["d7q"]):
        raise KeyboardInterrupt
    assert report(caught.value) == 130
    expected = "yagrpc: interrupted; operation d7q is still running; get its result with: yagrpc operation wait d7q\n"
    assert capsys.readouterr().err == expected


def test_an_error_that_has_the_id_is_not_changed() -> None:
    with pytest.raises(yagrpc.OperationTimeoutError), reporting_ids(["d7q"]):
        raise yagrpc.OperationTimeoutError("d7q", "not done")


def test_lost_output_reports_the_id(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)
        with pytest.raises(Exception, match="d7q") as caught, reporting_ids(["d7q"]):
            print_json({})
        assert report(caught.value) == 1
    assert "operation d7q could not be written: [Errno 9] standard output is closed" in capsys.readouterr().err


def test_an_encoding_that_is_not_unicode_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "latin-1", newline="\n")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        print_text("é п")
        print_json({"a": "é"}, one_line=True)
    assert raw.getvalue() == b'\xe9 \\u043f\n{"a": "\\u00e9"}\n'


def test_standard_input_that_is_closed_is_reported(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from yagrpc.cli.io.inputs import read_text

    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(click.ClickException, match="standard input: closed"):
        read_text("-")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_missing_extra_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "the yagrpc command needs click and rich: pip install 'yagrpc[cli]'\n"


def test_a_broken_extra_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, *others: object) -> None:
            if name == "click":
                raise ModuleNotFoundError("No module named 'colours'", name="colours")

    monkeypatch.delitem(sys.modules, "click")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match="colours"):
        main()


def test_an_interrupt_while_modules_load_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *others: object) -> None:
            if name == "click":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "click")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert capsys.readouterr().err == "yagrpc: interrupted\n"


def test_the_command_takes_the_arguments_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRPC_VERBOSITY", "")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/anything", "--version"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("yagrpc ")


def test_a_broken_pipe_is_no_traceback(programs: Programs) -> None:
    process = programs.start("call", "--list")
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
