"""`yagrpc emulator`: scripts, state, time and the control service from the command line, and bad input to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from yagrpc.emulator import Control

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Programs


def test_everything_at_once(programs: Programs, tmp_path: Path) -> None:
    script, state = tmp_path / "script.yaml", tmp_path / "state.db"
    script.write_text(
        "replies: {ping: pong}\nfaults:\n  - {method: OperationService, calls: 1, fail: {status: ABORTED}}\n"
    )
    arguments = ["--script", str(script), "--state", str(state), "--control", "--frozen", "--duration", "uniform:9,10"]
    emulator = programs.start("emulator", *arguments, "--completion-duration", "exponential:0.001")
    address = emulator.stdout.readline().strip()
    operation_id = programs("submit", "ping", "--id", YAGRPC_EMULATOR_HOST=address).out.strip()
    emulator.kill()
    emulator.wait()

    emulator = programs.start("emulator", *arguments)
    address = emulator.stdout.readline().strip()
    with Control(address) as control:
        (operation,) = control.operations()
        assert operation.id == operation_id
        assert 9 <= operation.ends - operation.created <= 10
        control.advance(10)
    got = programs("operation", "wait", operation_id, YAGRPC_EMULATOR_HOST=address)
    assert (got.code, got.out, got.err) == (0, "pong\n", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "the emulator listens on loopback only, not on '0.0.0.0', unless i_know (--i-know)"),
        (["--host", "0.0.0.0", "--i-know", "--control"], "the control service is served on loopback only"),
        (["--duration", "soon"], "a duration is a number of seconds, 'inf', or one of lognormal:MEDIAN,SIGMA"),
        (["--completion-duration", "lognormal:0,1"], "median of Lognormal(median=0.0, sigma=1.0) is out of its range"),
        (["--script", "missing.yaml"], "script missing.yaml: it can't be read: "),
        (["--script", "bad.yaml"], "bad.yaml:2: faults[0].metod: unknown key; known are method"),
        (["--state", "missing/state.db"], "state file missing/state.db: it can't be opened: "),
        (["--state", "bad.yaml"], "state file bad.yaml: broken, or none of an emulator: "),
    ],
)
def test_bad_input_is_one_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("faults:\n  - {hang: , metod: Get}\n" + "# a comment\n" * 100)
    assert told in command.fails(2, "emulator", *arguments)


def test_a_missing_extra_is_told(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "script.yaml"
    path.write_text("faults: []")
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    told = command.fails(2, "emulator", "--script", str(path))
    assert told == "scripts need PyYAML: pip install 'yagrpc[emulator]'"
