"""`yagrpc emulator`: the service emulated on this machine, for tests and for work without an account."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Final

import click

from yagrpc.cli.io.output import print_text
from yagrpc.cli.options import examples

if TYPE_CHECKING:
    from yagrpc.emulator import QuotaModel

__all__ = ["ACCEPT", "emulator"]

ACCEPT: Final = "YAGRPC_EMULATOR_ACCEPT"
"""Where accepted credentials are read from: others can read a command line."""


@click.command(
    epilog=examples(
        "yagrpc emulator --duration 10",
        "yagrpc emulator --duration lognormal:20,1 --state operations.db --script faults.yaml",
        "YAGRPC_EMULATOR_ACCEPT='Api-Key abc,Bearer t1.def' yagrpc emulator --port 50051 --quota",
        "yagrpc emulator --replies my_replies:answer",
        "yagrpc emulator --recording answers.json --tls",
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
@click.option(
    "--quota-model",
    type=click.Choice(["sliding", "fixed", "bucket"]),
    default="sliding",
    show_default=True,
    help="How calls are counted against quotas: in sliding or fixed windows, or by a token bucket.",
)
@click.option("--folder", metavar="ID", help="The only folder that there is.  [default: any will do]")
@click.option("--seed", type=int, help="Makes ids the same in every run.")
@click.option(
    "--replies",
    metavar="MODULE:FUNCTION",
    help="A function that is given each CompletionRequest and returns its reply, or None.",
)
@click.option(
    "--recording",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Recorded answers, as a JSON list of {method, request, responses}; other requests are refused.",
)
@click.option("--tls", is_flag=True, help="Listen with TLS; the file with the authority's certificate is printed.")
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
    quota_model: QuotaModel,
    folder: str | None,
    seed: int | None,
    replies: str | None,
    recording: str | None,
    tls: bool,
) -> None:
    """Run an emulator of the service.

    It runs until it is told to stop, by Ctrl-C or SIGTERM. The first line of its output is its address, as soon as
    it listens; with --tls the second is the file with the certificate to trust. What has YAGRPC_EMULATOR_HOST set to
    the address goes there. Credentials to accept are read from YAGRPC_EMULATOR_ACCEPT, with commas between them.
    """
    from yagrpc.emulator import (
        Certificates,
        EmulatorOptions,
        EmulatorQuota,
        EmulatorScript,
        Recording,
        load_function,
        load_script,
        parse_duration,
        run,
    )

    try:
        certificates = Certificates(host) if tls else None
        scripted = EmulatorScript() if script is None else load_script(script)
        if replies is not None and scripted.replies is not None:
            raise ValueError("replies come from --script or from --replies, not from both")
        options = EmulatorOptions(
            host=host,
            port=port,
            i_know=i_know,
            duration=parse_duration(duration),
            completion_duration=parse_duration(completion_duration),
            frozen=frozen,
            faults=scripted.faults,
            replies=scripted.replies if replies is None else load_function(replies),
            state=state,
            control=control,
            seed=seed,
            auth=_accepted() if auth is None else auth,
            quota=EmulatorQuota() if quota else None,
            quota_model=quota_model,
            folder=folder,
            recording=None if recording is None else Recording.load(recording),
            tls=certificates or False,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except RuntimeError as error:  # what scripts need is not installed
        raise click.ClickException(str(error)) from error
    try:
        run(options, on_ready=functools.partial(_tell, ca_file=str(certificates.ca_file) if certificates else None))
    except (RuntimeError, ValueError) as error:  # the port or the state file can't be used
        raise click.ClickException(str(error)) from error


def _accepted() -> str | list[str]:
    listed = [value.strip() for value in os.environ.get(ACCEPT, "").split(",") if value.strip()]
    return listed or "off"


def _tell(address: str, ca_file: str | None) -> None:
    print_text(address)
    if ca_file is None:
        click.echo(f"The emulator listens. To use it: export YAGRPC_EMULATOR_HOST={address}", err=True)
    else:
        print_text(ca_file)
        click.echo("The emulator listens with TLS. To use it: give clients the address and the certificate.", err=True)
