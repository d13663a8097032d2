"""What all benchmarks share: medians by turns, and a table.

Speed is shown as ratios within one run: the times of a machine vary, but ratios taken turn by turn vary little.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence


def by_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure all contestants once per round, so that a disturbance of the machine affects all of them."""
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            measured[name].append(measure())
    return measured


def show(title: str, unit: str, measured: Mapping[str, Sequence[float]], targets: Mapping[str, float]) -> bool:
    """Print medians and their ratios to the first row; gives whether every row with a target is within it."""
    baseline, *_ = measured
    base = measured[baseline]
    print(f"\n{title}\n")
    print(f"| what | median {unit} | ratio | target |\n| --- | ---: | ---: | --- |")
    fine = True
    for name, values in measured.items():
        # The ratio of each round first: both measurements of a round had the same conditions.
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=True))
        target = targets.get(name)
        verdict = "" if target is None else f"<= {target:.2f} {'pass' if ratio <= target else 'FAIL'}"
        fine = fine and (target is None or ratio <= target)
        print(f"| {name} | {statistics.median(values):.2f} | {ratio:.3f} | {verdict} |")
    return fine
