"""`python -m yagrpc.codegen`: the generator from a shell, with nothing but the compilers installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yagrpc.codegen.errors import GenerateError
from yagrpc.codegen.generate import generate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the generator; returns the exit code: 0 done, 2 a source or the usage is wrong."""
    summary = (generate.__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m yagrpc.codegen", description=summary)
    given: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    parser.add_argument("--proto", action="append", default=[], help="a folder that import paths start from", **given)
    parser.add_argument("--descriptor-set", type=Path, metavar="FILE", help="compiled protos, in place of --proto")
    parser.add_argument("--out", help="the folder to write the package to", required=True, **given)
    parser.add_argument(
        "--package", required=True, metavar="NAME", help="the package's name; a name with dots is a nested package"
    )
    parser.add_argument("--force", action="store_true", help="replace files that the generator did not write")
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="a file to generate, by its import path; by default all files"
    )
    options = parser.parse_args(arguments)
    try:
        generate(
            options.proto,
            options.out,
            options.package,
            options.files,
            force=options.force,
            descriptor_set=options.descriptor_set,
        )
    except GenerateError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
