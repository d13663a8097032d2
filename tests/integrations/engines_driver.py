"""A program of each engine: Parquet in, answers, Parquet out; it runs in an environment that has the engines."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import yagrpc
from yagrpc.integrations.batches import Answer, Completions


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


def run_ray(source: str, output: str, given: dict[str, Any]) -> None:
    """Ray gives the batch of a lost actor to another one."""
    import ray  # type: ignore[import-not-found]

    ray.init(num_cpus=4, include_dashboard=False, logging_level="warning")
    actors = ray.data.ActorPoolStrategy(size=2)
    answers = ray.data.read_parquet(source).map_batches(
        Mortal, fn_constructor_kwargs=given, batch_size=50, batch_format="pyarrow", compute=actors
    )
    answers.write_parquet(output)


def run_dask(source: str, output: str, given: dict[str, Any]) -> None:
    """Dask starts a lost worker again, and gives its partitions to another one."""
    import dask.dataframe  # type: ignore[import-not-found]
    from dask.distributed import Client, LocalCluster  # type: ignore[import-not-found]

    completions = Mortal(**given)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        frame = dask.dataframe.read_parquet(source).repartition(npartitions=4)
        frame.map_partitions(completions, meta=completions(frame._meta)).to_parquet(output)


def run_daft(source: str, output: str, given: dict[str, Any]) -> None:
    """Daft ends with an error where a process is lost: its user runs the program again."""
    import daft  # type: ignore[import-not-found]

    @daft.cls(max_concurrency=2, use_process=True)
    class Reviews(Mortal):
        @daft.method.batch(return_dtype=Answer, unnest=True, batch_size=50)  # type: ignore[untyped-decorator]
        def answers(self, review: daft.Series) -> Any:
            return self(review)

    frame = daft.read_parquet(source)
    frame.select("*", Reviews(**given).answers(frame["review"])).write_parquet(output, write_mode="overwrite")


def main(engine: str, source: str, output: str, journals: str, share: str, mark: str) -> None:
    """Answer all rows of a folder of Parquet files, and say so: an engine may crash as it ends."""
    client = {"share": share, "polling": yagrpc.Polling(0.05)}
    given = {"mark": mark, "journals": journals, "text": "review", "client": client, "system": "Is it praise?"}
    {"ray": run_ray, "dask": run_dask, "daft": run_daft}[engine](source, output, given)
    print("written", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
