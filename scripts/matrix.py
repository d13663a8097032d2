"""`make matrix`: uses the wheel with every line of versions that pyproject.toml allows.

pyproject.toml claims a range of versions; this script tests the claim, and `tests/packaging/test_ranges.py` compares
the two. For each combination the script creates an environment (kept in `--cache`) and installs the wheel with its
command. In the environment it runs, with warnings as errors: `use_wheel.py`, which makes calls over real gRPC, and the
contract, core and isolation tests. With `--quick` it runs a part of them, in one row, and prints what it left out.

Rules: the standard library and pip only. Each combination has one row, also if it fails. The exit code is 1 if a row
fails that is not expected to fail, or if no row passes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

PYTHONS: Final = ("3.10", "3.11", "3.12", "3.13")
"""The interpreters that pyproject.toml names; later ones are used too, if the script finds them."""

CROSS_PYTHON: Final = "3.11"
"""The interpreter that has all versions of protobuf with all versions of grpcio."""

LOWEST: Final = {"grpcio": "1.68.1", "protobuf": "5.29.3", "googleapis-common-protos": "1.66"}
"""The lowest versions that pyproject.toml allows."""

LOWEST_CLI: Final = {"click": "8.1", "rich": "13"}
"""The lowest versions that the extra `cli` allows."""

ABOVE: Final = {"grpcio": "2", "protobuf": "8", "googleapis-common-protos": "2"}
"""The first versions that pyproject.toml does not allow: the newest version below each is used."""

PROTOBUF: Final = (f"=={LOWEST['protobuf']}", "==6.31.*", "==6.33.*", "==7.*")
"""The oldest; that of the generated code; the last line of 6; the newest."""

EXPECTED: Final = {
    ("3.14", f"=={LOWEST['grpcio']}"): "the first wheels of grpcio for Python 3.14 are those of 1.75.1",
}
"""Combinations of Python and grpcio that cannot be installed, and why."""

SERVER_TOOLS: Final = ("grpcio-reflection", "grpcio-health-checking")
"""What the extra `emulator` adds for other tools; the emulator works without them."""

PASSED: Final = "passed"

TESTS: Final = ("tests/contract", "tests/core", "tests/isolation")
"""What each row runs, except the tests that are marked slow."""

QUICK_TESTS: Final = (
    "tests/isolation/test_well_known.py",
    "tests/contract/test_bad_input.py",
    "tests/contract/test_completion.py",
    "tests/contract/test_methods.py",
    "tests/core/test_grpc_status.py",
    "tests/core/test_messages.py",
    "tests/core/test_results.py",
    "tests/core/test_status.py",
)
"""What `--quick` runs: about a minute. These are the tests that older versions of gRPC and protobuf have failed."""

_PURE: Final = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
"""How protobuf's implementation in Python is chosen."""

_TESTS_SECONDS: Final = 3600.0

_DESCRIBE: Final = """
import json, sys, sysconfig
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "usable": sys.implementation.name == "cpython" and sys.version_info[3] == "final"
              and not sysconfig.get_config_var("Py_GIL_DISABLED"),
}))
"""
_VERSIONS: Final = """
import platform
from importlib.metadata import version
print(platform.python_version(), version("grpcio"), version("protobuf"))
"""


@dataclasses.dataclass(frozen=True)
class Combination:
    """One row of the matrix."""

    python: str
    grpcio: str
    """A version specifier, as are the next."""
    protobuf: str
    pure: bool = False
    """Whether protobuf's implementation in Python is used, as where it has no wheel."""

    @property
    def lowest(self) -> bool:
        """Whether it has the lowest versions of everything."""
        return (self.grpcio, self.protobuf) == (f"=={LOWEST['grpcio']}", f"=={LOWEST['protobuf']}")

    @property
    def without_server_tools(self) -> bool:
        """Whether the server tools cannot be installed: those for the lowest grpcio take the oldest protobuf only."""
        return self.grpcio == f"=={LOWEST['grpcio']}" and self.protobuf != f"=={LOWEST['protobuf']}"

    @property
    def requirements(self) -> list[str]:
        """What pip installs besides the wheel."""
        versions = [f"grpcio{self.grpcio}", f"protobuf{self.protobuf}"]
        if self.lowest:
            versions += [f"{name}=={version}" for name, version in LOWEST.items() if name not in ("grpcio", "protobuf")]
            versions += [f"{name}=={version}" for name, version in LOWEST_CLI.items()]
        return versions

    @property
    def folder(self) -> str:
        """The name of its environment."""
        name = f"python{self.python}-grpcio{self.grpcio}-protobuf{self.protobuf}{'-pure' if self.pure else ''}"
        return name.translate(str.maketrans("<*", "--"))


@dataclasses.dataclass(frozen=True)
class Row:
    """The result of a combination."""

    combination: Combination
    result: str
    good: bool
    versions: tuple[str, ...] = ()
    """Python, grpcio and protobuf as installed."""
    seconds: float = 0.0
    log: str = ""

    def __str__(self) -> str:
        combination = self.combination
        versions = self.versions or (combination.python, combination.grpcio, combination.protobuf)
        named = " | ".join(versions) + (" (pure Python)" if combination.pure else "")
        return f"| {named} | {self.result} | {self.seconds:.1f} |"


class _StepError(Exception):
    """A command that failed; the message is its last line, `log` is its whole output."""

    def __init__(self, log: str) -> None:
        lines = [line for line in log.splitlines() if line.strip()]
        super().__init__(lines[-1] if lines else "nothing was printed")
        self.log = log


def combinations(pythons: list[str]) -> list[Combination]:
    """All rows: the cross on one interpreter, also with protobuf in Python; lowest and newest on the others.

    Args:
        pythons: The interpreters to have rows for, such as `3.12`.
    """
    lowest, newest = f"=={LOWEST['grpcio']}", f"<{ABOVE['grpcio']}"
    cross = [Combination(CROSS_PYTHON, grpcio, protobuf) for protobuf in PROTOBUF for grpcio in (lowest, newest)]
    cross.append(Combination(CROSS_PYTHON, newest, PROTOBUF[-1], pure=True))
    others = [
        Combination(python, grpcio, protobuf)
        for python in pythons
        if python != CROSS_PYTHON
        for grpcio, protobuf in ((lowest, PROTOBUF[0]), (newest, PROTOBUF[-1]))
    ]
    return cross + others


def interpreters() -> dict[str, str]:
    """Working interpreters by version: this one, those on PATH, and pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    named = (shutil.which(f"python3.{minor}") for minor in range(10, 30))
    candidates = [sys.executable, *filter(None, named), *map(str, sorted(pyenv.glob("versions/*/bin/python")))]
    found: dict[str, str] = {}
    for candidate in candidates:
        # pyenv puts shims on PATH for versions that only another project uses; these shims fail.
        described = subprocess.run([candidate, "-I", "-c", _DESCRIBE], capture_output=True, text=True, check=False)
        if described.returncode == 0:
            facts = json.loads(described.stdout)
            if facts["usable"] and _number(facts["version"]) >= _number(PYTHONS[0]):
                found.setdefault(facts["version"], candidate)
    return dict(sorted(found.items(), key=lambda item: _number(item[0])))


def build(folder: Path) -> str:
    """Build the wheel of this checkout into a folder; returns its path."""
    _run(
        [sys.executable, "-I", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        ROOT,
    )
    (wheel,) = folder.glob("*.whl")
    return str(wheel)


def run(
    combination: Combination, interpreter: str | None, wheel: str, cache: Path, tests: tuple[str, ...] = TESTS
) -> Row:
    """Install and use one combination."""
    if interpreter is None:
        return Row(combination, "not run: no such interpreter here", good=True)
    folder = cache / combination.folder
    try:
        python = _environment(folder, interpreter)
        _install(python, wheel, combination)
    except _StepError as error:
        expected = EXPECTED.get((combination.python, combination.grpcio))
        if expected is not None:
            return Row(combination, f"not installable, as expected: {expected}", good=True, log=error.log)
        return Row(combination, f"**not installable**: {error}", good=False, log=error.log)
    versions = tuple(_run([python, "-I", "-c", _VERSIONS], folder).split())
    start = time.perf_counter()
    variables = _PURE if combination.pure else {}
    try:
        use = str(ROOT / "scripts/use_wheel.py")
        log = _run([python, "-I", "-W", "error", use], folder, quiet=True, variables=variables)
        # -I: this folder is not imported, which would hide what is missing in the wheel.
        options = ["-q", "--no-header", "--no-cov", "-p", "no:cacheprovider", "-m", "not slow and not live", "-rfE"]
        log += _run([python, "-I", "-m", "pytest", *options, *tests], ROOT, variables=variables, seconds=_TESTS_SECONDS)
    except _StepError as error:
        result, good, log = f"**failed**: {error}", False, error.log
    else:
        result, good = PASSED, True
    return Row(combination, result, good, versions, time.perf_counter() - start, log)


def _environment(folder: Path, interpreter: str) -> str:
    """The interpreter of an environment; the environment is created if there is none that works."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if python.exists() and subprocess.run([python, "-I", "-c", ""], capture_output=True, check=False).returncode == 0:
        return str(python)
    # All environments share one pip, that of the interpreter that runs this script.
    _run([interpreter, "-I", "-m", "venv", "--clear", "--without-pip", str(folder)], ROOT)
    return str(python)


def _install(python: str, wheel: str, combination: Combination) -> None:
    pip = [sys.executable, "-I", "-m", "pip", "--python", python, "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet"]
    # Wheels only: if a version has no wheel for this interpreter, its row says so; compiling would take an hour.
    newest = ["--only-binary", ":all:", "--upgrade", "--upgrade-strategy", "eager"]
    group = ["--group", f"{ROOT / 'pyproject.toml'}:test"]
    all_of_it = [*install, *newest, *group, f"{wheel}[auth,cli,emulator]"]
    if combination.without_server_tools:
        _run(all_of_it, ROOT)
        _run([*pip, "uninstall", "--quiet", "--yes", *SERVER_TOOLS], ROOT)
        _run([*install, *newest, f"{wheel}[auth,cli]", *combination.requirements], ROOT)
    else:
        _run([*all_of_it, *combination.requirements], ROOT)
    # The wheel's contents change from run to run, and its version does not.
    _run([*install, "--no-deps", "--force-reinstall", wheel], ROOT)


def _run(
    command: list[str],
    folder: Path,
    quiet: bool = False,
    variables: Mapping[str, str] | None = None,
    seconds: float = 600.0,
) -> str:
    """Run a command; returns its output.

    Raises:
        _StepError: It failed, took too long, or printed to stderr although `quiet` forbids that.
    """
    # Python must find only installed packages, and settings of this machine must have no effect.
    dropped = ("YC_", "YAGRPC_", "PYTHON", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment.update(variables or {})
    # gRPC logs at INFO that a server ended before its client had closed: that is no complaint of ours.
    environment.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _StepError(f"{' '.join(command)}\nnot done after {error.timeout:.0f} s") from error
    if done.returncode or (quiet and done.stderr):
        raise _StepError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}\n")
    return done.stdout


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _rows(
    chosen: list[Combination], found: dict[str, str], cache: Path, jobs: int, tests: tuple[str, ...]
) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        wheel = build(Path(folder))
        yield from pool.map(lambda one: run(one, found.get(one.python), wheel, cache, tests), chosen)


def main() -> int:
    """Run the combinations, and print each row when it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the lowest versions, on this interpreter")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="combinations at once")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache/matrix", help="where environments are kept")
    given = parser.parse_args()
    found = interpreters()
    if given.quick:
        here = "{}.{}".format(*sys.version_info)
        chosen, found = [Combination(here, f"=={LOWEST['grpcio']}", PROTOBUF[0])], {here: sys.executable}
    else:
        chosen = combinations(sorted({*PYTHONS, *found}, key=_number))
    tests = QUICK_TESTS if given.quick else TESTS
    if given.quick:
        left_out = len(combinations(sorted({*PYTHONS, *interpreters()}, key=_number))) - 1
        print(f"not run here: {left_out} other rows, and all of {', '.join(TESTS)} but {', '.join(QUICK_TESTS)}\n")
    given.cache.mkdir(parents=True, exist_ok=True)
    print("| python | grpcio | protobuf | result | seconds |\n| --- | --- | --- | --- | ---: |", flush=True)
    rows = []
    for row in _rows(chosen, found, given.cache.resolve(), given.jobs, tests):
        print(row, flush=True)
        rows.append(row)
    bad = [row for row in rows if not row.good]
    for row in bad:
        print(f"\n{row.combination.folder}\n{row.log}", file=sys.stderr)
    # If no combination was used, the table shows nothing.
    return 0 if not bad and any(row.result == PASSED for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
