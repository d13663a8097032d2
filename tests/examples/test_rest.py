"""The examples of REST, each run as its reader would run it, against an emulator."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from yagrpc.emulator import Emulator, Streamed, paths

FOLDER = Path(__file__).parents[2] / "examples" / "rest"

COMMANDS = {
    "curl.sh": ["bash"],
    "fetch.mjs": ["node"],
    "with_requests.py": [sys.executable, "-I"],
    "with_httpx.py": [sys.executable, "-I"],
}


def test_every_example_is_run() -> None:
    assert sorted(COMMANDS) == sorted(path.name for path in FOLDER.iterdir() if path.is_file())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_gets_its_answer(name: str) -> None:
    command = COMMANDS[name]
    for tool in ("curl", command[0]) if name == "curl.sh" else (command[0],):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    with Emulator(rest=True, duration=0.5, replies={"not to be": Streamed("Быть", "Быть иль не быть")}) as emulator:
        environment = {**os.environ, "REST_URL": f"http://{emulator.rest_address}", "NO_PROXY": "*"}
        run = subprocess.run(
            [*command, str(FOLDER / name)], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert run.stderr == ""
        assert run.returncode == 0
        printed = run.stdout
        if name == "curl.sh":
            printed = json.loads(printed)["response"]["alternatives"][0]["message"]["text"]
        assert printed.split("\n")[0 if name != "with_httpx.py" else 1].strip() == "Быть иль не быть"
        path = paths.COMPLETION if name == "with_httpx.py" else paths.COMPLETION_ASYNC
        assert emulator.generations == {path: 1}
        assert emulator.requests[0].metadata["authorization"] == "Api-Key emulator"
