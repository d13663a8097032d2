"""Groups of commands, and where their commands come from."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Final, NoReturn

import click

from yagrpc.cli.io.failures import FAILED, INTERRUPTED, InterruptedByUser, interrupted_by_signals, report
from yagrpc.cli.io.output import lost_messages, note, settled

__all__ = ["NAME", "CommandModules", "Group", "Program"]

NAME: Final = "yagrpc"
"""The name of the program, as its help and its errors show it."""


class CommandModules(Mapping[str, click.Command]):
    """The commands of a package by name: each module is a command, imported at its first use.

    The module `embed_text` holds the command `embed-text` as its attribute `embed_text`. Modules with a leading
    underscore are no commands.

    Args:
        package: The package; its folder is listed at each use.
    """

    def __init__(self, package: ModuleType) -> None:
        self._package = package

    def __getitem__(self, name: str) -> click.Command:
        if name not in set(self):
            raise KeyError(name)
        module = name.replace("-", "_")
        command: click.Command = getattr(import_module(f"{self._package.__name__}.{module}"), module)
        return command

    def __iter__(self) -> Iterator[str]:
        for module in pkgutil.iter_modules(self._package.__path__):
            if not module.name.startswith("_"):
                yield module.name.replace("_", "-")

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Group(click.Group):
    """A group of commands that does nothing without one of them: it then shows its help on stderr, and fails."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Before its version 8.2, click's own help for a group without a command went to stdout, with exit code 0.
        super().__init__(*args, **{**kwargs, "no_args_is_help": False})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the group's own arguments; if there are none, show the help and end."""
        if not args and not ctx.resilient_parsing:
            note(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)


class Program(Group):
    """The whole program: a failure of any command ends the process with one line and an exit code.

    If a message could not be written to stderr, a command that did everything else fails too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"context_settings": {"help_option_names": ["-h", "--help"]}, **kwargs})

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the program; the arguments are those of `click.Command.main`."""
        kwargs["standalone_mode"] = False
        kwargs["prog_name"] = NAME
        lost = lost_messages()
        with interrupted_by_signals() as came:
            try:
                code = super().main(*args, **kwargs)
            except (Exception, KeyboardInterrupt) as error:
                code = report(error)
        if code == INTERRUPTED and came:
            code = 128 + came[0]  # as shells report it
        if (not settled(sys.stderr) or lost_messages() > lost) and not code:
            code = FAILED
        sys.exit(code or 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an interrupt is reported in yagrpc's words, not in click's."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedByUser("interrupted") from None
