"""Request ids: well formed, no two alike, and each process its own."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from yagrpc.ids import new_request_id

MANY = "from yagrpc.ids import new_request_id\nfor _ in range(50): print(new_request_id())"


def test_an_id_is_a_uuid_of_its_own() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    for text in ids:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


def test_threads_share_no_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: new_request_id(), range(4000)))
    assert len(set(ids)) == 4000


def test_processes_share_no_id() -> None:
    drawn = [subprocess.check_output([sys.executable, "-c", MANY], text=True).split() for _ in range(2)]
    assert [len(ids) for ids in drawn] == [50, 50]
    starts = {text[:24] for ids in drawn for text in ids}
    assert len(starts) == 2, "each process has drawn its own"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_forked_makes_its_own() -> None:
    mine = new_request_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "".join(new_request_id() for _ in range(64)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 64 * 36).decode()
    os.close(reading)
    os.close(writing)
    ours = {mine, *(new_request_id() for _ in range(200))}
    assert len(theirs) == 64 * 36
    assert not ours & {theirs[start : start + 36] for start in range(0, len(theirs), 36)}
