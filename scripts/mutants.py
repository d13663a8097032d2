"""`make mutants`: changes `yagrpc/_core`, one change at a time, and finds the changes that no test sees.

The tool is cosmic-ray. Each module is changed in a copy of the project. Most changes are seen by the tests of
`tests/core` that import the module, or are named as it is; only where these pass are the others run, and those of
`tests/contract`. A change that survives is a line that no test holds, or a line that is not needed; the script prints
it as a diff.

Rules: run by hand, since it takes hours: a module has up to some hundred changes, and each runs its tests.
`make mutants MODULES="failure/retry.py send.py" SAMPLE=40` tries at most 40 changes of each of two modules.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkResult

ROOT: Final = Path(__file__).parents[1]
CORE: Final = ROOT / "yagrpc" / "_core"

COPIED: Final = ("yagrpc", "generated", "tests", "proto", "pyproject.toml")

TIMEOUT: Final = 1800
"""Seconds for the tests of one change."""

TEST_TIMEOUT: Final = 60
"""Seconds for one test: an endless loop is a change that was seen."""

ALL: Final = ("tests/core", "tests/contract")
"""The tests that may see a change of any module."""

USEFUL: Final = re.compile(
    r"core/(ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul)|"
    r"ReplaceComparisonOperator_(?!Is_Eq|IsNot_NotEq|Eq_Is|NotEq_IsNot)|ReplaceUnaryOperator_(Not|"
    r"Delete)|NumberReplacer|AddNot|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceAndWithOr|ReplaceOrWithAnd|"
    r"ReplaceBreakWithContinue|ReplaceContinueWithBreak|ExceptionReplacer|RemoveDecorator|ZeroIterationForLoop)"
)
"""The kinds of change. Left out: a `|` in an annotation, `==` for `is` (one of an enum),
and the many operators that nobody mistakes for each other."""


NOTHING_RUNS: Final = re.compile(r"if TYPE_CHECKING:|\btotal=|(^|[ (])\*, ")
"""Lines that only type checkers read, and the mark of arguments that are given by name."""


class Report(NamedTuple):
    """What became of the changes of one module.

    Args:
        module: Its path below `yagrpc/_core`.
        tried: How many changes were tried.
        survivors: The diffs of those that no test saw.
        wrong: What went wrong before a change was tried; empty if nothing did.
    """

    module: str
    tried: int
    survivors: list[str]
    wrong: str = ""


def tests_of(module: Path) -> list[str]:
    """The files of `tests/core` that import a module, or are named as it is, by their paths in the project."""
    parts = module.relative_to(ROOT).with_suffix("").parts
    name = re.escape(".".join(parts))
    above, last = re.escape(".".join(parts[:-1])), re.escape(parts[-1])
    imported = re.compile(rf"(from|import) {name}\b|from {above} import [^\n]*\b{last}\b")
    files = sorted((ROOT / "tests" / "core").glob("test_*.py"))
    named = f"test_{module.stem}"
    return [
        str(file.relative_to(ROOT))
        for file in files
        if file.stem.startswith(named) or imported.search(file.read_text("utf-8"))
    ]


def mutate(module: Path, sample: int | None, seed: int) -> Report:
    """Try the changes of one module, in a copy of the project.

    Args:
        module: Its path.
        sample: At most so many changes, chosen at random; all by default.
        seed: For the choice.
    """
    title = str(module.relative_to(CORE))
    with tempfile.TemporaryDirectory(prefix="yagrpc-mutants-") as folder:
        copy = Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, copy / name)
        # The copy is what is tested, wherever yagrpc is installed.
        environment = ["env", f"PYTHONPATH={copy}:{copy}/generated", "PYTHONDONTWRITEBYTECODE=1"]
        options = ["-x", "-q", "--no-cov", "-p", "no:cacheprovider", "-p", "no:randomly"]
        pytest = [*environment, sys.executable, "-m", "pytest", *options, f"--timeout={TEST_TIMEOUT}"]
        near = tests_of(module)
        # The path of the interpreter may have spaces. cosmic-ray splits the command as a shell does, and runs no shell.
        steps = [shlex.join([*pytest, *tests]) for tests in (near, ["-m", "not slow and not live", *ALL]) if tests]
        command = shlex.join(["sh", "-c", " && ".join(steps)])
        (copy / "mutants.toml").write_text(
            f'[cosmic-ray]\nmodule-path = "{module.relative_to(ROOT)}"\ntimeout = {TIMEOUT}\nexcluded-modules = []\n'
            f"test-command = {json.dumps(command, ensure_ascii=False)}\n"
            '[cosmic-ray.distributor]\nname = "local"\n',
            "utf-8",
        )
        tool = [str(Path(sys.executable).with_name("cosmic-ray"))]
        for step in (["baseline", "mutants.toml"], ["init", "mutants.toml", "session.sqlite"]):
            done = subprocess.run([*tool, *step], cwd=copy, capture_output=True, text=True)
            if done.returncode:
                return Report(title, 0, [], f"cosmic-ray {step[0]} failed: {(done.stdout + done.stderr)[-2000:]}")
        choose(copy / "session.sqlite", module, sample, seed)
        subprocess.run([*tool, "exec", "mutants.toml", "session.sqlite"], cwd=copy, check=True)
        with use_db(str(copy / "session.sqlite")) as session:
            results = [result for _, result in session.results if result.worker_outcome != WorkerOutcome.SKIPPED]
        survivors = [result.diff or "" for result in results if result.test_outcome == TestOutcome.SURVIVED]
    return Report(title, len(results), survivors)


def choose(session: Path, module: Path, sample: int | None, seed: int) -> None:
    """Leave the changes out that say nothing, and of the others all but a sample."""
    lines = module.read_text("utf-8").splitlines()

    def useful(change: MutationSpec) -> bool:
        return bool(USEFUL.match(change.operator_name)) and not NOTHING_RUNS.search(lines[change.start_pos[0] - 1])

    with use_db(str(session)) as jobs:
        items = list(jobs.work_items)
        useful_ones = [item.job_id for item in items if useful(item.mutations[0])]
        kept = set(
            useful_ones if sample is None else random.Random(seed).sample(useful_ones, min(sample, len(useful_ones)))
        )
        left = [item.job_id for item in items if item.job_id not in kept]
        jobs.set_multiple_results(left, WorkResult(WorkerOutcome.SKIPPED))


def main() -> int:
    """Try the changes, and print what survived; the exit code is 1 if a module's own tests fail."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", help="below yagrpc/_core, such as failure/retry.py; all by default")
    parser.add_argument("--sample", type=int, help="at most so many changes of each module")
    parser.add_argument("--seed", type=int, default=1, help="for the sample")
    parser.add_argument("--jobs", type=int, default=2, help="modules at a time")
    options = parser.parse_args()
    modules = [CORE / name for name in options.modules] or sorted(CORE.rglob("*.py"))
    modules = [module for module in modules if module.name != "__init__.py"]
    with ThreadPoolExecutor(options.jobs) as pool:
        reports = []
        for report in pool.map(lambda module: mutate(module, options.sample, options.seed), modules):
            reports.append(report)
            print(
                f"{report.module}: {report.tried} changes, {len(report.survivors)} survived. {report.wrong}", flush=True
            )
            for diff in report.survivors:
                print(diff, flush=True)
    tried, survived = sum(report.tried for report in reports), sum(len(report.survivors) for report in reports)
    print(f"together: {tried} changes, {survived} survived ({survived / max(1, tried):.1%})")
    return 1 if any(report.wrong.startswith("cosmic-ray") for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
