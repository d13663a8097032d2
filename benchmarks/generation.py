"""`make bench`: generating the stubs of a whole cloud, against bare protoc with the same plugins.

`tree.py` writes the tree. One service of the output is imported in a fresh process. Except in a quick run, all of the
output is type-checked.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from table import by_turns, show
from tree import SERVICES, write_tree
from yagrpc.codegen import generate

PROTOS = Path(__file__).parents[1] / "proto"

_ONE_SERVICE = """
import sys
from bench_stubs.bench.s1.v1 import thing_service_pb2_grpc, thing_service_methods
loaded = [name for name in sys.modules if name.startswith("bench_stubs.bench.")]
assert not any(name.startswith("bench_stubs.bench.s2") for name in loaded), loaded
print(len(loaded))
"""


def _bare(root: Path, out: Path) -> None:
    """Run protoc as a user would by hand."""
    out.mkdir()
    tools = find_spec("grpc_tools")
    google = find_spec("google.api")
    assert tools is not None
    assert google is not None
    includes = [root, PROTOS, Path(str(tools.origin)).parent / "_proto"]
    includes.append(Path(next(iter(google.submodule_search_locations or []))).parents[1])
    scripts = sysconfig.get_path("scripts")
    names = [path.relative_to(top).as_posix() for top in (root, PROTOS) for path in top.rglob("*.proto")]
    command = [sys.executable, "-I", "-m", "grpc_tools.protoc", *(f"--proto_path={path}" for path in includes)]
    command += [f"--plugin=protoc-gen-{name}={scripts}/protoc-gen-{name}" for name in ("mypy", "mypy_grpc")]
    command += [f"--{name}_out={out}" for name in ("python", "grpc_python")]
    command += [f"--{name}_out=quiet:{out}" for name in ("mypy", "mypy_grpc")]
    subprocess.run([*command, *names], check=True)


def main() -> int:
    """Measure and print; the exit code says whether the targets are met, except in a quick run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller tree, and no type check")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        files = write_tree(work / "proto", 40 if quick else SERVICES)
        turn = iter(range(1000))

        def ours() -> float:
            start = time.perf_counter()
            generate([work / "proto", PROTOS], work / "ours", "bench_stubs")
            return time.perf_counter() - start

        def bare() -> float:
            start = time.perf_counter()
            _bare(work / "proto", work / f"bare{next(turn)}")
            return time.perf_counter() - start

        measured = by_turns({"bare protoc, the same plugins": bare, "yagrpc.codegen": ours}, 3 if quick else 5)
        fine = show(f"Generating {files} files", "s", measured, {"yagrpc.codegen": 2.0})
        one = [sys.executable, "-c", _ONE_SERVICE]
        loaded = subprocess.run(one, cwd=work / "ours", check=True, capture_output=True, text=True).stdout.strip()
        print(f"\nimporting one service of {files // 4} loads {loaded} of {files} files' modules or their packages")
        if not quick:
            start = time.perf_counter()
            command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "-p", "bench_stubs"]
            subprocess.run([*command, f"--cache-dir={work / 'cache'}"], cwd=work / "ours", check=True)
            print(f"type-checked with mypy --strict in {time.perf_counter() - start:.0f} s")
    return 0 if fine or quick else 1


if __name__ == "__main__":
    sys.exit(main())
