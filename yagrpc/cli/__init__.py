"""The `yagrpc` command.

Rules: the rest of the package never imports this package. This module imports nothing that may be missing: click and
rich are an extra. Results go to stdout, everything else to stderr. Credentials come from the environment only, since
other users of a machine can read its command lines.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with the arguments of the process, and end the process with its exit code."""
    try:
        try:
            import click as click
            import rich as rich
        except ModuleNotFoundError as error:
            if error.name not in ("click", "rich"):
                raise
            print("the yagrpc command needs click and rich: pip install 'yagrpc[cli]'", file=sys.stderr)
            sys.exit(2)
        # gRPC's own log would appear between the command's lines; every failure is an exception anyway.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from yagrpc.cli.program import cli

        cli.main()
    except KeyboardInterrupt:  # while modules are imported; Program reports later interrupts
        print("yagrpc: interrupted", file=sys.stderr)
        sys.exit(130)
