"""Gives the examples a service to call: the real one, or an emulator in a separate process.

The emulator is what `python -m yagrpc emulator` starts: a gRPC server on loopback that any program can use, in any
language. A program that uses yagrpc finds it through `YAGRPC_EMULATOR_HOST`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["EmulatorProcessError", "emulator_process", "service"]

EMULATOR_HOST = "YAGRPC_EMULATOR_HOST"

STOP_SECONDS = 10.0
"""Seconds that the emulator may take to end after it was asked to."""


class EmulatorProcessError(Exception):
    """The emulator did not start."""


@contextlib.contextmanager
def service(duration: float) -> Iterator[None]:
    """Make sure that a client without settings has a service to call, and print which one.

    Args:
        duration: How long an operation of the emulator runs, in seconds.

    Raises:
        EmulatorProcessError: It did not start.
    """
    missing = [name for name in ("YC_API_KEY", "YC_FOLDER_ID") if not os.environ.get(name)]
    if running := os.environ.get(EMULATOR_HOST):
        print(f"{EMULATOR_HOST} is set: the program calls the emulator on {running}.", flush=True)
        yield
    elif not missing:
        print(
            "YC_API_KEY and YC_FOLDER_ID are set: the program calls Yandex Cloud, which bills two requests.", flush=True
        )
        yield
    else:
        print(f"Without {' and '.join(missing)} in the environment, the service is emulated on this machine.")
        with emulator_process(duration) as address:
            print(f"The emulator listens on {address}: an answer takes {duration:g} s, and quotes the question.")
            os.environ[EMULATOR_HOST] = address
            try:
                yield
            finally:
                del os.environ[EMULATOR_HOST]
                print("\nStopping the emulator.", flush=True)


@contextlib.contextmanager
def emulator_process(duration: float) -> Iterator[str]:
    """Run an emulator in a separate process; gives its address, `host:port`, and stops it at the end.

    Args:
        duration: How long an operation runs, in seconds.

    Raises:
        EmulatorProcessError: It did not start.
    """
    command = [sys.executable, "-m", "yagrpc", "emulator", "--port", "0", "--duration", f"{duration:g}"]
    # With -m, Python imports from the working folder first: a types.py that lies there must not be run.
    folder = os.path.dirname(sys.executable)
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as log,
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, encoding="utf-8") as process,
    ):
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if not address:
                process.wait(STOP_SECONDS)
                log.seek(0)
                reason = log.read().strip().rpartition("\n")[2]
                raise EmulatorProcessError(f"the emulator did not start: {reason or 'it does not say why'}")
            yield address
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
