"""The notebook: its kernel is killed in the middle, and a new one pays for no row twice."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pandas  # type: ignore[import-untyped]
import pytest

from tests.bulk.test_run import filtered
from yagrpc import methods
from yagrpc.emulator import Emulator

nbclient: Any = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat: Any = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "notebooks" / "reviews.ipynb"
SUBMIT = methods.TextGenerationAsyncService.Completion.path

PER_SECOND = 25

CLIENT = "yagrpc.Client()"
QUOTA = f"yagrpc.Quota(submit_per_second={PER_SECOND}, submit_per_hour=None)"
QUICK = f"yagrpc.Client(quota={QUOTA}, polling=yagrpc.Polling(0.05))"
"""In place of the notebook's client: the documented quota would take half a minute."""

INSULT = "Продавец — последний негодяй"
INVALID = 4


def write_reviews(path: Path) -> None:
    """200 reviews: two are missing, one is of spaces, one is too long, and two make the service's filter stop."""
    reviews: list[str | None] = [f"Отзыв {number}: пришло быстро, спасибо!" for number in range(200)]
    reviews[7] = reviews[90] = None
    reviews[30], reviews[111] = "   ", "я" * 100_001
    reviews[50] = reviews[150] = INSULT
    pandas.DataFrame({"review": reviews, "stars": 5}).to_csv(path, index=False)


class Notebook:
    """The notebook, in a kernel of its own.

    Args:
        folder: Where it runs.
    """

    def __init__(self, folder: Path) -> None:
        document = nbformat.read(NOTEBOOK, as_version=4)
        (cell,) = [each for each in document.cells if CLIENT in each.source]
        cell.source = cell.source.replace(CLIENT, QUICK)
        self.cell = cell
        self.client = nbclient.NotebookClient(document, timeout=120, resources={"metadata": {"path": str(folder)}})

    def kill(self) -> None:
        """Kill its kernel."""
        os.kill(self.client.km.provisioner.pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_a_killed_kernel_costs_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    write_reviews(tmp_path / "reviews.csv")
    with Emulator(replies={INSULT: filtered()}, duration=0.5) as emulator:
        monkeypatch.setenv("YAGRPC_EMULATOR_HOST", emulator.address)
        first = Notebook(tmp_path)
        running = asyncio.ensure_future(first.client.async_execute())
        while emulator.generations[SUBMIT] < 80 and not running.done():
            await asyncio.wait({running}, timeout=0.01)
        first.kill()
        with pytest.raises(nbclient.exceptions.DeadKernelError):
            await running
        before = emulator.generations[SUBMIT]
        assert 80 <= before < 150
        second = Notebook(tmp_path)
        await second.client.async_execute()
        generations = emulator.generations[SUBMIT]

    answers = pandas.read_csv(tmp_path / "answers.csv")
    assert answers["outcome"].value_counts().to_dict() == {"done": 194, "invalid": INVALID, "filtered": 2}
    sent = answers[answers["outcome"] != "invalid"]
    assert sent["operation_id"].nunique() == len(sent) == 196
    done = answers[answers["outcome"] == "done"]
    assert all(review in text for review, text in zip(done["review"], done["text"], strict=True))
    doubtful = answers["attempts"].sum() - len(sent)
    assert doubtful <= PER_SECOND  # those on their way when the kernel was killed
    assert len(sent) <= generations <= len(sent) + doubtful

    (shown,) = second.cell.outputs  # one display, updated in place
    assert shown.data["text/plain"].startswith("100%|##########| 200/200 [")
    assert "done=194, filtered=2, invalid=4" in shown.data["text/plain"]
    assert '<progress value="200" max="200">' in shown.data["text/html"]
