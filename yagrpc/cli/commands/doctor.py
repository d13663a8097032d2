"""`yagrpc doctor`: checks the set-up of this machine, and says what to do if something does not work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from yagrpc.cli.io.failures import FAILED, USAGE
from yagrpc.cli.io.output import print_json, print_styled
from yagrpc.cli.io.wording import in_options
from yagrpc.cli.options import Connection, connection_options, examples, json_option

__all__ = ["doctor"]

_STYLES: Final[Mapping[str, str]] = {"ok": "green", "note": "yellow", "failed": "bold red", "not set": "bold red"}
"""How a terminal shows the state of a finding."""


@click.command(
    epilog=examples("yagrpc doctor", "yagrpc doctor --json", "yagrpc doctor --folder-id b1g... --timeout 20")
)
@json_option("Print the findings as JSON.")
@connection_options("Seconds that each answer may take.  [default: 5]", request_id=False)
def doctor(connection: Connection, as_json: bool) -> None:
    """Check what is set up, and whether it works.

    The command checks settings, credentials, endpoints and the clock, and says what to do. It gets a token if one is
    needed, and sends each endpoint a request that is free of charge; it generates nothing, and shows no secret. On a
    terminal the states are coloured, unless NO_COLOR is set.

    Exit codes: 0 everything works, 1 something does not work, 2 something is not set up or an option is wrong, 130
    interrupted.
    """
    from yagrpc.diagnosis import TIMEOUT, check, report  # this loads gRPC, which is slow and which help does not need

    found = check(connection.client, TIMEOUT if connection.timeout is None else connection.timeout)
    findings = tuple(
        each._replace(text=in_options(each.text), remedy=in_options(each.remedy)) for each in found.findings
    )
    found = found._replace(findings=findings)
    if as_json:
        plain = [each._asdict() for each in findings]
        print_json({"ok": found.ok, "findings": plain, "versions": dict(found.versions)})
    else:
        for line in report(found):
            print_styled(*((text, _STYLES.get(state, "")) for text, state in line))
    states = {each.state for each in findings}
    click.get_current_context().exit(USAGE if "not set" in states else FAILED if "failed" in states else 0)
