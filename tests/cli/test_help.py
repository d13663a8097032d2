"""Help: there for everything, true, and quick."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import pytest

import yagrpc
from yagrpc.cli.program import cli

if TYPE_CHECKING:
    from tests.cli.conftest import Command


def commands(group: click.Group, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*names, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)


ALL = {" ".join(names): found for names, found in commands(cli)}


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_has_help(command: Command, name: str) -> None:
    found = ALL[name]
    assert found.help
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    out = command.done(*name.split(), "--help")
    assert out.startswith(f"Usage: yagrpc {name} ")
    assert "Examples:\n    " in out
    assert all(len(line) <= 120 for line in out.splitlines())


@pytest.mark.parametrize("name", ["", *ALL])
def test_every_example_parses(name: str) -> None:
    epilog = (ALL[name] if name else cli).epilog
    assert epilog is not None
    lines = re.findall(r"yagrpc (.*?)(?:[|;>]|\n|$)", epilog)
    assert lines
    for line in lines:
        arguments = shlex.split(line)
        found: click.Command = cli
        within = click.Context(cli, **cli.context_settings)
        while isinstance(found, click.Group):
            found = found.commands[arguments.pop(0)]
        # click keeps the help option that the first context of a command asks for, for the whole process.
        found.make_context("example", arguments, parent=within)


def test_no_option_takes_a_credential() -> None:
    names = {option for found in ALL.values() for parameter in found.params for option in parameter.opts}
    assert not [name for name in names if re.search(r"(key|secret|password|credential|[^x]-token)", name)]


def test_short_descriptions_are_whole(command: Command) -> None:
    for arguments in ([], ["operation"]):
        assert "..." not in command.done(*arguments, "--help").partition("Commands:")[2].partition("Examples:")[0]


def test_a_group_without_a_command_is_a_mistake_with_help(command: Command) -> None:
    for arguments in ([], ["operation"]):
        ran = command(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == command.done(*arguments, "--help")


def test_the_version_is_the_packages(command: Command) -> None:
    assert command.done("--version") == f"yagrpc {yagrpc.__version__}\n"


def test_the_package_never_imports_the_command() -> None:
    code = (
        "import sys, yagrpc; [getattr(yagrpc, name) for name in yagrpc.__all__];"
        "print({'click', 'rich', 'yagrpc.cli'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert ran.stdout == "set()\n"


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_a_missing_extra_is_reported_in_one_line(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from yagrpc.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, encoding="utf-8", check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "the yagrpc command needs click and rich: pip install 'yagrpc[cli]'\n"
