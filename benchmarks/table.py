"""What all benchmarks share: medians by turns, and a table.

Speed is shown as ratios within one run: the machine is noisy, a ratio taken turn by turn is not.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence


def by_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure all contestants once per round, so that what disturbs the machine disturbs all of them."""
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
        # A ratio by rounds first: both of a round met the same machine.
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=True))
        target = targets.get(name)
        told = "" if target is None else f"<= {target:.2f} {'pass' if ratio <= target else 'FAIL'}"
        fine = fine and (target is None or ratio <= target)
        print(f"| {name} | {statistics.median(values):.2f} | {ratio:.3f} | {told} |")
    return fine
