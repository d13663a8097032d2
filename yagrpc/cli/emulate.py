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
        "yagrpc emulator --duration lognormal:20,1 --state operations.db --script faults.yaml",
        "YAGRPC_EMULATOR_ACCEPT='Api-Key abc,Bearer t1.def' yagrpc emulator --port 50051 --quota",
    )
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; 0 for any free one.  [default: 0]")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address, or localhost.")
@click.option("--i-know", is_flag=True, help="Allow a --host that other machines can reach: nothing is secret there.")
@click.option(
    "--duration",
    default="1",
    metavar="SECONDS|KIND:NUMBERS",
    help="How long an operation takes: seconds, 'inf' for ever, or drawn: lognormal:MEDIAN,SIGMA, exponential:MEAN, "
    "uniform:LOW,HIGH or bimodal:SHORT,LONG,SHARE. A request's metadata x-emulator-duration goes before it.  "
    "[default: 1]",
)
@click.option(
    "--completion-duration", default="0", metavar="SECONDS|KIND:NUMBERS", help="A completion, likewise.  [default: 0]"
)
@click.option("--frozen", is_flag=True, help="Let time stand still but for the control service's AdvanceTime.")
@click.option("--script", metavar="FILE", help="YAML with faults and replies (needs the extra 'emulator').")
@click.option("--state", metavar="FILE", help="Keep operations in this file (SQLite), over the emulator's death.")
@click.option("--control", is_flag=True, help="Serve the control service too (yagrpc/emulator/v1/control.proto).")
@click.option(
    "--auth",
    type=click.Choice(["off", "present"]),
    help=f"Whether a credential has to be sent; any well-formed one will do.  [default: off, or where {ACCEPT} is "
    "set, only what it lists]",
)
@click.option("--quota/--no-quota", default=False, show_default=True, help="Whether the service's quotas hold.")
@click.option("--seed", type=int, help="Makes ids the same in every run.")
def emulator(
    host: str,
    port: int,
    i_know: bool,
    duration: str,
    completion_duration: str,
    frozen: bool,
    script: str | None,
    state: str | None,
    control: bool,
    auth: str | None,
    quota: bool,
    seed: int | None,
) -> None:
    """Run an emulator of the service.

    It runs until it is told to stop, by Ctrl-C or SIGTERM. The first line of its output is its address, as soon as
    it listens. What has YAGRPC_EMULATOR_HOST set to that goes there. Credentials to accept are read from
    YAGRPC_EMULATOR_ACCEPT, with commas between them.
    """
    from yagrpc.emulator import EmulatorOptions, EmulatorQuota, EmulatorScript, load_script, parse_duration, run

    try:
        scripted = EmulatorScript() if script is None else load_script(script)
        options = EmulatorOptions(
            host=host,
            port=port,
            i_know=i_know,
            duration=parse_duration(duration),
            completion_duration=parse_duration(completion_duration),
            frozen=frozen,
            faults=scripted.faults,
            replies=scripted.replies,
            state=state,
            control=control,
            seed=seed,
            auth=_accepted() if auth is None else auth,
            quota=EmulatorQuota() if quota else None,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except RuntimeError as error:  # what scripts need is not installed
        raise click.ClickException(str(error)) from error
    try:
        run(options, on_ready=_tell)
    except RuntimeError as error:
        reason = str(error).partition(";")[0]  # then follows advice for developers of gRPC
        raise click.ClickException(f"the emulator can't listen: {reason}") from error
    except ValueError as error:  # the state file can't be used
        raise click.ClickException(str(error)) from error


def _accepted() -> str | list[str]:
    listed = [value.strip() for value in os.environ.get(ACCEPT, "").split(",") if value.strip()]
    return listed or "off"


def _tell(address: str) -> None:
    print_text(address)
    click.echo(f"The emulator listens. To use it: export YAGRPC_EMULATOR_HOST={address}", err=True)
