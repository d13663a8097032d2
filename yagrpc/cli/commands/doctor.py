"""`yagrpc doctor`: checks the set-up of this machine, and says what to do if something does not work."""

from __future__ import annotations

from typing import Final

import click

from yagrpc.cli.io.failures import FAILED, USAGE
from yagrpc.cli.io.output import print_json, print_text
from yagrpc.cli.options import Connection, connection_options, examples, json_option

__all__ = ["doctor"]

_TIMEOUT: Final = 5.0
"""Seconds that each answer may take by default; all requests are sent at once."""


@click.command(
    epilog=examples("yagrpc doctor", "yagrpc doctor --json", "yagrpc doctor --folder-id b1g... --timeout 20")
)
@json_option("Print the findings as JSON.")
@connection_options("Seconds that each answer may take.  [default: 5]", request_id=False)
def doctor(connection: Connection, as_json: bool) -> None:
    """Check what is set up, and whether it works.

    The command checks credentials, folder, endpoints and clock, and says what to do. It gets a token if one is needed,
    and sends each endpoint a request that is free of charge; it generates nothing, and shows no secret. Exit codes: 0
    everything works, 1 something does not work, 2 something is not set up.
    """
    from yagrpc.cli.checks import run_checks  # this loads gRPC, which is slow and which help does not need

    findings, versions = run_checks(connection, _TIMEOUT if connection.timeout is None else connection.timeout)
    if as_json:
        ok = all(found.ok for found in findings)
        print_json({"ok": ok, "findings": [found._asdict() for found in findings], "versions": versions})
    else:
        print_text("; ".join(f"{name} {version}" for name, version in versions.items()))
        for found in findings:
            print_text(f"{found.about:<12} {found.state:<8} {found.text}")
            if found.remedy:
                print_text(f"{'':<12} {'':<8} -> {found.remedy}")
    states = {found.state for found in findings}
    click.get_current_context().exit(USAGE if "not set" in states else FAILED if "failed" in states else 0)
