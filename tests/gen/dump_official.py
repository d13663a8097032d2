"""Write the descriptors that the official package loads to files; run inside the environment that has it.

    python dump_official.py FOLDER PATH...

PATH is a canonical one such as `yandex/cloud/operation/operation.proto`. Each file becomes FOLDER/PATH, a
serialized FileDescriptorProto. A file that the package lacks is not written: its absence is for the caller to
judge. Nothing of this repository is imported: the two sets of descriptors never meet in one process.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path


def main(folder: Path, paths: list[str]) -> None:
    """Dump those of the paths that the package has."""
    for path in paths:
        module = path.removesuffix(".proto").replace("/", ".") + "_pb2"
        if not _exists(module):
            continue
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(importlib.import_module(module).DESCRIPTOR.serialized_pb)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        # Raised for a missing parent package; anything else is a broken installation, not a missing file.
        if error.name is not None and module.startswith(error.name):
            return False
        raise


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
