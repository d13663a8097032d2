"""A program of Ray Data: Parquet in, answers, Parquet out; it runs in an environment that has Ray."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import ray  # type: ignore[import-not-found]

import yagrpc
from yagrpc.integrations.batches import Completions


class Mortal(Completions):
    """Its first process dies in the middle of a batch.

    Args:
        mark: A file that is there once one has died.
        given: The arguments of `Completions`.
    """

    def __init__(self, mark: str, **given: Any) -> None:
        super().__init__(**given)
        self._mark = Path(mark)
        self._parameters["progress"] = self._die

    def _die(self, progress: yagrpc.Progress) -> None:
        if progress.running >= 10:
            try:
                self._mark.touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


def main(source: str, output: str, journals: str, share: str, mark: str) -> None:
    """Answer all rows of a folder of Parquet files."""
    ray.init(num_cpus=4, include_dashboard=False, logging_level="warning")
    client = {"share": share, "polling": yagrpc.Polling(0.05)}
    given = {"mark": mark, "journals": journals, "text": "review", "client": client, "system": "Is it praise?"}
    answers = ray.data.read_parquet(source).map_batches(
        Mortal, fn_constructor_kwargs=given, batch_size=50, batch_format="pyarrow", concurrency=2
    )
    answers.write_parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
