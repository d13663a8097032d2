"""Groups of commands: without a command they show their help, as a mistake."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import click

from yagrpc.cli.io.failures import InterruptedByUser, report

__all__ = ["Group", "Program"]

NAME = "yagrpc"


class Group(click.Group):
    """A group that is nothing by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # click's own help for a group without a command went to stdout, with exit code 0, before its version 8.2.
        super().__init__(*args, **{**kwargs, "no_args_is_help": False})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the group's own arguments; without any, show the help and end."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)


class Program(Group):
    """The whole command, whose failures end the process with one line and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run it; the arguments are those of `click.Command.main`."""
        kwargs["standalone_mode"] = False
        kwargs["prog_name"] = NAME
        try:
            code = super().main(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            code = report(error)
        sys.exit(code or 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an interrupt is reported in our words, not in click's."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedByUser("interrupted") from None
