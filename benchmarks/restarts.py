"""Measures what a killed program costs: 200 rows, killed at the same moment, and run again.

    python benchmarks/restarts.py

Each contestant is a program of `contestants/`, in a process of its own; the emulator keeps the documented quotas and
ends each operation after ten seconds. It counts the generations, which are what is paid for. Targets of ours: at
most 15 lines, no more generations than the rows and those of which nothing was known when the program was killed.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tokenize
from pathlib import Path
from typing import Final, NamedTuple

import official
import yagrpc
from yagrpc.emulator import Emulator, EmulatorQuota

ROOT: Final = Path(__file__).resolve().parent.parent
ROWS: Final = 200
KILLED: Final = 16.0
"""Seconds after the start of a program: most of the rows are sent then, and a part of them is answered."""

DURATION: Final = 10.0
LINES: Final = 15
QUOTA: Final = EmulatorQuota()
SUBMIT: Final = yagrpc.methods.TextGenerationAsyncService.Completion.path
PACKAGES: Final = ("grpcio", "protobuf", "googleapis-common-protos")
"""What yagrpc needs, beside itself."""


class Ran(NamedTuple):
    """What one contestant has needed.

    Args:
        lines: Lines of its code.
        generations: What was paid for.
        doubtful: Rows of which nothing was known when it was killed; `None` where that is not counted.
        seconds: From the start of the first program to the end of the second.
        right: Rows that have their own answer.
    """

    lines: int
    generations: int
    doubtful: int | None
    seconds: float
    right: int


def lines_of(program: Path) -> int:
    """Lines with code: neither empty ones nor comments nor the docstring."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = list(tokenize.generate_tokens(io.StringIO(program.read_text("utf-8")).readline))
    first = next(number for number, token in enumerate(tokens) if token.type not in skipped)
    docstring = tokens[first].type == tokenize.STRING
    code = [token for token in tokens[first + docstring :] if token.type not in skipped]
    return len({line for token in code for line in range(token.start[0], token.end[0] + 1)})


def run(name: str, python: str) -> Ran:
    """Run a contestant, kill it, and run it again."""
    program = ROOT / "benchmarks" / "contestants" / f"rows_{name}.py"
    rows = [f"review {number} of a shop" for number in range(ROWS)]
    with tempfile.TemporaryDirectory() as folder, Emulator(duration=DURATION, quota=QUOTA) as emulator:
        Path(folder, "rows.txt").write_text("\n".join(rows), "utf-8")
        path = os.pathsep.join([str(ROOT), str(ROOT / "generated")])
        environment = {**os.environ, "PYTHONPATH": path, "YAGRPC_EMULATOR_HOST": emulator.address}
        started = time.monotonic()
        first = subprocess.Popen([python, str(program)], cwd=folder, env=environment)
        try:
            first.wait(KILLED)
            raise SystemExit(f"{name} ended before it was killed")
        except subprocess.TimeoutExpired:
            first.send_signal(signal.SIGKILL)
            first.wait()
        subprocess.run([python, str(program)], cwd=folder, env=environment, check=True)
        seconds = time.monotonic() - started
        texts = json.loads(Path(folder, "answers.json").read_text("utf-8"))
        right = sum(f'"{row}"' in text for row, text in zip(rows, texts, strict=True))
        return Ran(lines_of(program), emulator.generations[SUBMIT], _doubtful(Path(folder, "journal")), seconds, right)


def _doubtful(journal: Path) -> int | None:
    from yagrpc.bulk.results import summary_of
    from yagrpc.journal.journal import Journal

    return summary_of(Journal(journal)).totals.doubtful if journal.exists() else None


def main() -> int:
    """Run and print; the exit code says whether the targets are met."""
    theirs = official.python("async-batch-llm==0.28.0", *PACKAGES)
    found = {
        "yagrpc, `client.bulk`": run("ours", sys.executable),
        "async-batch-llm 0.28 around yagrpc": run("async_batch_llm", theirs),
        "a loop": run("loop", sys.executable),
    }
    print(f"\n{ROWS} rows, killed after {KILLED:.0f} s, and run again\n")
    print("| | lines | paid for | of them doubtful | seconds | right |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, ran in found.items():
        doubtful = "-" if ran.doubtful is None else ran.doubtful
        print(f"| {name} | {ran.lines} | {ran.generations} | {doubtful} | {ran.seconds:.1f} | {ran.right} |")
    ours = found["yagrpc, `client.bulk`"]
    met = ours.lines <= LINES and ours.right == ROWS and ours.generations <= ROWS + (ours.doubtful or 0)
    print(f"\n{'pass' if met else 'FAIL'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
