"""`yagrpc emulator`: the service emulated on this machine, for tests and for work without an account."""

from __future__ import annotations

import os
from typing import Final

import click

from yagrpc.cli.options import examples
from yagrpc.cli.output import print_text

__all__ = ["ACCEPT", "emulator"]

ACCEPT: Final = "YAGRPC_EMULATOR_ACCEPT"
"""Where accepted credentials are read from: others can read a command line."""


@click.command(
    epilog=examples(
        "yagrpc emulator --duration 10",
        "YAGRPC_EMULATOR_ACCEPT='Api-Key abc,Bearer t1.def' yagrpc emulator --port 50051 --quota",
    )
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; 0 for any free one.  [default: 0]")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address, or localhost.")
@click.option(
    "--duration", type=float, default=1.0, show_default=True, help="Seconds that an operation takes; 'inf' for ever."
)
@click.option(
    "--auth",
    type=click.Choice(["off", "present"]),
    help=f"Whether a credential has to be sent; any well-formed one will do.  [default: off, or where {ACCEPT} is "
    "set, only what it lists]",
)
@click.option("--quota/--no-quota", default=False, show_default=True, help="Whether the service's quotas hold.")
@click.option("--seed", type=int, help="Makes ids the same in every run.")
def emulator(host: str, port: int, duration: float, auth: str | None, quota: bool, seed: int | None) -> None:
    """Run an emulator of the service.

    It runs until it is told to stop, by Ctrl-C or SIGTERM. The first line of its output is its address, as soon as
    it listens. What has YAGRPC_EMULATOR_HOST set to that goes there. Credentials to accept are read from
    YAGRPC_EMULATOR_ACCEPT, with commas between them.
    """
    from yagrpc.emulator import EmulatorOptions, EmulatorQuota, run

    try:
        options = EmulatorOptions(
            host=host,
            port=port,
            duration=duration,
            seed=seed,
            auth=_accepted() if auth is None else auth,
            quota=EmulatorQuota() if quota else None,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        run(options, on_ready=_tell)
    except RuntimeError as error:
        reason = str(error).partition(";")[0]  # then follows advice for developers of gRPC
        raise click.ClickException(f"the emulator can't listen: {reason}") from error


def _accepted() -> str | list[str]:
    listed = [value.strip() for value in os.environ.get(ACCEPT, "").split(",") if value.strip()]
    return listed or "off"


def _tell(address: str) -> None:
    print_text(address)
    click.echo(f"The emulator listens. To use it: export YAGRPC_EMULATOR_HOST={address}", err=True)
