"""`make bench`: waiting for many operations, all contestants side by side, each against its own server process.

The server (`server.py`) is the same program for all; its only limit is the quota of Gets. It reports how long after
the end of each operation a Get first returned that end, how many Gets came, and how many it refused. The contestant
reports how many right answers it has. The baseline of each table is yagrpc's asyncio client.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import official
from server import Settings, running

HERE = Path(__file__).resolve().parent
RESULTS = official.ROOT / "bench-results.json"

OURS = "yagrpc, asyncio"
OURS_BLOCKING = "yagrpc, blocking"
CONTESTANTS = {
    OURS: ("ours_asyncio.py", None),
    OURS_BLOCKING: ("ours_blocking.py", None),
    "round-robin, bare grpc.aio": ("round_robin.py", None),
    "naive loop, bare grpc": ("naive.py", None),
    "naive tasks, bare grpc.aio": ("naive_asyncio.py", None),
    official.STUDIO: ("studio.py", official.STUDIO),
    official.CLOUD: ("cloud.py", official.CLOUD),
}
QUOTA = 50


class Case(NamedTuple):
    """One table: how many operations, under which quota of Gets a second, with which durations."""

    many: int
    quota: int | None
    durations: str

    def title(self) -> str:
        """The title of its table."""
        quota = "no quota" if self.quota is None else f"{self.quota} Gets/s"
        return f"{self.many} operation{'s' * (self.many > 1)}, {quota}, {self.durations}"

    def patience(self) -> float:
        """Seconds until an undelivered answer counts as lost: a minute, and three times the time of one Get each."""
        return 60.0 + 3 * self.many / (self.quota or QUOTA * 10)


def cases(*, quick: bool) -> list[Case]:
    """The cases to measure, in order of size."""
    if quick:
        return [Case(1, None, "0"), Case(50, QUOTA, "lognormal")]
    sizes = (1, 200, 1000, 5000)
    found = [Case(n, quota, how) for n in sizes for quota in (None, QUOTA) for how in ("lognormal", "bimodal")]
    return [Case(1, None, "0"), *found, Case(20_000, QUOTA, "lognormal")]


def measure(name: str, case: Case) -> dict[str, Any]:
    """Run one contestant on one case; gives what the contestant and the server report."""
    script, package = CONTESTANTS[name]
    python = sys.executable if package is None else official.python(package)
    settings = Settings(get_per_second=case.quota, durations=case.durations, seed=case.many)
    with tempfile.TemporaryDirectory() as folder, running(settings, Path(folder)) as server:
        task = {
            "address": server.address,
            "tls": server.tls,
            "ca": str(server.ca),
            "count": case.many,
            "quota": case.quota,
            "patience": case.patience(),
            "started": time.time(),
        }
        command = [python, str(HERE / "contestants" / script), json.dumps(task)]
        started = time.perf_counter()
        try:
            # A contestant that hangs is ended: what it did not report counts as lost.
            limit = case.patience() + 120
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True)
            report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except (subprocess.SubprocessError, IndexError, ValueError) as error:
            log = getattr(error, "stderr", "") or str(error)
            report = {"delivered": 0, "failed": case.many, "error": str(log)[-300:]}
        seen = server.seen()
        return {**seen, **report, "seconds": time.perf_counter() - started}


def row(name: str, case: Case, found: dict[str, Any], base: dict[str, Any]) -> str:
    """One line of a table."""

    def against(key: str) -> str:
        value, other = found.get(key), base.get(key)
        if value is None:
            return "-"
        return f"{value:.2f} s" + (f" ({value / other:.2f})" if other else "")

    gets = found["gets"] / case.many
    refused = 100 * found["refused"] / max(1, found["gets"])
    memory = found.get("memory")
    cells = [
        name,
        f"{found['delivered']} / {case.many}",
        against("mean"),
        against("p95"),
        f"{gets:.2f}",
        f"{found['refused']} ({refused:.1f} %)",
        f"{found['first']:.2f} s" if found.get("first") else "-",
        f"{found['waiting']:.1f} s" if "waiting" in found else "-",
        f"{1e6 * found['cpu'] / found['gets']:.0f}" if found.get("cpu") and found["gets"] else "-",
        f"{memory / 1024:.1f}" if memory is not None and case.many >= 1000 else "-",
    ]
    return f"| {' | '.join(cells)} |"


COLUMNS = (
    "who",
    "delivered",
    "mean delay (ratio)",
    "p95 (ratio)",
    "Gets each",
    "refused",
    "first answer",
    "in all",
    "µs of CPU per Get",
    "KiB each pending",
)
HEADING = f"| {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * (len(COLUMNS) - 1)}"


def show(case: Case, found: dict[str, dict[str, Any]]) -> str:
    """A table."""
    base = found.get(OURS, {})
    rows = [row(name, case, result, base) for name, result in found.items()]
    return "\n".join([f"\n{case.title()}\n", HEADING, *rows])


def contestants_of(case: Case, wanted: list[str]) -> list[str]:
    """The contestants of a case: 20,000 operations are for yagrpc alone."""
    return [name for name in wanted if case.many <= 5000 or name in (OURS, OURS_BLOCKING)]


def main() -> int:
    """Measure and print; the exit code says whether yagrpc delivered everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="two small cases, with the official packages only if their environments exist",
    )
    parser.add_argument("--only", action="append", help="only cases whose title contains this text")
    parser.add_argument("--without", action="append", default=[], help="contestants to leave out")
    parser.add_argument("--draw", metavar="PICTURE.svg", help="measure nothing: draw the last results")
    arguments = parser.parse_args()
    if arguments.draw:
        command = [official.python(official.PLOT), HERE / "plot.py", RESULTS, arguments.draw]
        return subprocess.run(command, check=True).returncode
    wanted = [name for name in CONTESTANTS if not any(left in name for left in arguments.without)]
    if arguments.quick:  # to create an environment takes longer than all the rest
        wanted = [name for name in wanted if CONTESTANTS[name][1] is None or official.installed(name)]
    # Results of other cases from an earlier run are kept, so that a long run can be split.
    results: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if arguments.only and RESULTS.exists() else {}
    fine = True
    for case in cases(quick=arguments.quick):
        if arguments.only and not any(text in case.title() for text in arguments.only):
            continue
        found = {name: measure(name, case) for name in contestants_of(case, wanted)}
        results[case.title()] = {"case": case._asdict(), "found": found}
        print(show(case, found), flush=True)
        for name, result in found.items():
            if "error" in result:
                print(f"\n{name}: {result['error']}")
        fine = fine and all(found[name]["delivered"] == case.many for name in (OURS, OURS_BLOCKING) if name in found)
        if not arguments.quick:
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
