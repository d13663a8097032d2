"""How the command's modules hang together: imports point one way, and a module in `commands` is a command."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.shell_completion import ShellComplete

import yagrpc.cli
from yagrpc.cli import commands
from yagrpc.cli.program import cli

if TYPE_CHECKING:
    from tests.cli.conftest import Command

ROOT = Path(yagrpc.cli.__file__).parent

LAYERS = [
    "commands/__init__.py",
    "io/__init__.py",
    "io/output.py",
    "io/wording.py",
    "io/failures.py",
    "io/inputs.py",
    "io/growing.py",
    "io/render.py",
    "io/results.py",
    "io/submits.py",
    "collecting/__init__.py",
    "collecting/ids.py",
    "collecting/run.py",
    "options.py",
    "groups.py",
    "bulk/__init__.py",
    "bulk/options.py",
    "bulk/show.py",
    "bulk/running.py",
    "bulk/journals.py",
    "bulk/commands.py",
    "commands/*.py",
    "program.py",
    "__init__.py",
]
"""From the ground up: a module imports modules of lower layers only, for the type checker too."""

MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def level(module: str) -> int:
    """The layer of a module."""
    if module in LAYERS:
        return LAYERS.index(module)
    return LAYERS.index(f"{module.partition('/')[0]}/*.py")


def imports(module: str) -> Iterator[str]:
    """The modules of the command that a module imports, in functions and under `TYPE_CHECKING` too."""
    for node in ast.walk(ast.parse((ROOT / module).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [(str(node.module), alias.name) for alias in node.names]
        else:
            continue
        for package, name in names:
            parts = package.split(".")
            if parts[:2] == ["yagrpc", "cli"]:
                yield file_of([*parts[2:], name]) or file_of(parts[2:]) or pytest.fail(f"{package} is no module")


def file_of(parts: list[str]) -> str | None:
    """The file of a module of the command, if there is one."""
    path = "/".join(filter(None, parts))
    names = (f"{path}.py", f"{path}/__init__.py".lstrip("/"))
    return next((name for name in names if name in MODULES), None)


def test_every_layer_is_there() -> None:
    assert all(layer in MODULES for layer in LAYERS if "*" not in layer)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_lower_layers_only(module: str) -> None:
    assert not [used for used in imports(module) if level(used) >= level(module)]


def test_imports_are_found() -> None:
    assert set(imports("program.py")) == {"commands/__init__.py", "groups.py", "options.py"}
    assert "options.py" in set(imports("commands/doctor.py")), "an import for the type checker alone"


def test_a_new_command_is_one_file(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "say_hello.py").write_text(
        "import click\n@click.command()\ndef say_hello():\n    'Say hello.'\n    click.echo('hello')\n"
    )
    (tmp_path / "_shared.py").write_text("raise AssertionError('this is not a command')\n")
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    try:
        assert command.done("say-hello") == "hello\n"
        assert "  say-hello   Say hello.\n" in command.done("--help")
        suggestion = ". Did you mean 'say-hello'?" if hasattr(click.exceptions, "NoSuchCommand") else ""
        expected = f"No such command 'say-helo'{suggestion} (see 'yagrpc --help')"
        assert command.fails(2, "say-helo") == expected
        for name in ("_shared", "-shared", "say_hello", "nothing", "..program"):
            assert command(name).code == 2
    finally:
        sys.modules.pop("yagrpc.cli.commands.say_hello", None)
        vars(commands).pop("say_hello", None)


LOADED = """
import sys
from yagrpc.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code
loaded = {name.removeprefix("yagrpc.cli.commands.") for name in sys.modules if name.startswith("yagrpc.cli.commands.")}
print(sorted(loaded), sorted({"grpc", "google.protobuf", "rich.console"} & set(sys.modules)), file=sys.stderr)
"""


def loaded(*arguments: str) -> str:
    """The commands that a process loads, and what of other packages."""
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, encoding="utf-8", check=True, timeout=60
    )
    return ran.stderr


def test_the_help_of_all_loads_neither_grpc_nor_protobuf() -> None:
    assert loaded("--help") == f"{sorted(cli.commands)} []\n"


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_the_help_of_a_command_loads_no_other(name: str) -> None:
    assert loaded(name, "--help") == f"['{name}'] []\n"


@pytest.mark.parametrize(
    ("words", "number", "modules"),
    [
        ("yagrpc operation wait --", 3, "['operation'] []\n"),
        ("yagrpc comp", 1, "['completion'] []\n"),
    ],
)
def test_the_shell_completes_with_one_command_loaded(
    monkeypatch: pytest.MonkeyPatch, words: str, number: int, modules: str
) -> None:
    monkeypatch.setenv("_YAGRPC_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(number))
    assert loaded() == modules


def test_the_shell_completes_names_of_commands() -> None:
    found = ShellComplete(cli, {}, "yagrpc", "_YAGRPC_COMPLETE").get_completions([], "s")
    assert [item.value for item in found] == ["stream", "submit"]
