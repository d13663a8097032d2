"""`yagrpc emulator`: scripts, state, time and the control service from the command line, and bad input to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx
import pytest

from yagrpc.cli.commands.emulator import _read, emulator
from yagrpc.cli.program import cli
from yagrpc.emulator import Control, EmulatorOptions, EmulatorQuota, Uniform
from yagrpc.emulator.options import describe

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Programs


def test_everything_at_once(programs: Programs, tmp_path: Path) -> None:
    script, state = tmp_path / "script.yaml", tmp_path / "state.db"
    script.write_text(
        "replies: {ping: pong}\nfaults:\n  - {method: OperationService, calls: 1, fail: {status: ABORTED}}\n"
    )
    arguments = ["--script", str(script), "--state", str(state), "--control", "--frozen", "--duration", "uniform:9,10"]
    process = programs.start("emulator", *arguments, "--completion-duration", "exponential:0.001")
    address = process.stdout.readline().strip()
    operation_id = programs("submit", "ping", "--id", YAGRPC_EMULATOR_HOST=address).out.strip()
    process.kill()
    process.wait()

    process = programs.start("emulator", *arguments)
    address = process.stdout.readline().strip()
    with Control(address) as control:
        (operation,) = control.operations()
        assert operation.id == operation_id
        assert 9 <= operation.ends - operation.created <= 10
        control.advance(10)
    got = programs("operation", "wait", operation_id, YAGRPC_EMULATOR_HOST=address)
    assert (got.code, got.out, got.err) == (0, "pong\n", "")


def test_rest_is_served_on_a_port_of_its_own(programs: Programs) -> None:
    process = programs.start("emulator", "--rest-port", "0", "--duration", "0")
    address, url = (process.stdout.readline().strip() for _ in range(2))
    body = {"modelUri": "gpt://b1g/yandexgpt", "messages": [{"role": "user", "text": "ping"}]}
    with httpx.Client(trust_env=False, timeout=60) as client:
        submitted = client.post(f"{url}/foundationModels/v1/completionAsync", json=body).json()
    got = programs("operation", "wait", submitted["id"], YAGRPC_EMULATOR_HOST=address)
    assert (got.code, "ping" in got.out) == (0, True)
    process.terminate()
    assert f"Its page: {url}/#" in process.stderr.read()
    assert process.wait(timeout=60) == 0


def test_rest_and_tls_print_three_lines(programs: Programs) -> None:
    process = programs.start("emulator", "--rest-port", "0", "--tls")
    address, url, file = (process.stdout.readline().strip() for _ in range(3))
    assert address.startswith("127.0.0.1:")
    assert url.startswith("https://127.0.0.1:")
    assert Path(file).exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rest-port", "70000"], "70000"),
        (["--host", "0.0.0.0"], "the emulator listens on loopback only, not on '0.0.0.0', unless i_know (--i-know)"),
        (["--host", "0.0.0.0", "--i-know", "--control"], "the control service is served on loopback only"),
        (["--duration", "soon"], "a duration is a number of seconds, 'inf', or one of lognormal:MEDIAN,SIGMA"),
        (["--completion-duration", "lognormal:0,1"], "median of Lognormal(median=0.0, sigma=1.0) is out of its range"),
        (["--script", "missing.yaml"], "script missing.yaml: it can't be read: "),
        (["--script", "bad.yaml"], "bad.yaml:2: faults[0].metod: unknown key; known are method"),
        (["--script", "deep.yaml"], "deep.yaml: nested too deeply"),
        (["--state", "missing/state.db"], "state file missing/state.db: it can't be opened: "),
        (["--state", "bad.yaml"], "state file bad.yaml: broken, or none of an emulator: "),
    ],
)
def test_bad_input_is_one_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("faults:\n  - {hang: , metod: Get}\n" + "# a comment\n" * 100)
    Path("deep.yaml").write_text("faults: " + "[" * 2000)
    assert expected in command.fails(2, "emulator", *arguments)


def test_a_missing_extra_is_named(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "script.yaml"
    path.write_text("faults: []")
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    expected = command.fails(2, "emulator", "--script", str(path))
    assert expected == "scripts need PyYAML: pip install 'yagrpc[emulator]'"


def test_the_packages_of_rest_are_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    expected = command.fails(2, "emulator", "--rest-port", "0")
    assert expected == "rest needs starlette and uvicorn: pip install 'yagrpc[rest]' (see 'yagrpc emulator --help')"


def test_the_command_has_the_options_of_the_emulator() -> None:
    parameters = {parameter.name: parameter for parameter in emulator.params if isinstance(parameter, click.Option)}
    fields = {field.name: field for field in dataclasses.fields(EmulatorOptions)}
    # Faults can't be written on a command line: they come from a script.
    assert list(parameters) == ["script" if name == "faults" else name for name in fields]
    for name, text in describe(EmulatorOptions).items():
        if name != "faults":
            assert str(parameters[name].help).startswith(text.replace("`", "")), name


def _context(*arguments: str) -> click.Context:
    # Below the program's own context, as in use: click keeps the help option of a command's first context.
    return emulator.make_context("emulator", list(arguments), parent=click.Context(cli, **cli.context_settings))


def test_without_options_the_command_has_the_defaults_of_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YAGRPC_EMULATOR_ACCEPT", raising=False)
    assert _read(_context().params) == EmulatorOptions()


def test_options_become_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGRPC_EMULATOR_ACCEPT", "Api-Key abc, Bearer t1.def")
    line = (
        "--duration uniform:1,2 --completion-duration inf --quota --quota-model bucket --seed 7 --folder b1g --frozen"
    )
    assert _read(_context(*line.split(), "--frozen").params) == EmulatorOptions(
        duration=Uniform(1, 2),
        completion_duration=float("inf"),
        quota=EmulatorQuota(),
        quota_model="bucket",
        seed=7,
        folder="b1g",
        frozen=True,
        auth=["Api-Key abc", "Bearer t1.def"],
    )
