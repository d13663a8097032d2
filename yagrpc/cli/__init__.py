"""The `yagrpc` command.

Rules: the rest of the package never imports this one, and this module imports nothing that may be missing: click
and rich are an extra. Results go to stdout and everything else to stderr; credentials come from the environment
only, since other users of a machine can read its command lines.
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
        # gRPC's own log would come between the lines of ours; every failure reaches us as an exception anyway.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from yagrpc.cli.program import cli

        cli.main()
    except KeyboardInterrupt:  # while modules were imported; later ones are the command's own
        print("yagrpc: interrupted", file=sys.stderr)
        sys.exit(130)
