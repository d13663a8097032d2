"""`yagrpc doctor`: what is set up on this machine, whether it works, and what to do where it does not."""

from __future__ import annotations

from typing import Final

import click

from yagrpc.cli.io.failures import FAILED, USAGE
from yagrpc.cli.io.output import print_json, print_text
from yagrpc.cli.options import Connection, connection_options, examples, json_option

__all__ = ["doctor"]

_SECONDS: Final = 5.0
"""How long each answer may take; all are asked for at once."""


@click.command(
    epilog=examples("yagrpc doctor", "yagrpc doctor --json", "yagrpc doctor --folder-id b1g... --timeout 20")
)
@json_option("Print the findings as JSON.")
@connection_options("Seconds that each answer may take.  [default: 5]", request_id=False)
def doctor(connection: Connection, as_json: bool) -> None:
    """Tell what is set up, and whether it works.

    It looks at credentials, folder, endpoints and clock, and says what to do. It asks for a token where one is needed,
    and each endpoint for something that is free of charge; it generates nothing. No secret is shown. Exit codes: 0 all
    is well, 1 something does not work, 2 something is not set up.
    """
    from yagrpc.cli.checks import examine  # with gRPC, which takes long to import and help needs not

    findings, versions = examine(connection, _SECONDS if connection.timeout is None else connection.timeout)
    if as_json:
        well = all(found.well for found in findings)
        print_json({"ok": well, "findings": [found._asdict() for found in findings], "versions": versions})
    else:
        print_text("; ".join(f"{name} {version}" for name, version in versions.items()))
        for found in findings:
            print_text(f"{found.about:<12} {found.state:<8} {found.text}")
            if found.remedy:
                print_text(f"{'':<12} {'':<8} -> {found.remedy}")
    states = {found.state for found in findings}
    click.get_current_context().exit(USAGE if "not set" in states else FAILED if "failed" in states else 0)
