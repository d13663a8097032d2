"""What every test gets: no settings of the machine's own, and at wish the scripts and official environments."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import signal
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

pytest_plugins = ["yagrpc.pytest_plugin", "tests.stores"]

ROOT = Path(__file__).parents[1]

CACHE = ROOT / ".cache" / "official"
"""Environments of official packages, kept in between runs; YAGRPC_OFFICIAL_VENVS names another folder."""

UNREACHABLE = "after connection broken by"
"""What pip prints with each retry of a connection, whatever broke it."""


SLOW: Final = 1800
"""Seconds after which a slow test that hangs fails."""


def pytest_configure() -> None:
    """Take signals as a program in the foreground does: what a script starts with `&` or `nohup` ignores some."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGTERM"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    logging.getLogger("asyncio").addFilter(_without_traceback)
    logging.getLogger("asyncio").addFilter(_not_of_grpcs_poller)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Keep a record of asyncio's, and leave out its traceback.

    A future whose exception nobody took is logged when it is collected, at any moment. Formatting a traceback parses
    its lines, and where the collector has interrupted another parse, Python 3.11 fails with a SystemError.
    """
    if record.exc_info and record.exc_info[1] is not None:
        kind, error, _ = record.exc_info
        record.exc_info = (kind, error.with_traceback(None), None)
    return True


def _not_of_grpcs_poller(record: logging.LogRecord) -> bool:
    """Drop what gRPC's asyncio API logs where two event loops of a process read its one socket (grpcio 1.68, 1.75).

    One finds it empty, or has an event for the other, which an earlier test has closed.
    """
    raised = record.exc_info[1] if record.exc_info else None
    return not (isinstance(raised, (BlockingIOError, RuntimeError)) and "PollerCompletionQueue" in record.getMessage())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests their limit."""
    for item in items:
        if item.get_closest_marker("slow") is not None:
            item.add_marker(pytest.mark.timeout(SLOW))


@pytest.fixture(autouse=True)
def _path_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run in this process put the working folder on the path, as `python -m` does."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("live") is not None:
        return
    ours = ("YC_", "YAGRPC_EMULATOR_", "YAGRPC_FORBID_", "YAGRPC_SHARE", "GRPC_ADDRESS_HTTP_PROXY")
    for name in [name for name in os.environ if name.startswith(ours) or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("YC_METADATA_ADDR", "127.0.0.1:1")  # nobody is there, and nobody elsewhere is asked


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Loads a file of `scripts/` by its name: the folder is on nobody's path."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / f"scripts/{name}.py")
        assert spec is not None
        assert spec.loader is not None
        # Its dataclasses look their annotations up in the module by its name.
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


class OfficialEnvironment:
    """An environment that has an official package.

    Args:
        requirement: The package, and with `==` its version; by default the newest.
    """

    def __init__(self, requirement: str) -> None:
        self._package = requirement.partition("==")[0]
        folder = Path(os.environ.get("YAGRPC_OFFICIAL_VENVS", CACHE)).absolute() / requirement
        self.python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        if not self.python.exists():
            venv.create(folder, with_pip=True)
        install = self.run("-m", "pip", "install", "--upgrade", "--retries", "1", requirement)
        if install.returncode and UNREACHABLE in install.stderr + install.stdout:
            # An environment kept from an earlier run serves offline too.
            if not self.version:
                pytest.skip(f"pip cannot reach a package index to install {requirement}")
        elif install.returncode:
            pytest.fail(f"pip install {requirement}: {install.stderr}")

    @property
    def version(self) -> str:
        """The version of the package that is there, `""` without any."""
        return self.run("-c", f"import importlib.metadata as m; print(m.version('{self._package}'))").stdout.strip()

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run its interpreter, which sees its own packages alone."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "YC_"))}
        return subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=self.python.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


@pytest.fixture(scope="session")
def official() -> Callable[[str], OfficialEnvironment]:
    """Makes the environment of an official package, each once: `official("yandexcloud==0.380.0")`.

    The only reason to skip a test that asks for one is a package index that cannot be reached.
    """
    return functools.cache(OfficialEnvironment)
