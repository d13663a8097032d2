"""`make bench`: draws the results of `waiting.py`; runs in an environment with matplotlib.

Usage: plot.py RESULTS.json PICTURE.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Draw delays and Gets of every case under the quota, on logarithmic scales."""
    import matplotlib  # type: ignore[import-not-found]

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "yagrpc"
    from matplotlib import pyplot

    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    results: dict[str, Any] = json.loads(source.read_text("utf-8"))
    by_size = sorted(results.items(), key=lambda item: item[1]["case"]["many"])
    cases = {title: one for title, one in by_size if one["case"]["quota"] and one["case"]["many"] >= 50}
    names = list(dict.fromkeys(name for one in cases.values() for name in one["found"]))
    figure, axes = pyplot.subplots(1, 3, figsize=(15, 0.8 + 0.24 * len(names) * len(cases)), sharey=True)
    drawings: tuple[tuple[str, Callable[[Any, int], float]], ...] = (
        ("mean delay from done to delivered, s", lambda found, count: found["mean"] or 0),
        ("Gets for each operation", lambda found, count: found["gets"] / count),
        ("delivered, %", lambda found, count: 100 * found["delivered"] / count),
    )
    height = 0.8 / len(names)
    for axis, (label, value) in zip(axes, drawings, strict=True):
        for number, name in enumerate(names):
            at = [
                row + height * (number - len(names) / 2)
                for row, one in enumerate(cases.values())
                if name in one["found"]
            ]
            widths = [value(one["found"][name], one["case"]["many"]) for one in cases.values() if name in one["found"]]
            axis.barh(at, widths, height=height, label=name)
        axis.set_xlabel(label)
        axis.grid(axis="x", alpha=0.3)
    axes[1].set_xscale("log")
    axes[0].set_yticks(range(len(cases)), list(cases))
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncol=4, fontsize=9)
    figure.tight_layout(rect=(0, 0.8 / figure.get_figheight(), 1, 1))
    target.parent.mkdir(exist_ok=True)
    figure.savefig(target, metadata={"Date": None})


main()
