"""Notebooks: both clients in a real kernel, with cells that are interrupted and that run again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.conftest import EXAMPLES, HOUR, SOON, eventually
from yagrpc.emulator import Emulator, paths

nbformat = pytest.importorskip("nbformat", reason="the group `frameworks` of pyproject.toml is not installed")
jupyter_client = pytest.importorskip("jupyter_client", reason="the group `frameworks` is not installed")
nbclient = pytest.importorskip("nbclient", reason="the group `frameworks` of pyproject.toml is not installed")
pytest.importorskip("ipykernel", reason="the group `frameworks` of pyproject.toml is not installed")

OPEN = """
import os
import threading
import yagrpc

if "client" in globals():
    client.close()
client = yagrpc.Client()
"""


class Kernel:
    """A kernel whose cells a test runs one by one."""

    def __init__(self, manager: Any, client: Any) -> None:
        self._manager = manager
        self._client = client

    def start(self, source: str) -> Callable[[], dict[str, Any]]:
        """Start a cell; gives what waits for its reply."""
        message = self._client.execute(
            source, user_expressions={"found": "found"}, allow_stdin=False, stop_on_error=False
        )

        def reply() -> dict[str, Any]:
            while True:
                received = self._client.get_shell_msg(timeout=SOON)
                if received["parent_header"].get("msg_id") == message:
                    content: dict[str, Any] = received["content"]
                    return content

        return reply

    def run(self, source: str) -> str:
        """Run a cell that sets `found`; gives its text."""
        reply = self.start(source)()
        assert reply["status"] == "ok", reply
        return str(reply["user_expressions"]["found"]["data"]["text/plain"])

    def interrupt(self) -> None:
        """Interrupt the cell that runs, as the button does."""
        self._manager.interrupt_kernel()


def settings(folder: Path) -> dict[str, str]:
    """A kernel that is reached by sockets in a folder: a port that was free may be taken by another process."""
    return {"kernel_name": "python3", "transport": "ipc", "connection_file": str(folder / "kernel.json")}


@pytest.fixture
def kernel(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kernel]:
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", emulator.address)
    manager = jupyter_client.KernelManager(**settings(tmp_path))
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SOON)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]
    with Emulator(duration=0.0) as service:
        monkeypatch.setenv("YAGRPC_EMULATOR_HOST", service.address)
        manager = jupyter_client.AsyncKernelManager(**settings(tmp_path))
        nbclient.NotebookClient(notebook, km=manager, timeout=SOON).execute(cleanup_kc=True)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert "What do wombats eat?" in str(outputs[-1])


def test_cells_are_interrupted_and_run_again(kernel: Kernel, emulator: Emulator) -> None:
    kernel.run(f"{OPEN}\nfound = 0")
    blocking = kernel.start("client.completion('hello')")
    eventually(lambda: emulator.calls[paths.COMPLETION] == 1)
    kernel.interrupt()
    assert blocking()["ename"] == "KeyboardInterrupt"

    kernel.run("operation = client.completion_async('ping'); found = operation.id")
    waiting = kernel.start("operation.result()")
    eventually(lambda: bool(emulator.calls[paths.OPERATION_GET]))
    kernel.interrupt()
    interrupted = waiting()
    assert interrupted["ename"] == "KeyboardInterrupt"
    assert "operation" in interrupted["evalue"]

    kernel.run("asynchronous = yagrpc.AsyncClient(); found = 0")
    awaiting = kernel.start("await asynchronous.completion('hello')")
    eventually(lambda: emulator.calls[paths.COMPLETION] == 2)
    kernel.interrupt()
    kernel.start("found = 0")  # ipykernel cancels a cell that awaits at its next event
    assert awaiting()["ename"] == "CancelledError"

    emulator.advance(HOUR)
    assert "ping" in kernel.run("found = operation.result().text")
    assert "ping" in kernel.run("found = (await asynchronous.operation(operation.id)).text")


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
@pytest.mark.parametrize("opened", [OPEN, OPEN.replace("client.close()", "pass")], ids=["closed", "dropped"])
def test_the_cell_that_creates_the_client_runs_again(kernel: Kernel, opened: str) -> None:
    """It leaves neither threads nor connections, also where the client before is only dropped."""
    used = f"""{opened}
client.completion_async("hello").done()
found = threading.active_count(), len(os.listdir("/proc/self/fd"))
"""
    first = eval(kernel.run(used))
    again = [eval(kernel.run(used)) for _ in range(10)]
    assert max(threads for threads, _ in again) <= first[0] + 1
    assert max(descriptors for _, descriptors in again) <= first[1] + 2, (first, again)
