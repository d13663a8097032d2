"""A disk that is full, with the file of shared quotas on it: `on_limiter_failure` says what happens, and it passes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = """
import json, logging, os, resource, sys, time
import yagrpc

kind, folder, on_failure = sys.argv[1:]
said = []
logging.getLogger("yagrpc.quota").addFilter(lambda record: said.append(record.getMessage()))
limits = yagrpc.Limits(
    "b1g", share=folder + "/limits", quota=yagrpc.Quota(embeddings_per_second=1e6), on_limiter_failure=on_failure
)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)

def outcome():
    try:
        with limits.acquire("embeddings", timeout=30):
            return "granted"
    except yagrpc.LimiterError as error:
        return str(error)

def until(done):
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end, said
        outcome()

def fill():
    if kind == "limit":  # of the size of this process's files
        size = max(os.path.getsize(folder + "/" + name) for name in os.listdir(folder))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
        return
    file = os.open(folder + "/filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(file, bytes(4096))
    except OSError:
        os.close(file)

def empty():
    if kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    else:
        os.unlink(folder + "/filler")

first = outcome()
fill()
until(lambda: said)
full = [outcome() for _ in range(20)]
lost = list(said)
empty()
until(lambda: len(said) > len(lost))
found = said[len(lost):]
last = outcome()
fill()
limits.close()
files = [os.path.realpath("/proc/self/fd/" + name) for name in os.listdir("/proc/self/fd")]
left = [file for file in files if file.startswith(folder)]
print(json.dumps({"first": first, "full": full, "lost": lost, "found": found, "last": last, "left": left}))
"""


@pytest.fixture(params=["limit", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """How files are kept from growing, and a folder where they are."""
    if request.param == "limit":
        yield request.param, tmp_path
        return
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a small disk can't be mounted here")
    yield request.param, tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.parametrize("on_failure", ["local", "error"])
def test_a_full_disk_is_a_limiter_that_cannot_be_reached(place: tuple[str, Path], on_failure: str) -> None:
    kind, folder = place
    command = [sys.executable, "-c", PROGRAM, kind, str(folder), on_failure]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["first"] == found["last"] == "granted"
    reason = f"the shared limiter '{folder}/limits' can't be reached: "
    assert len(found["lost"]) == 1, "it is said once"
    assert found["lost"][0].startswith(reason)
    assert found["found"] == [f"the shared limiter '{folder}/limits' is there again"]
    assert not found["left"], "closing closes the file, also where nothing can be written to it"
    if on_failure == "local":
        assert set(found["full"]) == {"granted"}
        assert found["lost"][0].endswith("this process counts for itself and uses all until it is there again")
    else:
        assert all(text.startswith(reason) for text in found["full"])
    if kind == "disk":
        assert "database or disk is full" in found["lost"][0]
