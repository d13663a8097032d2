"""The `yagrpc` program: the group of all commands.

Rules: this module and the modules that it imports load neither gRPC nor protobuf, so that help and usage errors are
quick.
"""

from __future__ import annotations

import click

from yagrpc._version import __version__
from yagrpc.cli import commands
from yagrpc.cli.groups import NAME, CommandModules, Program
from yagrpc.cli.options import examples

__all__ = ["cli"]


@click.group(
    cls=Program,
    commands=CommandModules(commands),
    epilog=examples(
        "yagrpc completion 'To be, or not to be' --system 'Translate into Russian'",
        "yagrpc submit --request body.json",
        "yagrpc operation wait d7q...",
    ),
)
@click.version_option(__version__, prog_name=NAME, message="%(prog)s %(version)s")
def cli() -> None:
    """Yandex Cloud Foundation Models (YandexGPT, AI Studio) over gRPC.

    Credentials come from the environment, such as YC_API_KEY, or from this machine; the folder comes from
    YC_FOLDER_ID. 'yagrpc doctor' shows what is found, and whether it works. If YAGRPC_EMULATOR_HOST is set, all calls
    go to that emulator (see 'yagrpc emulator').

    Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 the request or operation
    failed, 2 wrong usage or configuration, 3 timed out, 130 interrupted (143 by SIGTERM, 129 by SIGHUP).
    """
