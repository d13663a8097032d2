"""`yagrpc generate`: generates a typed package from any tree of Yandex Cloud protos."""

from __future__ import annotations

from pathlib import Path

import click

from yagrpc.cli.io.failures import ProblemsError
from yagrpc.cli.io.output import note
from yagrpc.cli.options import examples

__all__ = ["generate"]


@click.command(
    epilog=examples(
        "yagrpc generate --proto cloudapi --out src --package stubs yandex/cloud/vpc/v1/network_service.proto",
        "yagrpc generate --proto cloudapi --proto mine --out src --package cloud_stubs",
        "yagrpc generate --descriptor-set image.binpb --out src --package stubs",
    )
)
@click.option(
    "--proto",
    "roots",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR",
    help="A folder that import paths start from; you can give several. The protos of yagrpc and of Google are found "
    "without it.",
)
@click.option(
    "--descriptor-set",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compiled protos instead of --proto, as 'buf build -o image.binpb' writes them, or protoc with "
    "--include_imports --include_source_info --descriptor_set_out=FILE.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder to write the package to; the package of an earlier run is replaced.",
)
@click.option(
    "--package", required=True, metavar="NAME", help="The package's name; a name with dots is a nested package."
)
@click.option("--force", is_flag=True, help="Replace the folder even if it has files that the generator did not write.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
def generate(
    roots: tuple[Path, ...], descriptor_set: Path | None, out: Path, package: str, force: bool, files: tuple[str, ...]
) -> None:
    """Generate a typed package from protos.

    The package has messages, stubs, servicers, method tables, and its own descriptor pool; client.call takes its
    methods. Name each FILE by its import path (yandex/cloud/...); the files that it imports are included. Without
    FILE, all protos in the folders, or in the descriptor set, are generated; hidden folders are left out.
    """
    from yagrpc.codegen import GenerateError
    from yagrpc.codegen import generate as run

    try:
        run(roots, out, package, files, force=force, descriptor_set=descriptor_set)
    except GenerateError as error:
        raise ProblemsError(error.problems) from error
    note(f"{package} is in {out}")
