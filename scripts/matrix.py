"""`make matrix`: the wheel put to use with every line of versions that pyproject.toml admits.

The range of versions in pyproject.toml is a claim; this is what runs it, and `tests/packaging/test_ranges.py` holds
the two together. For each combination an environment is made (and kept in `--cache`), the wheel is installed with
its command, and in it run, with warnings as errors: `use_wheel.py`, a conversation over real gRPC, and the tests of
the well-known types, which say what each version of protobuf takes. Rules: the standard library and pip only; one row
for each combination, whatever goes wrong with it; exit code 1 if a row failed that is not expected to, or none passed.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

PYTHONS: Final = ("3.10", "3.11", "3.12", "3.13")
"""The interpreters that pyproject.toml names; later ones are run where they are found."""

CROSS_PYTHON: Final = "3.11"
"""The interpreter that runs all versions of protobuf with all of grpcio."""

LOWEST: Final = {"grpcio": "1.68.1", "protobuf": "5.29.3", "googleapis-common-protos": "1.66"}
"""The lowest versions that pyproject.toml admits."""

LOWEST_CLI: Final = {"click": "8.1", "rich": "13"}
"""The lowest versions that the extra `cli` admits."""

ABOVE: Final = {"grpcio": "2", "protobuf": "8", "googleapis-common-protos": "2"}
"""What pyproject.toml admits no more: the newest below it is run."""

PROTOBUF: Final = (f"=={LOWEST['protobuf']}", "==6.31.*", "==6.33.*", "==7.*")
"""The oldest; the gencode's own; the last line of 6; the newest."""

EXPECTED: Final = {
    ("3.14", f"=={LOWEST['grpcio']}"): "the first wheels of grpcio for Python 3.14 are those of 1.75.1",
}
"""What is known not to be installable, by Python and grpcio, and why."""

PASSED: Final = "passed"

TESTS: Final = "tests/isolation/test_well_known.py"

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

    @property
    def lowest(self) -> bool:
        """Whether it has the lowest versions of everything."""
        return (self.grpcio, self.protobuf) == (f"=={LOWEST['grpcio']}", f"=={LOWEST['protobuf']}")

    @property
    def requirements(self) -> list[str]:
        """What pip is told besides the wheel."""
        told = [f"grpcio{self.grpcio}", f"protobuf{self.protobuf}"]
        if self.lowest:
            told += [f"{name}=={version}" for name, version in LOWEST.items() if name not in ("grpcio", "protobuf")]
            told += [f"{name}=={version}" for name, version in LOWEST_CLI.items()]
        return told

    @property
    def folder(self) -> str:
        """The name of its environment."""
        return f"python{self.python}-grpcio{self.grpcio}-protobuf{self.protobuf}".translate(str.maketrans("<*", "--"))


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of a combination."""

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
        return f"| {' | '.join(versions)} | {self.result} | {self.seconds:.1f} |"


class _StepError(Exception):
    """A command that did not end well; the message is its last line, `log` everything."""

    def __init__(self, log: str) -> None:
        lines = [line for line in log.splitlines() if line.strip()]
        super().__init__(lines[-1] if lines else "nothing was printed")
        self.log = log


def combinations(pythons: list[str]) -> list[Combination]:
    """All rows: the cross on one interpreter, lowest and newest on the others.

    Args:
        pythons: The interpreters to have rows for, such as `3.12`.
    """
    lowest, newest = f"=={LOWEST['grpcio']}", f"<{ABOVE['grpcio']}"
    cross = [Combination(CROSS_PYTHON, grpcio, protobuf) for protobuf in PROTOBUF for grpcio in (lowest, newest)]
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
        # A shim of pyenv's is on PATH for versions too that only another project uses, and fails.
        asked = subprocess.run([candidate, "-c", _DESCRIBE], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            told = json.loads(asked.stdout)
            if told["usable"] and _number(told["version"]) >= _number(PYTHONS[0]):
                found.setdefault(told["version"], candidate)
    return dict(sorted(found.items(), key=lambda item: _number(item[0])))


def build(folder: Path) -> str:
    """Build the wheel of this checkout into a folder; returns its path."""
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], ROOT)
    (wheel,) = folder.glob("*.whl")
    return str(wheel)


def run(combination: Combination, interpreter: str | None, wheel: str, cache: Path) -> Row:
    """Install and use one combination."""
    if interpreter is None:
        return Row(combination, "not run: no such interpreter here", good=True)
    folder = cache / combination.folder
    try:
        python = _environment(folder, interpreter)
        _install(python, wheel, combination.requirements)
    except _StepError as error:
        expected = EXPECTED.get((combination.python, combination.grpcio))
        if expected is not None:
            return Row(combination, f"not installable, as expected: {expected}", good=True, log=error.log)
        return Row(combination, f"**not installable**: {error}", good=False, log=error.log)
    versions = tuple(_run([python, "-c", _VERSIONS], folder).split())
    start = time.perf_counter()
    try:
        told = _run([python, "-W", "error", str(ROOT / "scripts/use_wheel.py")], folder, quiet=True)
        # An ini file of its own: the project's names plugins that are not here.
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider --import-mode=importlib\n")
        tests = ["-c", "pytest.ini", "--rootdir", ".", "--noconftest", "-q", "--no-header", str(ROOT / TESTS)]
        told += _run([python, "-W", "error", "-m", "pytest", "-W", "error", *tests], folder)
    except _StepError as error:
        result, good, told = f"**failed**: {error}", False, error.log
    else:
        result, good = PASSED, True
    return Row(combination, result, good, versions, time.perf_counter() - start, told)


def _environment(folder: Path, interpreter: str) -> str:
    """The interpreter of an environment, which is made unless a working one is there."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if python.exists() and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
        return str(python)
    # One pip, that of the interpreter that this runs on, serves all.
    _run([interpreter, "-m", "venv", "--clear", "--without-pip", str(folder)], ROOT)
    return str(python)


def _install(python: str, wheel: str, requirements: list[str]) -> None:
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
    # Wheels only: a version without one for this interpreter is a row that says so, not an hour of compiling.
    newest = ["--only-binary", ":all:", "--upgrade", "--upgrade-strategy", "eager"]
    _run([*pip, *newest, f"{wheel}[cli]", "pytest", *requirements], ROOT)
    # The wheel has the same version from one run to the next, and other contents.
    _run([*pip, "--no-deps", "--force-reinstall", wheel], ROOT)


def _run(command: list[str], folder: Path, quiet: bool = False) -> str:
    """Run a command; returns what it printed.

    Raises:
        _StepError: It failed, took over ten minutes, or printed to stderr though it was to be quiet.
    """
    # Only what is installed may be found, and no setting of this machine's may count.
    dropped = ("YC_", "YAGRPC_", "PYTHON", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _StepError(f"{' '.join(command)}\nnot done after {error.timeout:.0f} s") from error
    if done.returncode or (quiet and done.stderr):
        raise _StepError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}\n")
    return done.stdout


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _rows(chosen: list[Combination], found: dict[str, str], cache: Path, jobs: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        wheel = build(Path(folder))
        yield from pool.map(lambda one: run(one, found.get(one.python), wheel, cache), chosen)


def main() -> int:
    """Run the combinations and print them as they end."""
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
    given.cache.mkdir(parents=True, exist_ok=True)
    print("| python | grpcio | protobuf | result | seconds |\n| --- | --- | --- | --- | ---: |", flush=True)
    rows = []
    for row in _rows(chosen, found, given.cache.resolve(), given.jobs):
        print(row, flush=True)
        rows.append(row)
    bad = [row for row in rows if not row.good]
    for row in bad:
        print(f"\n{row.combination.folder}\n{row.log}", file=sys.stderr)
    # A table in which nothing was run shows nothing.
    return 0 if not bad and any(row.result == PASSED for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
