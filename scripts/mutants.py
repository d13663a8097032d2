"""`make mutants`: changes `yagrpc/_core`, one change at a time, and finds the changes that no test sees.

The tool is cosmic-ray. Each module is changed in a copy of the project, and only the tests of `tests/core` that import
the module are run: all that is decided there is tested there. A change that survives is a line that no test holds, or a
line that is not needed; the script prints it as a diff.

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
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

ROOT: Final = Path(__file__).parents[1]
CORE: Final = ROOT / "yagrpc" / "_core"

COPIED: Final = ("yagrpc", "generated", "tests", "proto", "pyproject.toml")

TIMEOUT: Final = 180
"""Seconds for the tests of one change: an endless loop is a change that was seen."""

USEFUL: Final = re.compile(
    r"core/(ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul)|"
    r"ReplaceComparisonOperator_(?!Is_Eq|IsNot_NotEq|Eq_Is|NotEq_IsNot)|ReplaceUnaryOperator_(Not|"
    r"Delete)|NumberReplacer|AddNot|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceAndWithOr|ReplaceOrWithAnd|"
    r"ReplaceBreakWithContinue|ReplaceContinueWithBreak|ExceptionReplacer|RemoveDecorator|ZeroIterationForLoop)"
)
"""The kinds of change. Left out: a `|` in an annotation, `==` for `is` (one of an enum),
and the many operators that nobody mistakes for each other."""


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
    """The files of `tests/core` that import a module, by their paths in the project."""
    parts = module.relative_to(ROOT).with_suffix("").parts
    name = re.escape(".".join(parts))
    above, last = re.escape(".".join(parts[:-1])), re.escape(parts[-1])
    imported = re.compile(rf"(from|import) {name}\b|from {above} import [^\n]*\b{last}\b")
    files = sorted((ROOT / "tests" / "core").glob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files if imported.search(file.read_text("utf-8"))]


def mutate(module: Path, sample: int | None, seed: int) -> Report:
    """Try the changes of one module, in a copy of the project.

    Args:
        module: Its path.
        sample: At most so many changes, chosen at random; all by default.
        seed: For the choice.
    """
    title = str(module.relative_to(CORE))
    tests = tests_of(module)
    if not tests:
        return Report(title, 0, [], "no file of tests/core imports it")
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
        # cosmic-ray splits it as a shell does; the path of the interpreter may have spaces.
        command = shlex.join([*environment, sys.executable, "-m", "pytest", *options, *tests])
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
        choose(copy / "session.sqlite", sample, seed)
        subprocess.run([*tool, "exec", "mutants.toml", "session.sqlite"], cwd=copy, check=True)
        with use_db(str(copy / "session.sqlite")) as session:
            results = [result for _, result in session.results if result.worker_outcome != WorkerOutcome.SKIPPED]
        survivors = [result.diff or "" for result in results if result.test_outcome == TestOutcome.SURVIVED]
    return Report(title, len(results), survivors)


def choose(session: Path, sample: int | None, seed: int) -> None:
    """Leave the changes out that say nothing, and of the others all but a sample."""
    with use_db(str(session)) as jobs:
        items = list(jobs.work_items)
        useful = [item.job_id for item in items if USEFUL.match(item.mutations[0].operator_name)]
        kept = set(useful if sample is None else random.Random(seed).sample(useful, min(sample, len(useful))))
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
